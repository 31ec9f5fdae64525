"""Faults are found and called what they are; good video is left alone."""

import numpy as np
import pytest
from drift import faults
from drift.sky_film import FRAMES, TIMES_OF_DAY, clean, described, faulty

from longtake.data.clips import ClipPlan
from longtake.data.synthetic import MarblesWorld
from longtake.drift import judge, measure

KINDS = ("freeze", "loop", "seams", "colour", "contrast", "cut")


def kinds(frames: np.ndarray, chunk: int | None = None) -> list[str]:
    return [finding.kind for finding in judge(measure(described(frames), chunk))]


@pytest.mark.parametrize("index", [i + more for i in TIMES_OF_DAY.values() for more in (0, 1, 24)])
def test_clean_video_of_every_time_of_day_has_no_finding(index):
    assert kinds(clean(index)) == []


@pytest.mark.parametrize("time", TIMES_OF_DAY)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_ranks_first_as_what_it_is(kind, time):
    assert kinds(faulty(TIMES_OF_DAY[time])[kind])[0] == kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_video_with_a_fault_has_most_of_it(kind):
    videos = faulty(4) | {"clean": clean(4)}

    def severity(name: str) -> float:
        found = judge(measure(described(videos[name])))
        return max((f.severity for f in found if f.kind == kind), default=0.0)

    assert max(videos, key=severity) == kind


def test_a_freeze_is_found_to_the_frame():
    finding = judge(measure(described(faulty(4)["freeze"])))[0]
    assert finding.sentence == "freezes at frame 90 for 30 frames"


def test_a_loop_is_found_with_its_period():
    found = measure(described(faulty(4)["loop"]))
    (loop,) = found.loops
    assert loop.period == 24
    assert loop.start == pytest.approx(96, abs=1)
    assert loop.start + loop.frames == FRAMES


def test_joints_are_found_without_being_given():
    seams = measure(described(faulty(10)["seams"])).seams
    assert seams is not None
    assert seams.found
    assert (seams.period, seams.borders[0] % 12) == (12, 0)
    assert seams.low > 1.5


@pytest.mark.parametrize("chunk", [None, 16])
@pytest.mark.parametrize("index", [4, 10])
def test_joints_of_a_quarter_of_a_level_are_found_though_some_do_not_jump(index, chunk):
    found = measure(described(faults.flicker(clean(index)[:128], 16, 0.25)), chunk).seams
    assert found is not None
    assert found.period == 16
    assert found.jumps


def test_jumps_at_any_frames_are_not_joints():
    video, starts = clean(4).astype(np.float32), (20, 41, 57, 90, 122, 151)
    for start in starts:
        video[start:] += 2.0 if start % 2 else -2.0
    assert "seams" not in kinds(video.clip(0, 255).astype(np.uint8))


def test_given_joints_are_judged_though_nothing_is_wrong():
    found = measure(described(clean(4)), chunk=12)
    assert found.seams is not None
    assert found.seams.low < 1 < found.seams.high * 1.1
    assert judge(found) == ()


def test_a_drift_of_colour_is_measured_right():
    moved = faults.drift(clean(16), 0.1, channel=2)
    before, after = (measure(described(v)).trends["blue"] for v in (clean(16), moved))
    assert after.change - before.change == pytest.approx(0.1, abs=0.005)
    assert after.low < after.slope < after.high


def test_worse_faults_are_more_severe():
    def severity(levels: float) -> float:
        return judge(measure(described(faults.flicker(clean(4), 12, levels))))[0].severity

    assert severity(2.0) < severity(4.0) < severity(8.0)


def test_slowing_down_is_a_fall_of_motion_alone():
    assert kinds(faults.slow(clean(16), 0.15)) == ["motion"]


def test_blur_is_a_fall_of_sharpness():
    assert "sharpness" in kinds(faults.blur(clean(16), 10))


@pytest.mark.parametrize("period", range(2, 9))
@pytest.mark.parametrize("index", [4, 10])
def test_a_pulse_of_a_level_is_named_with_its_period(index, period):
    (finding,) = judge(measure(described(faults.pulse(clean(index), period, 1.0))))
    assert finding.kind == "pulse"
    assert f"pulses every {period} frames: brightness changes by " in finding.sentence


