"""What opening a model imports: each process that makes or measures videos waits for it."""

import subprocess
import sys

OPEN = """
import sys
from longtake.hub import shipped_models
from longtake.model import VideoModel
for name in shipped_models():
    VideoModel.from_pretrained(name)
print(*sorted(set(sys.argv[1:]) & sys.modules.keys()))
"""
SLOW = ("diffusers", "sympy", "torch._dynamo", "torch._inductor", "torchmetrics", "transformers")


def test_opening_the_shipped_models_imports_nothing_slow():
    command = [sys.executable, "-c", OPEN, *SLOW]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "\n"
