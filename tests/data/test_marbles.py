import numpy as np
import pytest
import torch

from longtake.config import ConfigError, parse, to_dict
from longtake.data.clips import ClipPlan
from longtake.data.synthetic.marbles import NUMBERS, SPEEDS, TEMPLATES, TINTS, MarblesWorld
from longtake.data.synthetic.marbles_measures import describe, permanence, sightings
from longtake.data.synthetic.marbles_physics import Floor, Trajectory, throw
from longtake.data.synthetic.marbles_picture import COLOURS

FLOOR = Floor(width=1.0, radius=0.125)


def world(size: int = 16, **settings: object) -> MarblesWorld:
    plan = ClipPlan(frames=16, height=size, width=size)
    return parse(MarblesWorld, {"plan": to_dict(plan), **settings})


def check_caption(sentence: str, seen: dict[str, str]) -> dict[str, bool]:
    """Each word of a caption about marbles, and whether it is true of measured attributes."""

    def split(text: str) -> list[str]:
        return "".join(c if c.isalpha() else " " for c in text.lower()).split()

    shown = {*split(" ".join(seen.values())), TINTS.get(seen["ground"], "")}
    known = {*NUMBERS, *SPEEDS, *TINTS, *TINTS.values(), *COLOURS}
    return {word: word in shown for word in split(sentence) if word in known}


def rolled(number: int, seed: int = 0, speed: float = 0.034, floor: Floor = FLOOR) -> Trajectory:
    return Trajectory(throw(number, speed, floor, torch.Generator().manual_seed(seed)), floor)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_energy_is_kept_over_ten_thousand_frames(number: int) -> None:
    energy = np.square(rolled(number).states(0, 10_000)[..., 2:]).sum((1, 2))
    np.testing.assert_allclose(energy, number * 0.034**2, rtol=1e-9)


def test_marbles_neither_leave_the_floor_nor_overlap() -> None:
    floor = Floor(width=1.6, radius=0.125)
    places = rolled(3, floor=floor).positions(0, 10_000)
    assert (places > 0.125 - 1e-9).all()
    assert (places < np.array([1.6, 1.0]) - 0.125 + 1e-9).all()
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(places[:, i] - places[:, j], axis=-1).min() > 0.25 - 1e-9


def test_marbles_move_on_without_end_and_without_jumps() -> None:
    places = rolled(3).positions(9_000, 1_000)
    steps = np.linalg.norm(np.diff(places, axis=0), axis=-1)
    assert steps.max() < 0.034 * 3**0.5 + 1e-9
    assert np.ptp(places, axis=0).min() > 0.5


def test_a_frame_is_the_same_in_any_order_of_questions() -> None:
    forwards, anyhow = rolled(3), rolled(3)
    whole = forwards.positions(0, 700)
    for start, frames in ((650, 50), (63, 2), (0, 1), (128, 300)):
        np.testing.assert_array_equal(
            anyhow.positions(start, frames), whole[start : start + frames]
        )


def test_marbles_that_meet_head_on_exchange_their_speeds() -> None:
    from longtake.data.synthetic.marbles_physics import Disc

    discs = (Disc(0.2, 0.5, 0.02, 0.0), Disc(0.7, 0.5, 0.0, 0.0))
    after = Trajectory(discs, FLOOR).states(13, 1)[0, :, 2:]
    np.testing.assert_allclose(after, [[0.0, 0.0], [0.02, 0.0]], atol=1e-12)


def test_a_frame_before_the_first_is_refused() -> None:
    with pytest.raises(ValueError, match="start_frame=-1 must be 0 or more"):
        rolled(1).positions(-1, 2)


def test_a_clip_depends_on_its_video_and_generator_alone() -> None:
    first, again = world(), world()
    again.video(3, 400, 2)
    a = first.clip(7, torch.Generator().manual_seed(1))
    b = again.clip(7, torch.Generator().manual_seed(1))
    np.testing.assert_array_equal(a.frames, b.frames)
    assert (a.caption, a.start_frame, a.label) == (b.caption, b.start_frame, b.label)


def test_a_clip_is_cut_from_its_video_at_the_plans_stride() -> None:
    plan = ClipPlan(frames=5, stride=3, height=16, width=16)
    strided = MarblesWorld(plan=plan).video(4, 10, 5)
    np.testing.assert_array_equal(strided.frames, world().video(4, 10, 13).frames[::3])
    assert strided.fps == pytest.approx(world().fps / 3)


