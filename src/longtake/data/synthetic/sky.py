"""The default synthetic world: time-lapse clouds over hills, as in SkyTimelapse, with captions."""

import itertools
import math
from typing import Annotated, Literal

import torch
from annotated_types import Ge

from longtake.data.clips import Clip
from longtake.data.synthetic.base import SyntheticSource
from longtake.data.synthetic.sky_colours import DUSK, LOW_SUN, NIGHT
from longtake.data.synthetic.sky_field import Clouds
from longtake.data.synthetic.sky_picture import Sky, paint
from longtake.noise import generator

TIMES_OF_DAY = ("night", "dusk", "low sun", "day")
COVERS = ("clear", "scattered", "overcast")
WINDS = ("left", "right")
FRAMES_PER_SECOND = 8.0

_SUN = {"night": NIGHT, "dusk": DUSK, "low sun": LOW_SUN, "day": 0.5}
_SUN_SPREAD = {"night": 0.0, "dusk": 0.015, "low sun": 0.03, "day": 0.12}
_THRESHOLD = {"clear": 1.9, "scattered": 0.1, "overcast": -1.6}
_GLOOM = {"clear": 0.0, "scattered": 0.15, "overcast": 1.0}
_BOIL = 0.0016

_LIGHT = {
    "night": ("at night", "night"),
    "dusk": ("at dusk", "dusk"),
    "low sun": ("under a low sun", "low sun"),
    "day": ("by day", "day"),
}
_SKY = {
    "clear": ("a clear sky with few wisps of cloud", "clear sky"),
    "scattered": ("scattered clouds", "scattered clouds"),
    "overcast": ("an overcast sky", "overcast sky"),
}
_TEMPLATES = (
    "{cover} drifting to the {wind} {light} over a ridge of hills",
    "time lapse, {short_cover} {light}, wind towards the {wind}",
    "{short_light}, {short_cover}, clouds moving {wind}",
    "a time lapse of {cover} {light}, moving to the {wind} above hills and trees",
    "hills and trees {light} under {cover}, drifting {wind}",
)


class SkyWorld(SyntheticSource):
    """Clouds that drift and boil over hills and trees, in 24 classes, without repetition.

    Attributes:
        passing_time: the sun rises and sets; the class of a clip is that of its first frame.
        day_frames: frames of a day, with ``passing_time``.
    """

    kind: Literal["sky"] = "sky"
    passing_time: bool = False
    day_frames: Annotated[int, Ge(2)] = 480

    @property
    def revision(self) -> int:
        return 2

    @property
    def fps(self) -> float:
        return FRAMES_PER_SECOND / self.plan.stride

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(
            f"{time}, {cover}, wind to the {wind}"
            for time, cover, wind in itertools.product(TIMES_OF_DAY, COVERS, WINDS)
        )

    def attributes(self, index: int, frame: int = 0) -> dict[str, str]:
        time, cover, wind = self._kinds(index)
        if self.passing_time:
            time = time_of_day(self._sun(index, frame))
        return {"time of day": time, "cover": cover, "wind": wind}

    def label(self, index: int, frame: int = 0) -> int:
        """Index into ``classes`` of a frame of a video."""
        kinds = self.attributes(index, frame)
        time = TIMES_OF_DAY.index(kinds["time of day"])
        cover, wind = COVERS.index(kinds["cover"]), WINDS.index(kinds["wind"])
        return (time * len(COVERS) + cover) * len(WINDS) + wind

    def caption(self, index: int, start_frame: int = 0, wording: int = 0) -> str:
        kinds = self.attributes(index, start_frame)
        light, short_light = _LIGHT[kinds["time of day"]]
        cover, short_cover = _SKY[kinds["cover"]]
        return _TEMPLATES[wording % len(_TEMPLATES)].format(
            light=light,
            short_light=short_light,
            cover=cover,
            short_cover=short_cover,
            wind=kinds["wind"],
        )

    def speed(self, index: int) -> float:
        """Speed of the top row of clouds, in picture heights per frame; rightwards is positive."""
        random = generator(self.video_seed(index), "wind")
        size = 0.0045 + 0.005 * torch.rand((), generator=random).item()
        return size if self._kinds(index)[2] == "right" else -size

    def video(self, index: int, start_frame: int, frames: int, wording: int = 0) -> Clip:
        times = start_frame + self.plan.stride * torch.arange(frames)
        moments = times if self.passing_time else times[:1]
        sun = torch.tensor([self._sun(index, int(frame)) for frame in moments])
        return Clip(
            frames=paint(self._sky(index), times.double(), sun, self.plan.height, self.plan.width),
            path=self.address(index),
            start_frame=start_frame,
            fps=self.fps,
            label=self.label(index, start_frame),
            caption=self.caption(index, start_frame, wording),
        )

    def _kinds(self, index: int) -> tuple[str, str, str]:
        """Time of day, cover and wind; consecutive videos cycle through the classes."""
        rest, wind = divmod(self.number(index) % 24, len(WINDS))
        time, cover = divmod(rest, len(COVERS))
        return TIMES_OF_DAY[time], COVERS[cover], WINDS[wind]

    def _sun(self, index: int, frame: int) -> float:
        time, _, _ = self._kinds(index)
        random = generator(self.video_seed(index), "sun")
        aside = 2 * torch.rand((), generator=random).item() - 1
        if not self.passing_time:
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
    """The class whose elevation of the sun is nearest."""
    return min(_SUN, key=lambda time: abs(_SUN[time] - sun))
