"""Given joints: clean video is seldom said to have seams, raw or coded; joints are found."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from drift import faults

from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld
from longtake.drift import Describer, Descriptors, measure
from longtake.drift.seams import borders_every, seam_score, surprise
from longtake.video import VideoWriter, stream_video

FRAMES, SIZE, FILMS = 128, 64, 6
SEED = 4001  # no threshold was chosen on it
JUMPS = {"even": 0.05, "coded": 0.25, "wild": 0.6}
"""Standard deviation of the logarithm of jumps."""


@cache
def film(number: int) -> np.ndarray:
    plan = ClipPlan(frames=FRAMES, height=SIZE, width=SIZE)
    world = SkyWorld(plan=plan, split="test", seed=SEED, videos=29 * FILMS)
    return world.video(29 * number, 0, FRAMES).frames


def coded(frames: np.ndarray, folder: Path) -> Descriptors:
    """Of the frames after H.264."""
    path, describer = folder / "film.mp4", Describer()
    with VideoWriter(path, 8.0, overwrite=True) as writer:
        writer.write(frames)
    for part in stream_video(path, 64):
        describer.add(part)
    return describer.done()


@pytest.mark.parametrize("spread", JUMPS.values(), ids=JUMPS)
@pytest.mark.parametrize("chunk", [5, 16, 40])
def test_jumps_in_random_order_are_seldom_seams(spread, chunk):
    def accused(draws: int) -> Iterator[bool]:
        random = np.random.default_rng(7)
        for _ in range(draws):
            rise = surprise(np.exp(spread * random.standard_normal(FRAMES)))
            seams = seam_score(rise, borders_every(chunk, FRAMES))
            assert seams is not None
            yield seams.jumps

    assert sum(accused(200)) <= 4


@pytest.mark.parametrize("number", range(FILMS))
def test_a_codec_makes_no_seams_and_hides_none_of_a_level(number, tmp_path):
    clean = coded(film(number), tmp_path)
    seams = [measure(clean, chunk).seams for chunk in (5, 10, 12, 16, 20, 32)]
    assert not any(found.jumps for found in seams if found)
    joined = measure(coded(faults.flicker(film(number), 16, 1.0), tmp_path), 16).seams
    assert joined is not None
    assert joined.jumps


def test_a_border_in_every_second_frame_is_compared_with_the_others():
    sizes = np.where(np.arange(FRAMES) % 2 == 0, 2.0, 1.0)
    rise = np.concatenate([[0, 0], np.log(sizes[2:-1]), [0]])
    seams = seam_score(rise, borders_every(2, FRAMES))
    assert seams is not None
    assert seams.by_chance == pytest.approx(1)
    assert seams.ratio == pytest.approx(2)
    assert seams.jumps