def test_splits_and_seeds_show_other_videos() -> None:
    shown = [
        world(split=split, seed=seed).video(0, 0, 1).frames
        for split in ("train", "test")
        for seed in (0, 1)
    ]
    for i, one in enumerate(shown):
        assert all((one != other).any() for other in shown[i + 1 :])


@pytest.mark.parametrize(("size", "videos"), [(16, 72), (32, 18)])
def test_what_is_measured_is_what_is_shown(size: int, videos: int) -> None:
    shown = world(size)
    wrong = [
        index
        for index in range(videos)
        if describe(shown.video(index, 5 * index, 16).frames) != shown.attributes(index)
    ]
    assert not wrong


def test_every_marble_is_seen_where_it_is() -> None:
    shown = world(64)
    for index in range(18):
        seen = sightings(shown.video(index, 100, 4).frames)
        places = shown.trajectory(index).positions(100, 4)
        colours = shown.attributes(index)["colours"].replace(" and ", ", ").split(", ")
        for row, true in zip(seen, places, strict=True):
            there = {one.colour: (one.x, one.y) for one in row}
            np.testing.assert_allclose([there[c] for c in colours], true, atol=0.01)


@pytest.mark.parametrize("size", [16, 32])
def test_marbles_of_the_world_persist(size: int) -> None:
    shown = world(size)
    assert sum(permanence(shown.video(i, 0, 64).frames).events for i in range(18)) == 0


def test_each_broken_law_is_counted_by_its_name() -> None:
    shown = world(32)
    red, other = (
        next(
            i
            for i in range(1000)
            if shown.attributes(i)["colours"] == colour and shown.attributes(i)["ground"] == "felt"
        )
        for colour in ("red", "blue")
    )
    frames = shown.video(red, 0, 12).frames
    empty, turned = np.full_like(frames[:4], 40), frames.copy()
    turned[6:] = turned[6:, ..., [2, 1, 0]]
    gone = permanence(np.concatenate([frames[:4], empty]))
    came = permanence(np.concatenate([empty, frames[:4]]))
    jumped = permanence(np.concatenate([frames[:1], frames[:1, ::-1, ::-1]]))
    assert (gone.vanished, gone.events) == (1, 1)
    assert (came.appeared, came.events) == (1, 1)
    assert (permanence(turned).recoloured, permanence(turned).events) == (1, 1)
    assert (jumped.teleported, jumped.events) == (1, 1)
    assert jumped.events_per_1000_frames == 1000
    assert sightings(shown.video(other, 0, 1).frames)[0][0].colour == "blue"


@pytest.mark.parametrize("wording", range(len(TEMPLATES)))
def test_every_word_of_a_caption_is_true_of_its_video_and_false_of_another(wording: int) -> None:
    shown = world()
    clips = [shown.video(index, 0, 16, wording) for index in range(18)]
    for clip in clips:
        assert clip.caption is not None
        assert all(check_caption(clip.caption, describe(clip.frames)).values())
    wood, felt = (shown.attributes(i) for i in (0, 17))
    checked = check_caption(str(clips[0].caption), felt)
    assert wood["ground"] == "wood"
    assert not checked["wood"]
    assert not checked["slowly"]


def test_labels_name_the_classes_they_stand_for() -> None:
    shown = world()
    assert len(set(shown.classes)) == 18
    for index in range(20):
        clip = shown.video(index, 0, 1)
        kinds = shown.attributes(index)
        assert clip.label is not None
        name = shown.classes[clip.label]
        assert all(kinds[key] in name for key in ("number", "ground", "speed"))


def test_too_narrow_a_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match="too narrow for marbles"):
        parse(MarblesWorld, {"plan": {"height": 64, "width": 16}})


def test_an_oblong_picture_shows_round_marbles_of_whole_size() -> None:
    shown = MarblesWorld(plan=ClipPlan(frames=4, height=48, width=32))
    for index in range(18):
        assert describe(shown.video(index, 0, 32).frames) == shown.attributes(index)
        assert all(0.7 < one.size < 1.3 for one in sightings(shown.video(index, 0, 1).frames)[0])
