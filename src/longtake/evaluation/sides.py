"""Either side of an evaluation: videos by number, and which clips are cut from them.

Real and generated videos, arrays and models are all the same here.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from longtake.data.clips import Rejected
from longtake.evaluation.protocols import Protocol, Role
from longtake.noise import generator

SAME_RATE = 0.01
"""Rates that differ by a smaller part are one: 29.97 and 30."""


class Look(NamedTuple):
    """What one video of a side is.

    Attributes:
        frames: how many it has.
        height: in pixels.
        width: in pixels.
        fps: frames a second; None where nothing says it.
        variable: its frames are not shown equally long.
    """

    frames: int
    height: int
    width: int
    fps: float | None = None
    variable: bool = False


class Pick(NamedTuple):
    """A clip that is to be cut: from which video, and where it begins."""

    video: int
    start_frame: int


class Side(ABC):
    """Videos by number."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As the user calls it."""

    @abstractmethod
    def __len__(self) -> int:
        """How many videos there are."""

    @abstractmethod
    def look(self, video: int) -> Look:
        """What a video is."""

    @abstractmethod
    def title(self, video: int) -> str:
        """What a video is called, for messages."""

    @abstractmethod
    def rejected(self) -> Sequence[Rejected]:
        """What was found and is broken."""

    @abstractmethod
    def identity(self) -> Any:
        """Plain data that differs wherever a clip may differ: features are cached by it."""

    @abstractmethod
    def contents(self) -> Any:
        """As ``identity``, but the same for copies of the same videos on other machines."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """What a result says of it besides."""

    @abstractmethod
    def clips(
        self, picks: Sequence[Pick], frames: int, stride: int
    ) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
        """The clips that were picked, in their order, each depending on its pick alone."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What of a side can be used under a protocol.

    Attributes:
        usable: numbers of videos.
        skipped: how many videos cannot be used, where the protocol skips such.
        height: of its frames; None where they differ.
        width: of its frames.
        fps: frames a second; None where they differ or nothing says it.
    """

    usable: tuple[int, ...]
    skipped: int
    height: int | None
    width: int | None
    fps: float | None


def survey(side: Side, protocol: Protocol, role: Role) -> Survey:
    """Look at every video of a side.

    Raises:
        ValueError: a video is broken, too short, of another size or rate than the protocol admits.
    """
    looks = [side.look(video) for video in range(len(side))]
    span = protocol.span(role)
    usable = tuple(video for video, look in enumerate(looks) if look.frames >= span)
    short = [
        Rejected(side.title(video), f"has {look.frames} frames, a clip spans {span}")
        for video, look in enumerate(looks)
        if look.frames < span
    ]
    unfit = [*side.rejected(), *short]
    if unfit and (protocol.unfit == "refuse" or not usable):
        total = len(side) + len(side.rejected())
        path, reason = unfit[0]
        raise ValueError(
            f"{side.name}: {len(unfit)} of {total} videos cannot be used, first {path}: {reason}; "
            "mend or remove them, or set unfit=skip"
        )
    chosen = {video: looks[video] for video in usable}
    height, width = _one_size(side, protocol, role, chosen)
    return Survey(
        usable=usable,
        skipped=len(unfit),
        height=height,
        width=width,
        fps=_one_rate(side, protocol, chosen),
    )


def choose(
    side: Side,
    found: Survey,
    protocol: Protocol,
    role: Role,
    *,
    count: int,
    draw: int = 0,
    seed: int = 0,
) -> list[Pick]:
    """Clips of a side, in an order that the seed and the draw alone decide.

    The first clips of a longer list are those of a shorter one. Each video gives one clip before
    any gives a second.

    Raises:
        ValueError: there are not so many clips.
    """
    usable, each = found.usable, protocol.clips_per_video
    if count > len(usable) * each:
        several = "" if each == 1 else f" at {each} a video"
        raise ValueError(
            f"{side.name}: {len(usable)} videos give {len(usable) * each} clips{several}, "
            f"{protocol.name} asks for {count}; give more videos, or a smaller --n, which is "
            "another protocol"
        )
    shuffled = torch.randperm(len(usable), generator=generator(seed, role, "order", draw))
    order = shuffled[:count].tolist()
    start = _Start(side, protocol, role, seed, draw)
    return [
        start(usable[order[number % len(usable)]], number // len(usable)) for number in range(count)
    ]


def disjoint(found: Survey, count: int) -> bool:
    """Whether two sets of so many clips can share no video."""
    return len(found.usable) >= 2 * count


@dataclass(frozen=True)
class _Start:
    """Where a clip begins."""

    side: Side
    protocol: Protocol
    role: Role
    seed: int
    draw: int

    def __call__(self, video: int, repeat: int) -> Pick:
        span = self.protocol.span(self.role)
        room = self.side.look(video).frames - span
        if self.protocol.start(self.role) == "random":
            random = generator(self.seed, self.role, "start", self.draw, video, repeat)
            return Pick(video, int(torch.randint(room + 1, (), generator=random)))
        if repeat * span > room:
            raise ValueError(
                f"{self.side.title(video)}: has no {repeat + 1} clips of {span} frames one after "
                "another; set a smaller clips_per_video"
            )
        return Pick(video, repeat * span)


def _one_size(
    side: Side, protocol: Protocol, role: Role, looks: dict[int, Look]
) -> tuple[int, int] | tuple[None, None]:
    """Height and width of all videos, None where they differ."""
    first = next(iter(looks))
    size = looks[first].height, looks[first].width
    other = next((v for v, x in looks.items() if (x.height, x.width) != size), None)
    if other is None:
        asked = protocol.resolution
        if role == "generated" and asked is not None and size != (asked, asked):
            raise ValueError(
                f"{side.name}: generated frames are {size[0]} x {size[1]}, {protocol.name} asks "
                f"for {asked} x {asked}; set resolution=..., which is another protocol"
            )
        return size
    if role == "real" and protocol.resolution is not None:
        return None, None
    found = looks[other]
    raise ValueError(
        f"{side.name}: frames differ in size: {side.title(first)} has {size[0]} x {size[1]}, "
        f"{side.title(other)} has {found.height} x {found.width}; bring them to one size"
        + ("" if role == "generated" else ", or set resolution=..., which is another protocol")
    )


def _one_rate(side: Side, protocol: Protocol, looks: dict[int, Look]) -> float | None:
    """Frames a second of all videos; None where they differ or nothing says it."""
    first = next(iter(looks))
    fps = looks[first].fps
    other = next((v for v, x in looks.items() if x.variable or not same_rate(x.fps, fps)), None)
    if other is None or protocol.rates == "any":
        return fps if other is None else None
    if looks[other].variable:
        fault = f"{side.title(other)} has a rate that varies"
    else:
        fault = (
            f"rates differ: {side.title(first)} has {fps:g} frames/s, {side.title(other)} "
            f"{looks[other].fps:g}"
        )
    raise ValueError(f"{side.name}: {fault}; bring them to one rate, or set rates=any")


def same_rate(x: float | None, y: float | None) -> bool:
    """Whether two rates are one; what is not known differs from nothing."""
    return x is None or y is None or abs(x - y) <= SAME_RATE * max(x, y)
