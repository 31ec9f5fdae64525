"""The synthetic data set ``marbles``: up to three marbles that roll and bounce without end."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from pydantic import Field, model_validator

from longtake.data.source import Frames
from longtake.data.synthetic.base import SyntheticSource, template
from longtake.data.synthetic.marbles_physics import Floor, Trajectory, throw
from longtake.data.synthetic.marbles_picture import COLOURS, RADIUS, paint_ground, paint_marbles
from longtake.noise import generator

NUMBERS = ("one", "two", "three")
SPEEDS = {"slowly": (0.009, 0.014), "quickly": (0.028, 0.04)}
TINTS = {"wood": "pale", "slate": "grey", "felt": "dark"}
LABELS = {"number": NUMBERS, "ground": tuple(TINTS), "speed": tuple(SPEEDS)}
KINDS = tuple(product(*LABELS.values()))
TEMPLATES = (
    "{number} {marbles}, {colours}, rolling {speed} on {tint} {ground}",
    "{number} {marbles} {roll} {speed} on {tint} {ground}: {colours}",
    "{colours} {marbles} rolling {speed} on {ground}",
    "on {tint} {ground}, {number} {marbles} {roll} {speed}: {colours}",
    "{number} {colours} {marbles} on {ground}, rolling {speed}",
)
SHORT_TEMPLATES = (
    "{colours} {marbles}",
    "{number} {marbles} on {ground}",
    "{marbles} rolling {speed}",
    "{number} {colours} {marbles}",
    "{marbles} rolling {speed} on {tint} {ground}",
    "{colours} {marbles} on {ground}",
)


class Scene(NamedTuple):
    """What one video of marbles shows, prepared for one frame size.

    Attributes:
        attributes: ground truth: a word for each attribute, by the attribute's name.
        colours: name of each marble's colour.
        ground: picture of the ground without marbles.
        trajectory: positions of the marbles over time.
    """

    attributes: dict[str, str]
    colours: tuple[str, ...]
    ground: Float32[np.ndarray, "h w 3"]
    trajectory: Trajectory


class MarblesWorld(SyntheticSource):
    """Synthetic data set: coloured marbles roll on wood, slate or felt, seen from above.

    A class is a combination of number of marbles, ground and speed; colours are only in captions. A
    marble's radius is an eighth of the frame's shorter side, so that the motion is the same at
    every resolution. Speed is a root mean square over the marbles, in frame heights per frame,
    which bounces do not change.

    Rendering frame n of a new video first computes all bounces before it, at about 100,000 frames
    per second; after that any frame needs the bounces of at most 64 frames (see ``Trajectory``).
    ``SyntheticSource`` describes the other fields.

    Attributes:
        short_captions: whether six of sixteen captions leave out some of the four attributes;
            otherwise only the number is left out, by one of five, which lists the colours.
    """

    revision: ClassVar[int] = 1
    rate: ClassVar[float] = 25.0
    kind: Literal["marbles"] = "marbles"
    short_captions: bool = Field(default=False, exclude_if=lambda short: not short)

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
    def label_parts(self) -> Mapping[str, tuple[str, ...]]:
        return LABELS

    def label(self, index: int, frame: int = 0) -> int:
        return self.class_of(index)

    def attributes(self, index: int, frame: int = 0) -> dict[str, str]:
        return dict(self._scene(index).attributes)

    def sentence(self, truth: dict[str, str], wording: int) -> str:
        one = truth["number"] == "one"
        words = {"marbles": "marble" if one else "marbles", "roll": "rolls" if one else "roll"}
        chosen = template(wording, TEMPLATES, SHORT_TEMPLATES if self.short_captions else ())
        return chosen.format(tint=TINTS[truth["ground"]], **words, **truth)

    def render(
        self, index: int, start_frame: int, count: int, stride: int
    ) -> tuple[Frames, dict[str, str]]:
        scene = self._scene(index)
        path = scene.trajectory.positions(start_frame, (count - 1) * stride + 1)[::stride]
        radius = scene.trajectory.floor.radius
        return paint_marbles(scene.ground, path, scene.colours, radius), self.attributes(index)

    def trajectory(self, index: int) -> Trajectory:
        """True positions of the marbles of video ``index``, in the order of their colours."""
        return self._scene(index).trajectory

    def _scene(self, index: int) -> Scene:
        return _scene(self.video_seed(index), self.label(index), self.plan.height, self.plan.width)


@lru_cache(maxsize=64)
def _scene(seed: int, label: int, height: int, width: int) -> Scene:
    draws = generator(seed, "scene")
    number, ground, speed = KINDS[label]
    count = NUMBERS.index(number) + 1
    chosen = torch.randperm(len(COLOURS), generator=draws)[:count].sort().values.tolist()
    colours = tuple(tuple(COLOURS)[i] for i in chosen)
    slow, quick = SPEEDS[speed]
    drawn = slow + (quick - slow) * torch.rand((), generator=draws, dtype=torch.float64).item()
    floor = Floor(width / height, RADIUS * min(1.0, width / height))
    return Scene(
        attributes=attributes_of(count, colours, ground, speed),
        colours=colours,
        ground=paint_ground(ground, height, width, generator(seed, "ground")),
        trajectory=Trajectory(throw(count, drawn, floor, generator(seed, "throw")), floor),
    )


def attributes_of(number: int, colours: Sequence[str], ground: str, speed: str) -> dict[str, str]:
    """Words for what a video of marbles shows, true or measured, by name of the attribute.

    Args:
        number: number of marbles.
        colours: the marbles' colours, in the order of the rainbow.
        ground: ``wood``, ``slate`` or ``felt``.
        speed: ``slowly`` or ``quickly``.
    """
    counted = NUMBERS[number - 1] if 1 <= number <= len(NUMBERS) else str(number)
    return {"number": counted, "colours": listed(colours), "ground": ground, "speed": speed}


def listed(colours: Sequence[str]) -> str:
    """The colours as captions list them: ``red``, ``red and blue``, ``red, green and blue``."""
    return " and ".join(part for part in (", ".join(colours[:-1]), *colours[-1:]) if part)
