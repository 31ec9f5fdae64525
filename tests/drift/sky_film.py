"""Clean film of ``sky``, and one with each fault."""

from functools import cache

import numpy as np
from drift import faults

from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld
from longtake.drift import Describer, Descriptors

FRAMES, SIZE = 192, 48
TIMES_OF_DAY = {"low sun": 1, "day": 4, "night": 10, "dusk": 16}
"""Videos of the test split, of each time of day."""


@cache
def clean(index: int) -> np.ndarray:
    plan = ClipPlan(frames=FRAMES, height=SIZE, width=SIZE)
    return SkyWorld(plan=plan, split="test", videos=48).video(index, 0, FRAMES).frames


def described(frames: np.ndarray, chunk: int = FRAMES) -> Descriptors:
    describer = Describer()
    for start in range(0, len(frames), chunk):
        describer.add(frames[start : start + chunk])
    return describer.done()


@cache
def faulty(index: int) -> dict[str, np.ndarray]:
    """By kind of fault."""
    video = clean(index)
    change = 0.15 if video[..., 0].mean() < 128 else -0.15
    return {
        "freeze": faults.freeze(video, 90, 30),
        "loop": faults.loop(video, 96, 24),
        "seams": faults.flicker(video, 12),
        "colour": faults.drift(video, change),
        "contrast": faults.fade(video, 0.4),
        "cut": faults.cut(video, clean(index + 2), 100),
    }
