"""The sky world: its laws, its words, and measures that are held to it."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from longtake.config import ConfigError, parse, to_dict
from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld, sky_measures
from longtake.data.synthetic.sky_picture import land
from longtake.noise import generator

SMALL = ClipPlan(frames=4, height=24, width=32)


@pytest.fixture(params=[False, True], ids=["still sun", "passing time"])
def world(request: pytest.FixtureRequest) -> SkyWorld:
    return SkyWorld(plan=SMALL, videos=48, passing_time=request.param)


@pytest.fixture
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_frame_is_the_same_from_wherever_its_clip_starts(world: SkyWorld) -> None:
    whole = world.video(8, 100, 12).frames
    np.testing.assert_array_equal(whole[5:8], world.video(8, 105, 3).frames)
    np.testing.assert_array_equal(whole[11:], world.video(8, 111, 1).frames)


def test_a_stride_takes_frames_of_the_same_video(world: SkyWorld) -> None:
    strided = SkyWorld(**{**dict(world), "plan": SMALL.model_copy(update={"stride": 3})})
    np.testing.assert_array_equal(world.video(5, 10, 7).frames[::3], strided.video(5, 10, 3).frames)
    assert strided.fps == world.fps / 3


def test_a_clip_depends_on_its_index_and_generator_alone(world: SkyWorld) -> None:
    first, again = (world.clip(7, generator(3, "clip")) for _ in range(2))
    other = world.clip(7, generator(4, "clip"))
    np.testing.assert_array_equal(first.frames, again.frames)
    assert (first.start_frame, first.caption) == (again.start_frame, again.caption)
    assert first.start_frame != other.start_frame


@pytest.mark.usefixtures("_two_threads")
def test_bytes_do_not_depend_on_the_number_of_threads() -> None:
    world = SkyWorld(plan=ClipPlan(height=64, width=64))
    two = world.video(2, 30, 8).frames
    torch.set_num_threads(1)
    np.testing.assert_array_equal(two, world.video(2, 30, 8).frames)


def test_splits_and_seeds_share_no_video() -> None:
    worlds = [
        SkyWorld(plan=SMALL, split=split, seed=seed)
        for split in ("train", "test")
        for seed in (0, 1)
    ]
    seeds = [w.video_seed(i) for w in worlds for i in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert len({w.video(0, 0, 1).frames.tobytes() for w in worlds}) == len(worlds)


def test_every_class_is_equally_frequent() -> None:
    world = SkyWorld(plan=SMALL, videos=48)
    labels = [world.label(i) for i in range(48)]
    assert sorted(labels) == sorted([*range(24)] * 2)
    for index in range(24):
        name = world.classes[world.label(index)]
        assert all(kind in name for kind in world.attributes(index).values())


def test_the_ridge_is_constant_while_the_sun_moves() -> None:
    world = SkyWorld(plan=SMALL, passing_time=True, day_frames=40)
    times = {world.attributes(0, frame)["time of day"] for frame in range(40)}
    assert times == {"night", "dusk", "low sun", "day"}
    first, later = world.video(0, 0, 1).frames, world.video(0, 20, 1).frames
    assert np.abs(first.astype(int) - later).mean() > 20


def test_a_larger_picture_shows_the_same_scene() -> None:
    small, large = (
        SkyWorld(plan=ClipPlan(height=size, width=size)).video(3, 9, 1).frames[0].astype(float)
        for size in (32, 128)
    )
    shrunk = large.reshape(32, 4, 32, 4, 3).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 6


def test_clips_are_cut_as_planned_and_described() -> None:
    clip = SkyWorld(plan=SMALL, videos=3, split="test").clip(1, generator(0))
    assert clip.frames.shape == (4, 24, 32, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.path == "sky/test/1"
    assert clip.fps == 8
    assert clip.label is not None


def test_a_fixed_start_is_the_first_frame() -> None:
    plan = SMALL.model_copy(update={"start": "fixed"})
    assert SkyWorld(plan=plan).clip(1, generator(5)).start_frame == 0


def test_each_wording_names_all_attributes() -> None:
    world = SkyWorld(plan=SMALL, videos=24)
    captions = {world.caption(18, wording=w) for w in range(20)}
    assert len(captions) == 5
    assert "scattered clouds drifting to the left at dusk over a ridge of hills" in {
        world.caption(i, wording=0) for i in range(24)
    }
    for index in range(24):
        time, cover, wind = world.attributes(index).values()
        for caption in (world.caption(index, wording=w) for w in range(5)):
            assert all(word in caption for word in (time, cover, wind))


def test_plain_data_and_back_is_the_same_world() -> None:
    world = SkyWorld(plan=SMALL, split="test", passing_time=True)
    assert parse(SkyWorld, to_dict(world)) == world
    assert world.identity() != SkyWorld(plan=SMALL).identity()


def test_a_mirrored_plan_is_refused() -> None:
    with pytest.raises(ConfigError, match="flip=True contradicts"):
        parse(SkyWorld, {"plan": {"flip": True}})


def test_a_video_beyond_the_last_is_refused() -> None:
    with pytest.raises(IndexError, match="video 3 must be from 0 to 2"):
        SkyWorld(plan=SMALL, videos=3).video(3, 0, 1)


@pytest.mark.parametrize("size", [32, 64])
def test_measures_read_the_truth_of_every_class(size: int) -> None:
    world = SkyWorld(plan=ClipPlan(height=size, width=size), videos=24, split="test")
    for index in range(24):
        video = world.video(index, 50, 12).frames
        light = sky_measures.light(video[::6])
        speed = sky_measures.wind(video)
        read = {
            "time of day": light.time_of_day,
            "cover": light.cover,
            "wind": "right" if speed > 0 else "left",
        }
        assert read == world.attributes(index)
        assert speed == pytest.approx(world.speed(index), rel=0.5)


def test_wind_is_the_same_from_frame_to_frame_and_over_many() -> None:
    world = SkyWorld(plan=ClipPlan(height=64, width=64), videos=24, split="test")
    for index in (3, 8, 14, 21):
        speed = sky_measures.wind(world.video(index, 50, 32).frames, lags=(8, 12, 16))
        assert speed == pytest.approx(world.speed(index), rel=0.2)


def test_the_ridge_is_found_to_a_fraction_of_a_pixel() -> None:
    world = SkyWorld(plan=ClipPlan(height=64, width=64), videos=24, split="test")
    for index in (1, 6, 14, 20):
        found = sky_measures.ridge(world.video(index, 9, 2).frames)
        true = land(world.video_seed(index), 64, 64).ridge
        assert (found - true).abs().mean() < 0.3


def test_a_ridge_that_moves_is_noticed() -> None:
    video = SkyWorld(plan=ClipPlan(height=64, width=64)).video(20, 0, 3).frames
    video = np.stack([np.roll(frame, 2 * t, 0) for t, frame in enumerate(video)])
    line = sky_measures.ridge(video)
    drift = (line - line[0]).abs().mean(1)
    torch.testing.assert_close(drift, torch.tensor([0.0, 2.0, 4.0]), atol=0.4, rtol=0)


def test_colours_that_the_world_lacks_are_strange() -> None:
    video = SkyWorld(plan=ClipPlan(height=64, width=64)).video(20, 0, 1).frames
    swapped = np.ascontiguousarray(video[..., ::-1])
    usual, strange = (sky_measures.light(v).strangeness.item() for v in (video, swapped))
    assert usual < 6
    assert strange > 3 * usual
