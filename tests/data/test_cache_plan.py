"""Which clips a plan takes from footage: all of it by default, a stated number where asked."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from longtake.config import parse
from longtake.data.cache_plan import CachePlan, PlannedClips
from longtake.data.clips import Clip, ClipPlan, ClipSource, cut
from longtake.data.source import Frames
from longtake.data.synthetic import SkyWorld
from longtake.noise import generator
from longtake.video import VideoError, VideoInfo

SKY = SkyWorld(videos=5, plan=ClipPlan(frames=8, height=8, width=8))


class Footage(ClipSource):
    """Videos of some lengths whose pixels are the frames' numbers; some frames are broken."""

    kind = "footage"

    def __init__(self, lengths: list[int], frames: int = 80, stride: int = 1) -> None:
        self._lengths, self.broken = lengths, set[tuple[int, int]]()
        self.plan = ClipPlan(frames=frames, stride=stride, height=1, width=1)

    @property
    def name(self) -> str:
        return "footage"

    def __len__(self) -> int:
        return len(self._lengths)

    def info(self, index: int) -> VideoInfo:
        return VideoInfo(
            path=Path(f"{index}.mp4"),
            frames=self._lengths[index],
            fps=Fraction(25),
            height=1,
            width=1,
            seconds=self._lengths[index] / 25,
            variable_rate=False,
        )

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        numbers = range(start_frame, start_frame + count * stride, stride)
        if self.broken & {(index, number) for number in numbers}:
            raise VideoError(f"{index}.mp4: frame {start_frame} is broken")
        return np.array(numbers, np.uint16).astype(np.uint8).repeat(3).reshape(-1, 1, 1, 3)

    def identity(self) -> object:
        return self._lengths

    def clip(self, index: int, generator: torch.Generator, start_frame: int | None = None) -> Clip:
        return cut(self, index, self.plan, "centre", generator, start_frame)


def starts(source: ClipSource, **plan: int) -> list[tuple[int, ...]]:
    clips = PlannedClips(source, CachePlan(**plan))
    return [tuple(map(int, position)) for position in clips.positions]


def test_one_long_file_gives_many_clips_that_hold_each_of_its_frames():
    found = starts(Footage([2000]))
    assert len(found) == 75
    assert found[:2] == [(0, 0), (0, 26)]
    shown = {frame for _, start in found for frame in range(start, start + 80)}
    assert shown == set(range(2000))


@pytest.mark.parametrize("fps", [24, 25, 30])
def test_two_hours_in_one_file_give_5000_clips_of_what_is_not_held_out(fps: int):
    assert len(set(starts(Footage([2 * 3600 * fps * 9 // 10])))) >= 5000


@pytest.mark.parametrize(
    ("lengths", "every", "expected"),
    [
        ([10], 5, [(0, 0), (0, 2)]),
        ([8], 5, [(0, 0)]),
        ([18, 9, 8], 5, [(0, 0), (0, 5), (0, 10), (1, 0), (1, 1), (2, 0)]),
        ([12], 1, [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]),
    ],
)
def test_clips_every_n_frames_include_the_last(lengths, every, expected):
    assert starts(Footage(lengths, frames=8), every=every) == expected


def test_a_stride_widens_the_default_distance():
    assert starts(Footage([29], frames=8, stride=2)) == [(0, 0), (0, 5), (0, 10), (0, 14)]


def test_a_number_of_clips_is_spread_by_the_length_of_the_videos():
    source = Footage([107, 8, 307], frames=8)
    found = starts(source, clips=40)
    assert len(set(found)) == 40
    assert [sum(video == v for v, _ in found) for video in range(3)] == [10, 0, 30]
    assert starts(source, clips=401) == [
        *((0, n) for n in range(100)), (1, 0), *((2, n) for n in range(300)),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"cache\.clips=402 must be at most 401, .* of footage"):
        starts(source, clips=402)


def test_clips_are_cut_where_the_plan_says():
    clips = PlannedClips(Footage([30], frames=8), CachePlan(every=5))
    for item in range(len(clips)):
        first = int(clips.positions[item][1])
        assert clips[item].start_frame == first
        assert clips[item].frames[:, 0, 0, 0].tolist() == list(range(first, first + 8))


def test_a_world_gives_one_clip_of_each_video_as_before_there_was_a_choice():
    default, one = (PlannedClips(SKY, CachePlan(**plan)) for plan in ({}, {"copies": 1}))
    assert len(default) == len(one) == 5
    for item in range(5):
        before = SKY.clip(item, generator(0, "cache", 0, item))
        assert np.array_equal(default[item].frames, before.frames)
        assert np.array_equal(one[item].frames, before.frames)


def test_copies_have_random_starts_of_their_own():
    clips = PlannedClips(Footage([500, 400], frames=8), CachePlan(copies=3))
    found = [clips[item].start_frame for item in range(len(clips))]
    assert len(set(found)) == len(found) == 6


def test_a_plan_has_one_choice_of_clips():
    with pytest.raises(ValidationError, match="every and copies are both given"):
        CachePlan(every=3, copies=2)


def test_a_stored_default_of_an_earlier_version_is_the_default():
    assert parse(CachePlan, {"copies": 1, "batch": 8, "seed": 0}, upgrade=True) == CachePlan()
    assert parse(CachePlan, {"copies": 4}, upgrade=True) == CachePlan(copies=4)
    assert parse(CachePlan, {"copies": 1}) == CachePlan(copies=1)


def test_a_damaged_clip_is_replaced_by_another_and_always_by_the_same(caplog):
    source = Footage([500], frames=8)
    source.broken = {(0, 20)}
    one, two = (PlannedClips(source, CachePlan(every=4)) for _ in range(2))
    found = [one[item].start_frame for item in range(len(one))]
    assert [two[item].start_frame for item in range(len(two))] == found
    expected = [int(start) for _, start in one.positions]
    differing = [a for a, b in zip(expected, found, strict=True) if a != b]
    assert differing == [16, 20]
    assert {one[item].video for item in range(len(one))} == {0}
    assert caplog.messages[0] == (
        "0.mp4: frame 16 is broken; another clip takes its place (damaged clips so far: 1)"
    )


def test_the_video_of_each_clip_is_known_where_another_took_its_place():
    source = Footage([100, 100], frames=8)
    source.broken = {(0, frame) for frame in range(100)}
    clips = PlannedClips(source, CachePlan(every=20))
    found = [clips[item] for item in range(len(clips))]
    assert [clip.path for clip in found] == [f"{clip.video}.mp4" for clip in found]
    assert {clip.path for clip in found} == {"1.mp4"}


def test_footage_that_is_all_damaged_is_refused():
    source = Footage([100, 100], frames=8)
    source.broken = {(video, frame) for video in range(2) for frame in range(100)}
    with pytest.raises(VideoError, match=r"8 clips in a row cannot be read, the last: .* broken"):
        PlannedClips(source, CachePlan(every=4))[3]
