"""The report: files that stand alone, sentences, and one sentence for what cannot be measured."""

import json
import re

import numpy as np
import pytest
from drift import faults
from drift.sky_film import clean, faulty

from longtake.data.clips import ClipPlan
from longtake.data.synthetic import MarblesWorld
from longtake.drift import DriftPlan, write_report
from longtake.drift.picture import draw
from longtake.drift.video_drift import measure_video
from longtake.video import VideoError, VideoWriter

NO_FEATURES = DriftPlan(feature_windows=0)
NAMES = ("red", "green", "blue", "contrast", "sharpness", "motion")
SKY, MARBLES = (DriftPlan(world=world, feature_windows=0) for world in ("sky", "marbles"))


def film(path, frames, fps=8.0):
    with VideoWriter(path, fps) as writer:
        writer.write(frames)
    return path


def test_one_video_becomes_a_page_a_picture_and_numbers(tmp_path):
    video = film(tmp_path / "long.mkv", faulty(4)["freeze"])
    made = write_report(video, tmp_path / "out", NO_FEATURES)
    assert made.lines() == [
        "freezes at frame 90 for 30 frames",
        f"report: {tmp_path / 'out' / 'drift.html'}",
    ]
    page = made.page.read_text()
    assert "freezes at frame 90" in page
    assert "<svg" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert made.picture.read_bytes().startswith(b"\x89PNG")
    numbers = json.loads(made.numbers.read_text())
    assert numbers["videos"][0]["findings"][0]["kind"] == "freeze"
    assert len(numbers["videos"][0]["windows"]["red"]) == 12


def test_a_freeze_continues_through_a_key_frame(tmp_path):
    video = film(tmp_path / "long.mp4", faulty(4)["freeze"])
    (run,) = measure_video(video, DriftPlan()).measures.freezes
    assert run.start == pytest.approx(90, abs=1)
    assert run.start + run.frames == 120


@pytest.mark.parametrize("kind", ["loop", "seams", "cut"])
def test_every_kind_of_fault_is_drawn(tmp_path, kind):
    made = write_report(film(tmp_path / "a.mkv", faulty(4)[kind]), tmp_path / "out", NO_FEATURES)
    assert made.videos[0].findings[0].kind == kind
    assert made.picture.exists()


@pytest.mark.parametrize("kind", ["contrast", "freeze"])
def test_the_line_of_a_trend_lies_among_the_values_of_its_curve(tmp_path, kind):
    made = write_report(film(tmp_path / "a.mkv", faulty(4)[kind]), tmp_path / "out", NO_FEATURES)
    lines = [line for axes in draw(made).axes for line in axes.get_lines()]
    dashed = [line for line in lines if line.get_linestyle() == "--"]
    assert len(dashed) == 6  # red, green, blue, contrast, sharpness, motion
    for trend in dashed:
        (curve,) = (
            x for x in lines if x.get_label() in NAMES and x.get_color() == trend.get_color()
        )
        low, high = np.min(curve.get_ydata()), np.max(curve.get_ydata())
        assert low <= np.median(np.asarray(trend.get_ydata())) <= high


def test_a_jump_of_brightness_is_shown_by_the_frames_beside_it(tmp_path):
    frames = clean(4).copy()
    frames[100:] = np.clip(frames[100:].astype(int) + 6, 0, 255)
    made = write_report(film(tmp_path / "a.mkv", frames), tmp_path / "out", NO_FEATURES)
    assert made.videos[0].findings[0].kind == "jump"
    strips = [[text.get_text() for text in axes.texts] for axes in draw(made).axes]
    assert [*map(str, range(96, 104))] in strips


def test_a_folder_is_ranked(tmp_path):
    for name in ("freeze", "loop"):
        film(tmp_path / f"{name}.mp4", faulty(4)[name])
    film(tmp_path / "clean.mp4", clean(4))
    lines = write_report(tmp_path, tmp_path / "out", NO_FEATURES).lines()
    assert lines[0].startswith("1 of 3 videos have no finding")
    assert lines[1].startswith(("freeze.mp4: freezes", "loop.mp4: loops"))
    assert not any("clean.mp4" in line for line in lines)


def test_the_measures_of_the_sky_world_say_what_has_changed(tmp_path):
    video = film(tmp_path / "a.mkv", faults.cut(clean(4), clean(10), 96))
    lines = write_report(video, tmp_path / "out", SKY).lines()
    assert "sky: time of day changes from day to night" in lines
    steady = film(tmp_path / "b.mkv", clean(4))
    lines = write_report(steady, tmp_path / "out", SKY).lines()
    assert lines[0].startswith("stays what it is")


def test_marbles_that_vanish_are_counted(tmp_path):
    plan = ClipPlan(frames=96, height=64, width=64)
    world = MarblesWorld(plan=plan, videos=4)
    frames, other = (world.video(index, 0, 96).frames for index in (0, 1))
    steady = write_report(film(tmp_path / "a.mkv", frames), tmp_path / "1", MARBLES)
    broken = np.where((np.arange(96) // 16 % 2)[:, None, None, None] == 1, other, frames)
    swapped = write_report(film(tmp_path / "b.mkv", broken), tmp_path / "2", MARBLES)
    assert steady.videos[0].world is not None
    assert not any("persist" in line for line in steady.lines())
    assert any("marbles do not persist" in line for line in swapped.lines())


def test_without_weights_all_but_features_is_measured_and_a_note_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    lines = write_report(film(tmp_path / "a.mp4", clean(4)[:64]), tmp_path / "out").lines()
    assert lines[0].startswith("stays what it is")
    assert any(line.startswith("no features were computed: ") for line in lines)


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        (20, {}, "has 20 frames, drift needs at least 32, two windows of 16"),
        (64, {"window": 4}, "window=4 must be at least 9 frames"),
        (64, {"chunk": 1}, "chunk=1 must be at least 2 frames"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(tmp_path, frames, options, message):
    video = film(tmp_path / "short.mp4", clean(4)[:frames])
    with pytest.raises(ValueError, match=message):
        write_report(video, tmp_path / "out", DriftPlan(feature_windows=0, **options))
    assert not (tmp_path / "out").exists()


def test_a_report_is_replaced_only_if_asked(tmp_path):
    video = film(tmp_path / "long.mkv", clean(4)[:64])
    page = write_report(video, tmp_path / "out", NO_FEATURES, overwrite=False).page
    page.write_text("kept")
    with pytest.raises(ValueError, match=r"drift.html exists; .* or set overwrite=True"):
        write_report(video, tmp_path / "out", NO_FEATURES, overwrite=False)
    assert page.read_text() == "kept"
    write_report(video, tmp_path / "out", NO_FEATURES, overwrite=True)
    assert page.read_text() != "kept"


def test_a_path_without_video_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="no video"):
        write_report(tmp_path, tmp_path / "out")
    (tmp_path / "a.mp4").write_bytes(b"nonsense" * 100)
    with pytest.raises(VideoError, match="not a video, or its first bytes are broken"):
        write_report(tmp_path / "a.mp4", tmp_path / "out")
    with pytest.raises(VideoError, match="no such file"):
        write_report(tmp_path / "b.mp4", tmp_path / "out")


def test_real_videos_that_are_missing_are_noticed_before_anything_is_measured(tmp_path):
    film(tmp_path / "a.mkv", np.zeros((64, 16, 16, 3), np.uint8))

    def report(done: int, total: int) -> None:
        pytest.fail("a video was measured")

    with pytest.raises(VideoError, match="real: no such file or folder"):
        write_report(tmp_path / "a.mkv", tmp_path / "out", real=tmp_path / "real", report=report)
