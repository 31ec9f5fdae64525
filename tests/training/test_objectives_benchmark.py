"""benchmarks/objectives.py at toy size: rows differ in the objective alone and are kept."""

import json
from pathlib import Path
from types import ModuleType

import benchmark_scripts
import pytest

from longtake.config import to_dict
from longtake.runs import read_run

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "objectives.json"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return benchmark_scripts.load("objectives")


@pytest.mark.parametrize("planes", [False, True])
def test_rows_of_a_seed_differ_in_the_objective_alone(benchmark, planes: bool):
    system = benchmark.PLANES if planes else benchmark.VOLUME
    bench = benchmark.Benchmark(work=Path("work"), steps=3, n=4, system=system)
    runs = {name: to_dict(bench.run(name, 0)) for name in benchmark.OBJECTIVES}
    objectives = {name: json.dumps(run.pop("diffusion")) for name, run in runs.items()}
    assert len(set(objectives.values())) == len(runs)
    assert all(run == runs[benchmark.FIRST] for run in runs.values())
    preset = to_dict(read_run(system.preset))
    if not planes:
        assert json.loads(objectives["v, min-SNR 5"]) == preset["diffusion"]
    assert runs[benchmark.FIRST]["sampling"] == preset["sampling"]


def test_keys_tell_rows_apart_but_not_places(benchmark):
    here, there = (benchmark.Benchmark(work=Path(x), steps=3, n=4) for x in ("a", "b/c"))
    keys = {here.key(name, seed) for name in benchmark.OBJECTIVES for seed in (0, 1)}
    assert len(keys) == 2 * len(benchmark.OBJECTIVES)
    assert here.key("EDM", 1) == there.key("EDM", 1)


@pytest.mark.slow
def test_rows_are_kept_and_of_other_settings_refused(benchmark, tmp_path):
    path = tmp_path / "objectives.json"
    bench = benchmark.Benchmark(work=tmp_path / "work", steps=2, n=4, tiny=True)
    table = benchmark.Table(bench, path)
    for name in ("v", "flow, logit-normal"):
        table.add(bench.row(name, 0))
    again = benchmark.Table(benchmark.Benchmark(work=tmp_path, steps=2, n=4, tiny=True), path)
    assert again.rows == table.rows
    assert set(json.loads(path.read_text())["summary"]) == {"v", "flow, logit-normal"}
    assert bench.sheet().ndim == 3
    with pytest.raises(ValueError, match="'v' of seed 0 is of other settings"):
        benchmark.Table(benchmark.Benchmark(work=tmp_path, steps=3, n=4, tiny=True), path)


def test_differences_are_paired_by_seed(benchmark, capsys):
    values = {"v": (200.0, 300.0, 400.0), "x0": (210.0, 310.0, 410.0), "EDM": (90.0,)}
    rows = [
        {"objective": name, "seed": seed, "fvd": {"value": x}, "kvd": {"value": x / 10}}
        for name, each in values.items()
        for seed, x in enumerate(each)
    ]
    found = benchmark.summary(rows, benchmark.FIRST)
    assert found["v"]["fvd"] == {"mean": 300, "std": 100}
    assert found["x0"]["fvd"]["difference"] == {"value": 10, "low": 10, "high": 10}
    assert found["EDM"]["fvd"] == {"mean": 90, "difference": {"value": -110}}
    benchmark.print_table([row | {"cpu_seconds_a_step": 0.1} for row in rows], benchmark.FIRST)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| EDM", "| v", "| x0"]


@pytest.mark.skipif(not RESULTS.exists(), reason="no row was measured yet")
def test_the_committed_rows_are_of_the_committed_settings(benchmark):
    stored = json.loads(RESULTS.read_text())
    bench = benchmark.Benchmark(work=Path("work"), steps=stored["steps"], n=stored["clips"])
    for row in stored["rows"]:
        own = bench.key(row["objective"], row["seed"], stored["autoencoder"])
        assert row["key"] == own
