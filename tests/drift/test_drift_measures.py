"""Laws of the measures under the verdicts."""

from dataclasses import fields

import numpy as np
import pytest
from drift.sky_film import clean, described

from longtake.drift import borders_every, freezes, jumps, loops, trend


def test_numbers_do_not_depend_on_how_frames_arrive():
    whole, parts = described(clean(4)), described(clean(4), chunk=7)
    assert np.array_equal(whole.step, parts.step)
    assert np.array_equal(whole.thumbnails, parts.thumbnails)
    assert np.array_equal(whole.cells, parts.cells)
    assert np.array_equal(whole.colour, parts.colour)


def test_a_frame_is_kept_as_less_than_two_kilobytes():
    numbers = described(clean(4))
    kept = sum(getattr(numbers, field.name).nbytes for field in fields(numbers))
    assert kept / len(numbers) < 1800


def test_cells_hold_what_they_show():
    frame = np.zeros((2, 24, 24, 3), np.uint8)
    frame[1, :2, 1] = 255  # half of the first cell of 12 x 12
    contrast, gradient, step = np.split(described(frame).cells.astype(float), 3, axis=1)
    assert contrast[:, 0] == pytest.approx([0, 0.5], abs=1e-3)
    assert step[:, 0] == pytest.approx([0, 0.5**0.5], abs=1e-3)
    assert np.all(contrast[:, 1:] == 0)
    assert gradient[1, 0] > gradient[1, 1] == 0


def test_a_line_is_found_exactly():
    frames = np.arange(100, 300)
    line = trend(0.5 + 0.01 * frames, frames)
    assert line.slope == pytest.approx(1.0)
    assert line.change == pytest.approx(0.01 * 199)
    assert line.middle == pytest.approx(0.5 + 0.01 * 199.5)


@pytest.mark.parametrize(("memory", "most"), [(0.0, 0.08), (0.5, 0.08), (0.9, 0.12)])
def test_the_interval_of_a_slope_holds_for_noise_with_memory(memory, most):
    random, frames = np.random.default_rng(0), np.arange(256)
    missed = 0
    for _ in range(400):
        noise = random.standard_normal(356)
        for i in range(1, len(noise)):
            noise[i] += memory * noise[i - 1]
        line = trend(noise[100:], frames)
        missed += not line.low <= 0 <= line.high
    assert 0.02 < missed / 400 < most


def test_a_constant_has_no_trend():
    line = trend(np.full(64, 0.3), np.arange(64))
    assert (line.slope, line.strength) == (0, 0)


def test_too_few_values_have_no_trend():
    with pytest.raises(ValueError, match="at least 16 values, got 9"):
        trend(np.zeros(9), np.arange(9))


def test_steady_motion_makes_no_jump():
    steady = np.linspace(0, 1, 50)[:, None] * np.ones(8)
    assert jumps(steady).max() < 1e-6
    steady[30:] += 0.1
    assert jumps(steady).argmax() == 30


def test_long_video_is_measured_in_blocks_without_a_joint():
    random = np.random.default_rng(0).random((9000, 4))
    assert np.array_equal(jumps(random)[4000:5000], jumps(random[3998:5002])[2:1002])


def test_a_video_that_never_moves_is_one_freeze():
    (run,) = freezes(np.zeros(64))
    assert (run.start, run.frames) == (1, 63)


def test_slow_motion_is_not_a_loop():
    slow = np.cumsum(np.random.default_rng(0).standard_normal((300, 40)) * 0.001, 0)
    assert loops(slow, np.zeros(300, bool)) == ()


def test_each_of_two_repeats_is_found():
    random = np.random.default_rng(0)
    walk = np.cumsum(random.standard_normal((400, 40)) * 0.01, 0)
    walk[150:180] = walk[50:80]
    walk[300:330] = walk[220:250]
    found = loops(walk, np.zeros(400, bool))
    assert [(loop.start, loop.frames, loop.period) for loop in found] == [
        (150, 30, 100),
        (300, 30, 80),
    ]


def test_borders_begin_after_the_first_chunk():
    assert borders_every(16, 50) == (16, 32, 48)
    assert borders_every(12, 50, first=16) == (16, 28, 40)
