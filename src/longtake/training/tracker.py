"""Trackers: programs that show the values and previews of many runs, beside each run's own page."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from longtake import config
from longtake.config import digest
from longtake.video import VideoWriter, open_video

TrackerName = Literal["none", "tensorboard", "wandb", "trackio"]
PROJECT = "longtake"


class Tracker(ABC):
    """An experiment tracker, which shows a run's logged values and previews."""

    @abstractmethod
    def values(self, step: int, values: Mapping[str, float]) -> None:
        """Send values, by name, of training step ``step``."""

    @abstractmethod
    def video(self, step: int, name: str, path: Path) -> None:
        """Send the video file ``path``, made at training step ``step``, to show under ``name``."""

    @abstractmethod
    def close(self) -> None:
        """Finish: write what is not written yet."""


class TensorBoard(Tracker):
    """Writes TensorBoard's event files to ``tensorboard`` in a run's folder; videos are GIFs."""

    def __init__(self, folder: Path) -> None:
        board: Any = import_module("torch.utils.tensorboard")
        self._writer = board.SummaryWriter(str(folder / "tensorboard"))

    def values(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def video(self, step: int, name: str, path: Path) -> None:
        proto: Any = import_module("tensorboard.compat.proto.summary_pb2")
        frames, fps = open_video(path)
        with TemporaryDirectory() as folder:
            moving = Path(folder) / "video.gif"
            with VideoWriter(moving, fps) as writer:
                writer.write(frames)
            encoded = moving.read_bytes()
        _, height, width, channels = frames.shape
        image = proto.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=encoded
        )
        summary = proto.Summary(value=[proto.Summary.Value(tag=name, image=image)])
        self._writer.file_writer.add_summary(summary, step)

    def close(self) -> None:
        self._writer.close()


class Dashboard(Tracker):
    """Sends to Weights & Biases, or to trackio, which has the same interface.

    The run has the name of its folder there, and is continued after a stop. ``module`` is ``wandb``
    or ``trackio``, ``settings`` are further arguments of its ``init``.
    """

    def __init__(self, module: Any, folder: Path, **settings: Any) -> None:
        self._module = module
        path = folder / "config.yaml"
        settings |= {"config": config.read(path) if path.exists() else {}, "resume": "allow"}
        self._run = module.init(project=PROJECT, name=folder.resolve().name, **settings)

    def values(self, step: int, values: Mapping[str, float]) -> None:
        self._module.log(dict(values), step=step)

    def video(self, step: int, name: str, path: Path) -> None:
        self._module.log({name: self._module.Video(str(path), format="mp4")}, step=step)

    def close(self) -> None:
        self._module.finish()


def _wandb(folder: Path) -> Tracker:
    own = {"dir": str(folder), "id": digest(str(folder.resolve()))}
    return Dashboard(import_module("wandb"), folder, **own)


def _trackio(folder: Path) -> Tracker:
    return Dashboard(import_module("trackio"), folder)


_TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": _wandb,
    "trackio": _trackio,
}


def open_tracker(name: TrackerName, folder: Path) -> Tracker | None:
    """Open the experiment tracker ``name`` for the run in a folder; None for ``none``.

    A ValueError if its package is not installed.
    """
    check_tracker(name)
    return _TRACKERS[name](folder) if name in _TRACKERS else None


def check_tracker(name: TrackerName) -> None:
    """Raise a ValueError if the package of this experiment tracker is not installed."""
    if name in _TRACKERS and find_spec(name) is None:
        raise ValueError(f"tracker: {name} needs the package: pip install 'longtake[{name}]'")
