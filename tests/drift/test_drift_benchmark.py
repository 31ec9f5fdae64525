"""The fast part of benchmarks/drift.py: faults are counted, and a stopped run continues."""

import json
from pathlib import Path
from types import ModuleType

import benchmark_scripts
import pytest

RESULTS = Path(__file__).parents[2] / "docs" / "results"
STORED = ("drift", "drift_128", "drift_512")
CLEAN_GIVEN = ("no joints, length 16 given", "no joints, length 20 given")
MOST_ACCUSED = 0.02


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return benchmark_scripts.load("drift")


def test_clean_video_is_not_accused_and_faults_are_named(benchmark):
    table = benchmark.Table({}, None)
    films = [benchmark.Video("sky", benchmark.film_of("sky", 96, n, 5)) for n in (0, 1)]
    real = benchmark.RealWorld(1)
    table.add(("sky", 96, "raw", "none", 0), iter(films), real, "raw", ())
    for title in ("freeze, frames", "red drifts, levels", "one bright frame in 2, levels"):
        fault = benchmark.FAULTS[title]
        faulty = benchmark.with_fault(fault, films[:1], films, fault.sizes[-1])
        table.add(("sky", 96, "raw", title, fault.sizes[-1]), faulty, real, "raw", fault.kinds)
    assert [(row["found"], row["of"]) for row in table.rows.values()] == [(0, 2)] + 3 * [(1, 1)]


def test_rows_are_kept_and_not_computed_again(benchmark, tmp_path):
    path, key = tmp_path / "drift.json", ("sky", 48, "raw", "none", 0)
    films = [benchmark.Video("marbles", benchmark.film_of("marbles", 48, 0, 5))]
    real = benchmark.RealWorld(1)
    benchmark.Table({"seed": 5}, path).add(key, iter(films), real, "raw", ())
    again = benchmark.Table({"seed": 5}, path)
    again.add(key, iter(()), real, "raw", ())
    (row,) = again.rows.values()
    assert row["of"] == 1
    with pytest.raises(ValueError, match="other settings"):
        benchmark.Table({"seed": 6}, path)


def test_committed_counts_are_of_seeds_that_chose_no_threshold(benchmark):
    stored = [json.loads((RESULTS / f"{name}.json").read_text()) for name in STORED]
    assert {each["seed"] for each in stored} == {benchmark.SEED} != {101}
    faults = {row["fault"] for each in stored for row in each["rows"]}
    assert faults == {"none", "edits", *benchmark.FAULTS}


def test_of_committed_counts_a_given_length_accuses_few_and_finds_half_a_level():
    rows = json.loads((RESULTS / "drift_128.json").read_text())["rows"]
    given = [row for row in rows if "given" in row["fault"] and row["film"] != "doom"]
    clean = [row for row in given if row["fault"] in CLEAN_GIVEN]
    assert len(clean) == 8
    assert sum(row["found"] for row in clean) <= MOST_ACCUSED * sum(row["of"] for row in clean)
    faulty = [row for row in given if row["fault"].startswith("joints") and row["size"] >= 0.5]
    assert len(faulty) == 8
    assert all(row["found"] == row["of"] for row in faulty)


def test_shares_have_exact_intervals(benchmark, capsys):
    clean = {"film": "sky", "frames": 128, "coding": "raw", "fault": "none", "of": 100}
    benchmark.show_false_alarms([clean | {"found": 3, "beyond": 0}, clean | {"fault": "zoom"}])
    (row,) = capsys.readouterr().out.splitlines()[2:]
    assert row == "| sky | 128 | raw | 3 of 100 | 0.6 to 8.5 % | 0 of 100 | 0.0 to 3.6 % |"


def test_a_stretch_is_judged_against_other_stretches_of_its_length(benchmark):
    films = [benchmark.film_of("sky", frames, 0, 5) for frames in (64, 96, 96)]
    stretches = [benchmark.Video(name, film) for name, film in zip("aab", films, strict=True)]
    reference = benchmark.OtherStretches(stretches)(stretches[2], "raw")
    assert (reference.videos, reference.frames) == (1, 96)
    assert benchmark.OtherStretches(stretches)(stretches[0], "raw").videos == 1
