"""benchmarks/data_size.py: rows differ in videos, width and seed alone, and are kept."""

import json
from pathlib import Path
from types import ModuleType

import benchmark_scripts
import pytest

from longtake.config import differences, to_dict

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "data_size.json"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return benchmark_scripts.load("data_size")


def test_rows_differ_in_videos_width_and_seed_alone(benchmark):
    trial = benchmark.Trial(work=Path("work"), steps=3, every=1)
    one, other = (to_dict(trial.run(*row)) for row in [(8, 16, 0), (32, 32, 1)])
    assert differences(one, other).keys() == {
        "cache_folder",
        "data.videos",
        "denoiser.model_channels",
        "training.seed",
    }


def test_the_lowest_loss_and_its_step_are_read_from_the_log(benchmark):
    held_out = {10: 0.5, 20: 0.3, 30: 0.4}
    lines = [{"step": step, "validation_loss": loss} for step, loss in held_out.items()]
    lines += [{"step": step, "loss": step / 100} for step in range(1, 31)]
    found = benchmark.losses(lines, 2.0)
    assert found["best"] == {"step": 20, "loss": 0.3}
    assert (found["passes"], found["last"], found["training"]) == (40, 0.4, 0.28)
    row = {"videos": 8, "width": 16, "seed": 0, **found}
    assert benchmark.table([row])[-1] == "| 8 | 16 | 0.300 | 20 | 40 | 0.400 | 0.280 |"


def test_rows_of_other_settings_are_refused(benchmark, tmp_path: Path):
    path = tmp_path / "data_size.json"
    trial = benchmark.Trial(work=tmp_path, steps=3, every=1)
    assert benchmark.stored_rows(path, trial) == []
    path.write_text(json.dumps({**trial.about, "rows": [{}]}))
    assert benchmark.stored_rows(path, trial) == [{}]
    with pytest.raises(ValueError, match="its rows are of other settings"):
        benchmark.stored_rows(path, benchmark.Trial(work=tmp_path, steps=4, every=1))


@pytest.mark.slow
def test_a_row_is_trained(benchmark, tmp_path: Path):
    trial = benchmark.Trial(work=tmp_path, steps=2, every=1)
    row = trial.row(2, 16, 0)
    assert row["held_out"].keys() == {"1", "2"}
    assert row["passes"] == row["best"]["step"] * 8


def test_the_committed_rows_are_of_the_committed_settings(benchmark):
    stored = json.loads(RESULTS.read_text())
    trial = benchmark.Trial(work=Path("work"), steps=stored["steps"], every=stored["every"])
    assert {**stored, "rows": None} == {**trial.about, "rows": None}
