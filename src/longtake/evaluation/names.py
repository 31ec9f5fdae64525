"""Sides by name: folders, data sets, array files, embedded worlds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from longtake.config import nearest, parse
from longtake.data.clips import ClipPlan
from longtake.data.folders import UCF101, VIDEO_SUFFIXES, SkyTimelapse, Taichi, VideoFolder
from longtake.data.synthetic import DoomWorld, MarblesWorld, SkyWorld, SyntheticSource
from longtake.evaluation.arrays import SUFFIXES
from longtake.evaluation.sides import Side
from longtake.evaluation.video_sides import ArraySide, FolderSide, WorldSide
from longtake.hub import shipped_models

WORLDS: Mapping[str, type[SyntheticSource]] = {
    "sky": SkyWorld,
    "marbles": MarblesWorld,
    "doom": DoomWorld,
}
LAYOUTS = {"ucf101": UCF101, "sky_timelapse": SkyTimelapse, "taichi": Taichi}
SPLITS = ("train", "test", "all")

FORMS = (
    "a folder of videos or of folders of frames, an array file "
    f"({', '.join(SUFFIXES)}), a data set as ucf101:train:FOLDER, a world as sky:test:64, or a "
    "model"
)


def open_side(name: str, size: tuple[int, int] = (64, 64)) -> Side | None:
    """Videos by name; None where the name is none of these and so may be a model's.

    Args:
        name: a path, ``WORLD[:SPLIT][:SIZE]`` or ``LAYOUT[:SPLIT]:FOLDER``.
        size: of a world that is named without one.

    Raises:
        ValueError: a world or a data set in a form that there is not, or a file that is none.
    """
    kind, *rest = name.split(":")
    if kind in WORLDS and not Path(name).exists():
        return _world(name, kind, rest, size)
    if kind in LAYOUTS and rest:
        return _layout(name, kind, rest)
    path = Path(name)
    if path.suffix in SUFFIXES:
        return ArraySide(path)
    if path.is_file():
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            raise ValueError(f"{path}: is no side of an evaluation; expected {FORMS}")
        return FolderSide(path)
    if path.is_dir() and not is_model(name):
        return FolderSide(VideoFolder(path=path))
    if path.exists() or is_model(name) or name.count("/") == 1:
        return None
    raise ValueError(
        f"{name}: no such file, folder, world or model; expected {FORMS}; "
        f"{nearest(name, [*WORLDS, *shipped_models()])}"
    )


def is_model(name: str) -> bool:
    """Whether a name is that of a model at hand: a folder, a run, or a shipped one."""
    from longtake.hub import INDEX

    path = Path(name)
    return (path / INDEX).exists() or (path / "model" / INDEX).exists() or name in shipped_models()


def world_of(classes: Sequence[str]) -> str | None:
    """The embedded world whose classes a model has; None where there is none."""
    if not classes:
        return None
    for name, world in WORLDS.items():
        if tuple(classes) == world().classes:
            return name
    return None


def _world(name: str, kind: str, rest: Sequence[str], size: tuple[int, int]) -> Side:
    split = "train"
    for part in rest:
        if part in ("train", "test"):
            split = part
            continue
        numbers = part.split("x")
        if len(numbers) > 2 or not all(n.isdecimal() and int(n) for n in numbers):
            raise ValueError(
                f"{name}: {part!r} is neither a split (train, test) nor a size (64, 48x64)"
            )
        size = int(numbers[0]), int(numbers[-1])
    plan = ClipPlan(height=size[0], width=size[1])
    return WorldSide(parse(WORLDS[kind], {"split": split, "plan": plan}))


def _layout(name: str, kind: str, rest: Sequence[str]) -> Side:
    split, *path = rest if rest[0] in SPLITS else ["train", *rest]
    if not path:
        raise ValueError(f"{name}: names no folder; expected {kind}:{split}:FOLDER")
    return FolderSide(parse(LAYOUTS[kind], {"split": split, "path": Path(":".join(path))}))
