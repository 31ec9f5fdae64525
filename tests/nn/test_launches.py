"""A step on CUDA starts fewer operations than the plain networks, and no more than when counted.

A change that starts fewer stores its counts by ``python benchmarks/launches.py --json
docs/results/launches.json``.
"""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
STORED = json.loads((ROOT / "docs" / "results" / "launches.json").read_text())["rows"]
COUNTS = {(row["network"], row["dtype"], row["side"]): row["operations"] for row in STORED}
OFFICIAL = {"LVDM": 1277, "PVDM-L": 1859}
"""Operations of the official code in float32, counted on meta tensors."""


@pytest.fixture(scope="module")
def benchmark():
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        path = ROOT / "benchmarks" / "launches.py"
        spec = importlib.util.spec_from_file_location("launches_benchmark", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


@pytest.mark.parametrize("network", OFFICIAL)
def test_a_step_starts_no_more_operations_than_are_stored(benchmark, network):
    ours, _ = benchmark.NETWORKS[network](32)  # counts do not depend on the width
    for name, dtype in benchmark.DTYPES.items():
        found = benchmark.operations(ours, ours.spec.shape, 1, dtype).names.total()
        assert found <= COUNTS[network, name, "ours"]
        assert found < COUNTS[network, name, "plain"]
        assert found < OFFICIAL[network]


def test_a_step_on_a_cpu_starts_no_more_operations_than_are_stored(benchmark):
    for row in benchmark.on_cpu():
        assert row["operations"] <= COUNTS[row["network"], row["dtype"], row["side"]]


def test_operations_are_counted_once_and_views_are_not(benchmark):
    x = torch.empty(2, 3, 4, device="meta")
    with benchmark.counted() as found:
        y = x.flatten(1).mT[None] * 2
        torch.nn.functional.scaled_dot_product_attention(y, y, y)
    assert found.names == {"aten::mul": 1, "attention": 1}
    assert found.moved == 4 * (2 * y.numel() + 4 * y.numel())
