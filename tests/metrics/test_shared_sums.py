"""Processes that each see a part of the clips measure what one process measures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from longtake.metrics.statistics import FeatureSums

SCRIPT = """
import sys
import torch
from safetensors.torch import save_file
from longtake.distributed import join
from longtake.metrics.statistics import FeatureSums

with join() as ranks:
    rows = torch.randn(25, 4, generator=torch.Generator().manual_seed(0))
    sums = FeatureSums.of(rows[ranks.rank :: ranks.size]).over(ranks)
    assert sums.count == 25
    save_file({"total": sums.total, "products": sums.products}, f"{sys.argv[1]}/{ranks.rank}")
"""


@pytest.mark.slow
def test_two_processes_have_the_sums_of_one(tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, str(tmp_path / "script.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    rows = torch.randn(25, 4, generator=torch.Generator().manual_seed(0))
    want = FeatureSums.of(rows)
    for rank in ("0", "1"):
        found = load_file(tmp_path / rank)
        torch.testing.assert_close(found["total"], want.total)
        torch.testing.assert_close(found["products"], want.products)
