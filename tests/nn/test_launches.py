"""A step on CUDA starts fewer operations than the plain networks, and no more than when counted.

A change that starts fewer stores its counts by ``python benchmarks/launches.py --json
docs/results/launches.json``.
"""

import json
from pathlib import Path
from types import ModuleType

import benchmark_scripts
import pytest
import torch

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "launches.json"
STORED = json.loads(RESULTS.read_text())["rows"]
COUNTS = {(row["network"], row["dtype"], row["side"]): row["operations"] for row in STORED}
OFFICIAL = {"LVDM": 1277, "PVDM-L": 1859}
"""Operations of the official code in float32, counted on meta tensors."""


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return benchmark_scripts.load("launches")


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
