"""What opening a model and reading a run import: each process that does so waits for it."""

import subprocess
import sys

OPEN = """
import sys
from longtake.hub import shipped_models
from longtake.model import VideoModel
from longtake.runs import read_run
for name in shipped_models():
    VideoModel.from_pretrained(name)
read_run("lvdm_laptop_short")
print(*sorted(set(sys.argv[1:]) & sys.modules.keys()))
"""
SLOW = (
    *("diffusers", "sympy", "torchmetrics", "transformers"),
    *("torch._dynamo", "torch._inductor", "torch.distributed.checkpoint"),
)


def test_opening_the_shipped_models_and_a_preset_imports_nothing_slow():
    command = [sys.executable, "-c", OPEN, *SLOW]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "\n"
