"""The intervals that are printed hold what they are of: the fast part of benchmarks/coverage.py."""

import importlib.util
from pathlib import Path

PATH = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


def test_intervals_hold_what_they_are_of():
    spec = importlib.util.spec_from_file_location("coverage_benchmark", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = module.measure(32, trials=20, width=24, redraws=16)
    for row in rows:
        held = row["holds_true"] if row["metric"] == "limit" else row["holds_mean"]
        assert held >= 0.7, row
    share = sum(row["holds_mean"] for row in rows) / len(rows)
    assert 0.87 < share < 0.99
    like = next(row for row in rows if row["case"] == "same" and row["metric"] == "fvd")
    assert like["holds_true"] == 0  # the interval of FVD at n is not of FVD
