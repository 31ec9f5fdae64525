"""The synthetic data set ``sky``: captioned time-lapse clouds over hills, as in SkyTimelapse."""

import math
from collections.abc import Mapping
from itertools import product
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from pydantic import Field

from longtake.data.source import Frames
from longtake.data.synthetic.base import SyntheticSource, template
from longtake.data.synthetic.sky_field import Clouds
from longtake.data.synthetic.sky_picture import DUSK, LOW_SUN, NIGHT, Sky, paint
from longtake.noise import generator

_SUN = {"night": NIGHT, "dusk": DUSK, "low sun": LOW_SUN, "day": 0.5}
_SUN_SPREAD = {"night": 0.0, "dusk": 0.015, "low sun": 0.03, "day": 0.12}
_THRESHOLD = {"clear": 1.9, "scattered": 0.1, "overcast": -1.6}
_GLOOM = {"clear": 0.0, "scattered": 0.15, "overcast": 1.0}
_BOIL = 0.0016
LABELS = {"time": tuple(_SUN), "cover": tuple(_THRESHOLD), "wind": ("left", "right")}
KINDS = tuple(product(*LABELS.values()))
CLASSES = tuple(f"{time}, {cover}, wind to the {wind}" for time, cover, wind in KINDS)

_LIGHT = {"night": "at night", "dusk": "at dusk", "low sun": "under a low sun", "day": "by day"}
_SKY = {
    "clear": ("a clear sky with few wisps of cloud", "clear sky"),
    "scattered": ("scattered clouds", "scattered clouds"),
    "overcast": ("an overcast sky", "overcast sky"),
}
_TEMPLATES = (
    "{sky[0]} drifting to the {wind} {light} over a ridge of hills",
    "time lapse, {sky[1]} {light}, wind towards the {wind}",
    "{time}, {sky[1]}, clouds moving {wind}",
    "a time lapse of {sky[0]} {light}, moving to the {wind} above hills and trees",
    "hills and trees {light} under {sky[0]}, drifting {wind}",
)
_SHORT = (
    "{sky[1]} {light}",
    "{sky[0]} drifting to the {wind} over a ridge of hills",
    "{time}, clouds moving {wind}",
    "time lapse, {sky[1]}",
    "hills and trees {light}",
    "clouds moving to the {wind}",
)


class SkyWorld(SyntheticSource):
    """Synthetic data set: endless videos of clouds above hills and trees, in 24 classes.

    ``SyntheticSource`` describes the other fields.

    Attributes:
        passing_time: whether the sun rises and sets during a video, so that a clip has the class of
            its first frame; otherwise the time of day is constant.
        day_frames: number of frames of a day; used with ``passing_time`` alone.
        short_captions: whether six of sixteen captions leave out one or two of the three
            attributes; otherwise every caption states all.
    """

    revision: ClassVar[int] = 2
    rate: ClassVar[float] = 8.0
    kind: Literal["sky"] = "sky"
    passing_time: bool = False
    day_frames: Annotated[int, Ge(2)] = 480
    short_captions: bool = Field(default=False, exclude_if=lambda short: not short)

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    @property
    def label_parts(self) -> Mapping[str, tuple[str, ...]]:
        return LABELS

    def attributes(self, index: int, frame: int = 0) -> dict[str, str]:
        time, cover, wind = self._kinds(index)
        if self.passing_time:
            time = time_of_day(self._sun(index, frame))
        return {"time of day": time, "cover": cover, "wind": wind}

    def label(self, index: int, frame: int = 0) -> int:
        time, cover, wind = self.attributes(index, frame).values()
        return KINDS.index((time, cover, wind))

    def sentence(self, truth: dict[str, str], wording: int) -> str:
        chosen = template(wording, _TEMPLATES, _SHORT if self.short_captions else ())
        time, cover, wind = truth.values()
        return chosen.format(time=time, light=_LIGHT[time], sky=_SKY[cover], wind=wind)

    def speed(self, index: int) -> float:
        """Speed of the clouds in the top row of video ``index``, in frame heights per frame.

        Positive is to the right.
        """
        random = generator(self.video_seed(index), "wind")
        size = 0.0045 + 0.005 * torch.rand((), generator=random).item()
        return size if self._kinds(index)[2] == "right" else -size

    def render(
        self, index: int, start_frame: int, count: int, stride: int
    ) -> tuple[Frames, dict[str, str]]:
        times = start_frame + stride * torch.arange(count)
        moments = times if self.passing_time else times[:1]
        sun = torch.tensor([self._sun(index, int(frame)) for frame in moments])
        shown = paint(self._sky(index), times.double(), sun, self.plan.height, self.plan.width)
        return shown, self.attributes(index, start_frame)

    def _kinds(self, index: int) -> tuple[str, str, str]:
        """Time of day, cover and wind of a video; consecutive videos cycle through the classes."""
        return KINDS[self.class_of(index)]

    def _sun(self, index: int, frame: int) -> float:
        random = generator(self.video_seed(index), "sun")
        aside = 2 * torch.rand((), generator=random).item() - 1
        if not self.passing_time:
            time = self._kinds(index)[0]
            return _SUN[time] + _SUN_SPREAD[time] * aside
        day = (frame / self.day_frames + aside) % 1
        return 0.10 + 0.50 * math.sin(2 * math.pi * day)

    def _sky(self, index: int) -> Sky:
        seed = self.video_seed(index)
        _, cover, _ = self._kinds(index)
        random = generator(seed, "sky")
        aside, slant, moon, up, more, towards = torch.rand(6, generator=random).tolist()
        wind = self.speed(index)
        return Sky(
            clouds=Clouds.draw(seed, (wind, 0.2 * wind * (2 * towards - 1)), _BOIL),
            threshold=_THRESHOLD[cover] + 0.12 * (2 * more - 1),
            gloom=_GLOOM[cover],
            disc=(0.5 * (2 * aside - 1), 0.3 * (2 * slant - 1)),
            moon=(0.35 * (2 * moon - 1), 0.45 + 0.25 * up),
            seed=seed,
        )


def time_of_day(sun: float) -> str:
    """Name of the time of day (``night``, ``dusk``, ``low sun``, ``day``) at a sun's elevation.

    ``sun`` is the elevation in frame heights above the horizon.
    """
    return min(_SUN, key=lambda time: abs(_SUN[time] - sun))
