"""A run ends when it should, although the machine becomes faster or slower."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.pipeline.calibration import Speed, clips_to_encode, rescheduled
from longtake.pipeline.pace import Pace
from longtake.training.config import OptimizerConfig, Schedule, TrainingConfig
from longtake.training.trainer import TrainingProgress


def settings(steps: int, cooldown: int) -> TrainingConfig:
    optimizer = OptimizerConfig(lr=1.0)
    return TrainingConfig(steps=steps, batch=16, cooldown_steps=cooldown, optimizer=optimizer)


@given(
    st.integers(2, 5000).flatmap(
        lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n - 1))
    ),
    st.floats(-10, 1e5),
    st.floats(0.01, 10),
)
def test_the_learning_rate_does_not_jump_and_ends_low(
    run: tuple[int, int, int], seconds: float, pace: float
):
    steps, cooldown, step = run
    before = settings(steps, cooldown)
    after = before.model_copy(update=rescheduled(before, step, seconds, pace)._asdict())
    assert after.steps >= step + 1
    if after.steps > step + 1:
        assert (after.steps - step) * pace <= max(seconds, pace)
    assert after.learning_rate(step) == pytest.approx(before.learning_rate(step), rel=0.5)
    if after.steps - step > 20:
        assert after.learning_rate(step) == pytest.approx(before.learning_rate(step), rel=0.05)
    rates = [after.learning_rate(n) for n in range(step, after.steps, 1 + after.steps // 50)]
    assert rates == sorted(rates, reverse=True)


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0.01, 10))
def test_more_time_never_gives_fewer_steps(one: float, other: float, pace: float):
    less, more = sorted((one, other))
    run = settings(100, 40)
    assert rescheduled(run, 50, less, pace).steps <= rescheduled(run, 50, more, pace).steps


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("at", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("planned", [0.5, 1.0, 2.0])
def test_a_run_ends_in_time_on_a_machine_whose_speed_changes(
    factor: float, at: float, planned: float
):
    """The steps were planned for a wrong pace, and at some point the pace changes."""
    now, step, ends = 0.0, 0, 1000.0
    begun, ended = settings(int(ends / planned), int(0.4 * ends / planned)), list[Schedule]()
    pace = Pace(begun, ends, lambda: now, ended.append)
    run = begun
    while step < run.steps:
        now += factor if now > at * ends else 1.0
        step += 1
        if step % 5 == 0 and (end := pace(TrainingProgress(step, run.steps, 1.0, {}))):
            run = run.model_copy(update=end._asdict())
    assert now == pytest.approx(ends, rel=0.05)
    assert run.learning_rate(step - 1) < 0.1


def test_small_differences_change_nothing():
    now = 0.0
    run = settings(1000, 400)
    pace = Pace(run, 1000.0, lambda: now, lambda end: pytest.fail(f"changed to {end}"))
    for step in range(1, 1000):
        now += 1.004
        assert pace(TrainingProgress(step, 1000, 1.0, {})) is None


def test_a_finished_run_is_not_made_longer():
    now = 0.0
    pace = Pace(settings(10, 0), 1000.0, lambda: now, lambda end: None)
    assert pace(TrainingProgress(1, 10, 1.0, {})) is None
    now = 200.0
    assert pace(TrainingProgress(10, 10, 1.0, {})) is None


@given(st.integers(1, 5000), st.floats(1, 1e5), st.floats(1, 1e5), st.floats(0.001, 2))
def test_more_time_encodes_no_fewer_clips(clips: int, one: float, other: float, encode: float):
    speed = Speed(start=1.0, step=1.0, cpu_step=1.0, preview=1.0, encode=encode)
    less, more = sorted((one, other))
    counts = [clips_to_encode(clips, speed, s)[0].get("cache.clips", clips) for s in (less, more)]
    assert counts[0] <= counts[1] <= clips
    settings, seconds = clips_to_encode(clips, speed, more)
    assert seconds <= max(more / 4, 64 * encode)
    assert seconds == pytest.approx(encode * settings.get("cache.clips", clips))
