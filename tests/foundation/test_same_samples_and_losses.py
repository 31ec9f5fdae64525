"""Samples and five training steps equal those of commit cf41d99, stored in goldens/revisions.

Those of lvdm-sky and pvdm-sky, whose weights are other ones since, are stored again with each
change of weights, and of nothing else; with the former weights their samples equal those of
cf41d99.

The cases are those of benchmarks/revisions/revision_outputs.py. To store them again, after a change
that is meant to alter results, run this file with PYTHONPATH naming the revision's ``src`` and this
folder of benchmarks.
"""

import platform
import re
from pathlib import Path

import pytest
import torch
from revision_outputs import cases
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "goldens" / "revisions" / "cf41d99.safetensors"
VALUES = 64
SAME_CPU, OTHER_CPU = 1e-6, 1e-3
"""Greatest difference relative to a tensor's greatest value; with other vector instructions the
trained weights differ by up to 2e-4 after five steps of AdamW, pixels by 3e-6. With the same ones,
but of another vendor, whose matrix products MKL computes otherwise, five steps differ by 9e-6."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("name", cases(Path()))
def test_results_are_those_of_the_stored_revision(name: str, runs: Path):
    found = {f"{name}/{key}": value for key, value in cases(runs)[name]().items()}
    with safe_open(GOLDEN, framework="pt") as file:
        same_cpu = file.metadata()[name] == processor()
        stored = {key: file.get_tensor(key) for key in file.keys() if key.startswith(f"{name}/")}  # noqa: SIM118
    assert found.keys() == stored.keys()
    for key, want in stored.items():
        atol = (SAME_CPU if same_cpu else OTHER_CPU) * max(1.0, float(want.abs().max()))
        torch.testing.assert_close(
            summary(found[key]), want, atol=atol, rtol=0, msg=lambda text, key=key: f"{key}: {text}"
        )


def processor() -> str:
    """Vector instructions in use and the processor's vendor."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    vendor = re.search(r"^vendor_id\s*: (.*)$", text, re.MULTILINE)
    maker = vendor[1] if vendor else platform.machine()
    return f"{torch.backends.cpu.get_cpu_capability()} {maker}"


def summary(tensor: Tensor) -> Tensor:
    """Mean, standard deviation and evenly spaced values."""
    flat = tensor.double().flatten()
    places = torch.linspace(0, len(flat) - 1, min(VALUES, len(flat)), dtype=torch.float64)
    return torch.cat([flat.mean()[None], flat.std()[None], flat[places.round().long()]])


def store(folder: Path) -> None:
    torch.set_num_threads(1)
    made = cases(folder)
    found = {
        f"{name}/{key}": summary(value)
        for name, case in made.items()
        for key, value in case().items()
    }
    GOLDEN.parent.mkdir(exist_ok=True)
    save_file(found, GOLDEN, dict.fromkeys(made, processor()))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        store(Path(temporary))
