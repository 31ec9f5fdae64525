"""Progress of long commands: the speed, and the lines that a log file gets."""

from collections.abc import Iterator

import pytest

from longtake.cli import progress
from longtake.cli.progress import Speed, stages


def clock(*seconds: float) -> Iterator[float]:
    return iter(seconds)


def speeds(*reports: tuple[float, int]) -> list[float | None]:
    times = clock(*(time for time, _ in reports))
    speed = Speed(lambda: next(times))
    return [speed(done) for _, done in reports]


def test_speed_is_units_over_time() -> None:
    assert speeds((10.0, 4), (12.0, 8), (14.0, 16)) == [None, 2.0, 3.0]


def test_what_was_done_before_is_not_a_speed() -> None:
    found = speeds((0.0, 128), (0.001, 256), (0.002, 1152), (50.002, 1252), (100.0, 1352))
    assert found[:3] == [None] * 3
    assert found[3] == pytest.approx(2.0, rel=1e-3)
    assert found[4] == pytest.approx(2.0, rel=1e-3)


def test_many_reports_in_an_instant_give_the_speed_of_a_longer_time() -> None:
    found = speeds(*((0.01 * i, i) for i in range(1000)))
    assert found[0] is None
    assert found[-1] == pytest.approx(100.0, rel=0.02)


def test_speed_is_that_of_the_last_minute() -> None:
    slow = [(10.0 * i, i) for i in range(30)]
    fast = [(290.0 + 10.0 * i, 29 + 100 * i) for i in range(1, 12)]
    assert speeds(*slow, *fast)[-1] == pytest.approx(10.0, rel=0.01)


def test_lines_of_a_log_have_a_rate_only_when_it_is_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    with stages(unit=" clips") as report:
        report("encode", 16, 32)
        report("train", 3, 30, 12.0, "loss 0.5", " samples")
        report("encode", 32, 32)
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "encode: 16 of 32"
    assert second == "train: 3 of 30, 12 samples/s loss 0.5"
