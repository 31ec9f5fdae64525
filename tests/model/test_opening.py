"""What opening a model and reading a run import: each process that does so waits for it."""

import subprocess
import sys
from collections.abc import Sequence

MODELS = """
import sys
from longtake.hub import shipped_models
from longtake.model import VideoModel
for name in shipped_models():
    VideoModel.from_pretrained(name)
"""
RUN = """
from longtake.runs import read_run
read_run("lvdm_laptop_short")
"""
LOADED = """
print(*sorted(set(sys.argv[1:]) & sys.modules.keys()))
"""
SLOW = (
    *("diffusers", "sympy", "torchmetrics", "transformers"),
    *("torch._dynamo", "torch._inductor", "torch.distributed.checkpoint"),
)

OF_RUNS = (
    *("longtake.data.folders", "longtake.data.synthetic", "longtake.features"),
    *("longtake.losses", "longtake.run_registry", "longtake.runs", "longtake.training"),
)


def test_opening_the_shipped_models_and_a_preset_imports_nothing_slow():
    assert loaded(MODELS + RUN, SLOW) == []


def test_opening_a_model_imports_nothing_that_only_runs_need():
    assert loaded(MODELS, OF_RUNS) == []


def loaded(code: str, modules: Sequence[str]) -> list[str]:
    """Which of these modules a process has imported after this code."""
    command = [sys.executable, "-c", code + LOADED, *modules]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
