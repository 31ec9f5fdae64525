"""The world ``marbles``: up to three marbles that roll, bounce and persist without end."""

from functools import lru_cache
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from pydantic import model_validator

from longtake.data.clips import Clip
from longtake.data.synthetic import marbles_words as words
from longtake.data.synthetic.base import SyntheticSource
from longtake.data.synthetic.marbles_physics import Floor, Trajectory, throw
from longtake.data.synthetic.marbles_picture import RADIUS, paint_ground, render
from longtake.noise import generator

FPS = 25.0
SPEEDS = {"slowly": (0.009, 0.014), "quickly": (0.028, 0.04)}
KINDS = tuple(product(words.NUMBERS, words.GROUNDS, words.SPEEDS))


class Scene(NamedTuple):
    """Contents of one video at one size."""

    attributes: dict[str, str]
    colours: tuple[str, ...]
    ground: Float32[np.ndarray, "h w 3"]
    trajectory: Trajectory


class MarblesWorld(SyntheticSource):
    """Marbles of different colours on wood, slate or felt, seen from above.

    The label is number x ground x speed; colours are only in the captions. A marble's radius is an
    eighth of the frame's shorter side, so every resolution shows the same motion. Speed is the root
    mean square over the marbles in frame heights per frame, which bounces do not change.

    The first frame that is rendered of a video takes time in proportion to the bounces since frame
    0, about 100,000 frames a second; later ones only to those of 64 frames (see ``Trajectory``).
    """

    kind: Literal["marbles"] = "marbles"

    @model_validator(mode="after")
    def _room_to_roll(self) -> "MarblesWorld":
        if not 0.5 <= self.plan.width / self.plan.height <= 2:
            raise ValueError(
                f"size {self.plan.height}x{self.plan.width} is too narrow for marbles; "
                "choose one side at most twice the other"
            )
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(
            f"{number} {'marble' if number == 'one' else 'marbles'} rolling {speed} on {ground}"
            for number, ground, speed in KINDS
        )

    @property
    def fps(self) -> float:
        return FPS / self.plan.stride

    @property
    def revision(self) -> int:
        return 1

    def label(self, index: int) -> int:
        """Index into ``classes``; consecutive videos cycle through them."""
        return self.number(index) % len(KINDS)

    def attributes(self, index: int, frame: int = 0) -> dict[str, str]:
        return dict(self._scene(index).attributes)

    def caption(self, index: int, start_frame: int = 0, wording: int = 0) -> str:
        return words.caption(self._scene(index).attributes, wording)

    def video(self, index: int, start_frame: int, frames: int, wording: int = 0) -> Clip:
        scene = self._scene(index)
        stride = self.plan.stride
        path = scene.trajectory.positions(start_frame, (frames - 1) * stride + 1)[::stride]
        radius = scene.trajectory.floor.radius
        return Clip(
            frames=render(scene.ground, path, scene.colours, radius),
            path=self.address(index),
            start_frame=start_frame,
            fps=self.fps,
            label=self.label(index),
            caption=self.caption(index, start_frame, wording),
        )

    def trajectory(self, index: int) -> Trajectory:
        """True positions of a video's marbles, in the order of their colours."""
        return self._scene(index).trajectory

    def _scene(self, index: int) -> Scene:
        return _scene(self.video_seed(index), self.label(index), self.plan.height, self.plan.width)


@lru_cache(maxsize=64)
def _scene(seed: int, label: int, height: int, width: int) -> Scene:
    draws = generator(seed, "scene")
    number, ground, speed = KINDS[label]
    count = words.NUMBERS.index(number) + 1
    chosen = torch.randperm(len(words.COLOURS), generator=draws)[:count].sort().values.tolist()
    colours = tuple(words.COLOURS[i] for i in chosen)
    slow, quick = SPEEDS[speed]
    drawn = slow + (quick - slow) * torch.rand((), generator=draws, dtype=torch.float64).item()
    floor = Floor(width / height, RADIUS * min(1.0, width / height))
    return Scene(
        attributes=words.attributes(count, colours, ground, speed),
        colours=colours,
        ground=paint_ground(ground, height, width, generator(seed, "ground")),
        trajectory=Trajectory(throw(count, drawn, floor, generator(seed, "throw")), floor),
    )
