"""Real videos are not accused more often than stated, and faults beyond them are still found."""

import numpy as np
import pytest
from drift import faults
from drift.sky_film import clean

from longtake.drift import DriftPlan, Finding, Reference, real_findings, reference, write_report
from longtake.video import VideoWriter

KINDS = ("colour", "cut", "motion", "pulse")
PLAN = DriftPlan(feature_windows=0)


def finding(kind, strength):
    return Finding(kind=kind, frame=0, frames=0, severity=1, strength=strength, sentence=kind)


def drawn(rng) -> list[Finding]:
    """Findings of a video; their strength has heavy tails, and kinds come together."""
    scale = rng.pareto(2)
    return [finding(k, 1 + scale * rng.exponential()) for k in KINDS if rng.random() < 0.4]


@pytest.mark.parametrize("videos", [4, 19])
def test_a_real_video_is_accused_at_most_as_often_as_stated(videos):
    rng = np.random.default_rng(0)
    trials, chance = 3000, 1 / (videos + 1)
    accused = 0
    for _ in range(trials):
        reference = Reference.of(64, [drawn(rng) for _ in range(videos)])
        assert reference.chance == chance
        accused += bool(reference.beyond(drawn(rng)))
    assert accused / trials < chance + 4 * (chance * (1 - chance) / trials) ** 0.5


def test_a_real_video_of_the_reference_is_never_beyond_it():
    rng = np.random.default_rng(1)
    videos = [drawn(rng) for _ in range(20)]
    reference = Reference.of(64, videos)
    assert not any(reference.beyond(found) for found in videos)


def test_the_order_of_real_videos_does_not_matter():
    rng = np.random.default_rng(2)
    videos = [drawn(rng) for _ in range(6)]
    assert Reference.of(64, videos) == Reference.of(64, videos[::-1])


def test_without_findings_in_real_videos_every_finding_is_beyond():
    reference = Reference.of(64, [[], []])
    found = [finding("colour", 1.1), finding("cut", 1.2)]
    assert reference.margin == 1
    assert reference.beyond(found) == tuple(found)


def test_a_finding_must_surpass_real_ones_by_as_much_as_they_surpass_each_other():
    videos = [[finding("colour", 2)], [finding("colour", 4)]]
    reference = Reference.of(64, videos)
    assert reference.margin == pytest.approx(2)
    found = finding("colour", 7.9), finding("colour", 8.1)
    assert reference.beyond(found) == found[1:]


def film(path, frames):
    path.parent.mkdir(exist_ok=True)
    with VideoWriter(path, 8.0) as writer:
        writer.write(frames)
    return path


def test_what_real_videos_do_is_not_a_fault_and_what_they_do_not_is(tmp_path):
    for number in range(3):
        red = faults.drift(clean(4 + number)[:96], 0.1 + 0.02 * number)
        film(tmp_path / "real" / f"{number}.mkv", red)
    red = film(tmp_path / "red.mkv", faults.drift(clean(10)[:96], 0.1))
    lines = write_report(red, tmp_path / "1", PLAN, real=tmp_path / "real").lines()
    assert lines[0].startswith("stays what it is: no finding beyond those of 3 real videos")
    assert lines[1].startswith("as in real videos: colour drifts")
    frozen = film(tmp_path / "frozen.mkv", faults.freeze(clean(10)[:96], 40, 12))
    lines = write_report(frozen, tmp_path / "2", PLAN, real=tmp_path / "real").lines()
    assert lines[0] == "freezes at frame 40 for 12 frames"
    assert lines[1].startswith("findings are beyond those of 3 real videos (a real video has one")


def test_long_real_videos_are_cut_into_stretches_and_short_ones_left_out(tmp_path, monkeypatch):
    long = film(tmp_path / "long.mkv", clean(4)[:100])
    short = film(tmp_path / "short.mkv", clean(4)[:40])
    whole = real_findings([long, short], 48)
    assert whole is not None
    assert (whole.videos, whole.frames) == (2, 48)
    assert real_findings([short], 48) is None
    monkeypatch.setattr(reference, "FILES", 1)
    files = real_findings([long], 48)
    assert files is not None
    assert files.videos == 1  # two stretches of one file
    video = film(tmp_path / "a.mkv", clean(10)[:64])
    lines = write_report(video, tmp_path / "out", PLAN, real=short).lines()
    assert lines[:2] == [
        "stays what it is: no freeze, loop, seam, cut or drift found",
        "findings are not compared with real videos: none has 64 frames",
    ]