def test_blur_and_uneven_time_pulse_too():
    assert "pulse" in kinds(faults.blur_pulse(clean(4), 4))
    lvdm_sky = (0.80, 0.75, 0.77, 1.19)
    assert "pulse" in kinds(faults.uneven(clean(4), lvdm_sky))


def test_a_loop_of_few_frames_is_not_a_pulse():
    assert "pulse" not in kinds(faults.loop(clean(4), 96, 8))


def test_calm_borders_are_not_seams():
    assert "seams" not in kinds(faults.pulse(clean(4), 3, 4.0), chunk=4)


def test_marbles_that_collide_are_neither_seams_nor_cuts():
    plan = ClipPlan(frames=256, height=48, width=48)
    world = MarblesWorld(plan=plan, split="test", videos=12)
    assert [kinds(world.video(index, 0, 256).frames) for index in range(4)] == [[]] * 4


@pytest.mark.parametrize("index", TIMES_OF_DAY.values())
@pytest.mark.parametrize("levels", [20, 45])
def test_a_colour_that_drifts_early_and_stays_is_found(index, levels):
    video = clean(index)
    up = video[..., 0].mean() < 128
    found = judge(measure(described(faults.early_drift(video, levels if up else -levels))))
    assert any("levels from the first eighth to the last quarter" in f.sentence for f in found)


@pytest.mark.parametrize("index", TIMES_OF_DAY.values())
def test_half_of_a_visible_drift_is_found_where_all_parts_share_it(index):
    change = 7.5 / 255 if clean(index)[..., 0].mean() < 128 else -7.5 / 255
    assert "colour" in kinds(faults.drift(clean(index), change))


def test_lost_colourfulness_is_named():
    assert "colourfulness" in kinds(faults.pale(clean(4), 0.5))


def test_short_freezes_are_found_and_many_are_one_finding():
    assert kinds(faults.freeze(clean(4), 90, 2)) == ["freeze"]
    stuttering = clean(4)[np.arange(FRAMES) // 3]
    assert kinds(stuttering).count("freeze") == 1


@pytest.mark.parametrize("index", [4, 16])
def test_a_part_of_the_picture_that_freezes_is_named(index):
    found = judge(measure(described(faults.part_freeze(clean(index), 90, 24))))
    assert " % of the picture freezes at frame 90 for 24 frames" in found[0].sentence


@pytest.mark.parametrize("index", [1, 16])
def test_motion_that_falls_to_three_quarters_is_named(index):
    assert "motion" in kinds(faults.slow(clean(index), 0.75))


def test_joints_of_random_sign_are_named_whether_regular_or_not():
    found = judge(measure(described(faults.random_joints(clean(4), 16, 2.0))))
    assert {finding.kind for finding in found} & {"seams", "jump"}
    (step,) = judge(measure(described(faults.light_step(clean(4), 80, 2.0))))
    assert step.sentence == "brightness jumps at frame 80"


def test_four_frames_shown_again_are_named():
    assert "loop" in kinds(faults.again(clean(4), 90, 4))


def test_steps_of_cross_fades_are_named_with_the_chunk():
    (finding,) = judge(measure(described(faults.cross_fades(clean(4), 16, 8.0))))
    assert finding.kind in ("pulse", "seams")
    assert " every 16 frames" in finding.sentence


def test_a_cut_to_a_brighter_scene_is_a_cut_alone():
    assert kinds(faults.cut(clean(4), clean(10), 100)) == ["cut"]


@pytest.mark.parametrize("index", [4, 16])
def test_a_twentieth_of_another_video_is_seen_where_it_begins(index):
    mixed = faults.mixed(clean(index), clean(10)[:, :, ::-1], 100, 0.05)
    found = measure(described(mixed))
    assert (*found.cuts, *found.light_jumps) == (100,)


def test_who_crosses_a_part_of_the_picture_is_not_a_cut():
    video = clean(4).copy()
    video[90:, :, 20:36] = 255 - video[90:, :, 20:36]
    assert "cut" not in kinds(video)


def test_a_missing_frame_is_not_a_cut():
    assert "cut" not in kinds(np.delete(clean(4), 96, axis=0))
