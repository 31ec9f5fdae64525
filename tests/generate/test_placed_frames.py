"""Frames given at places of a clip come out as they are, for models that were trained for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from longtake.config import to_dict
from longtake.diffusion.signals import ContextCase
from longtake.diffusion.signals.context_cases import AnyFrames, Ends, First, Last, Nothing
from longtake.generate import VideoStream
from longtake.given import PlacedVideo, ending_with
from longtake.model import ModelIndex, VideoModel
from longtake.rollout import Autoregressive, Hierarchical, Request, Role, Rollout

FACTOR, LATENTS = 2, 4  # of the tiny model: frames of a latent frame, latent frames of a clip


def noise(frames: int, seed: int = 0, size: tuple[int, int] = (16, 16)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), np.uint8)


def trained(
    model: VideoModel, *cases: ContextCase, rollout: Rollout | None = None, role: str = "first"
) -> VideoModel:
    """The model, as one whose network of a role was trained with ``cases``."""
    sampling = model.index.sampling.model_copy(update={"rollout": rollout or Autoregressive()})
    index = model.index.model_copy(update={"sampling": sampling, "context_cases": {role: cases}})
    return replace(model, index=index)


def made(video: VideoStream, request: Request, frames: int) -> np.ndarray:
    return np.concatenate([part.frames for part in video(request, frames)], 1)


@pytest.mark.parametrize(
    "given",
    [{0: 1}, {7: 1}, {2: 1, 5: 1}, {2: 2}, {0: 4, 7: 1}, {0: 2, 2: 1, 5: 1}],
    ids=repr,
)
def test_given_frames_stand_in_their_places_and_the_others_are_new(
    tiny_model: VideoModel, given: dict[int, int]
):
    model = trained(tiny_model, AnyFrames())
    frames = {place: noise(count, place) for place, count in given.items()}
    video = PlacedVideo(video=model.long_video(), frames=frames)
    one, other = made(video, model.request([3, 4]), FACTOR * LATENTS)
    own = np.zeros(len(one), bool)
    for place, pixels in frames.items():
        own[place : place + len(pixels)] = True
        for clip in (one, other):
            assert np.array_equal(clip[place : place + len(pixels)], pixels)
    assert all(not np.array_equal(one[i], other[i]) for i in np.flatnonzero(~own))


def test_new_frames_depend_on_the_given_ones(tiny_model: VideoModel):
    model = trained(tiny_model, AnyFrames())
    videos = [
        PlacedVideo(video=model.long_video(), frames={4: noise(1, seed)}) for seed in range(2)
    ]
    one, two = (made(video, model.request([3]), 8)[0] for video in videos)
    assert all(not np.array_equal(one[i], two[i]) for i in range(8))


def test_a_video_that_leads_up_to_an_image_ends_with_it_at_any_length(tiny_model: VideoModel):
    model, image = trained(tiny_model, Last()), noise(1)
    request, most = model.request([3, 4]), FACTOR * (LATENTS - 1) + 1
    video = ending_with(model.long_video(), image)
    assert video.length == most
    whole = made(video, request, most)
    assert all(np.array_equal(own[-1:], image) for own in whole)
    assert not np.array_equal(whole[0, 0], whole[1, 0])
    for frames in range(2, most):
        shorter = ending_with(model.long_video(), image, frames)
        assert np.array_equal(made(shorter, request, frames), whole[:, -frames:])
    for frames, fault in ((1, "frames=1 must be at least 2"), (8, f"at most {most}: given frames")):
        with pytest.raises(ValueError, match=fault):
            ending_with(model.long_video(), image, frames)


def test_a_placed_video_is_the_same_in_a_batch_and_ends_where_it_was_stopped(
    tiny_model: VideoModel,
):
    model = trained(tiny_model, AnyFrames())
    video = PlacedVideo(video=model.long_video(), frames={4: noise(1)})
    (part,) = video(model.request([3, 4], "calm"), 8)
    alone = made(video, model.request([4], "calm"), 8)
    assert np.abs(part.frames[1].astype(int) - alone[0]).max() <= 1
    assert list(video(model.request([3, 4], "calm"), 8, part.state)) == []
    assert (video.grain, video.steps(8)) == (8, 1)


def test_only_a_model_that_was_trained_with_these_frames_given_makes_such_a_video(
    tiny_model: VideoModel,
):
    image = {0: noise(1)}
    PlacedVideo(video=trained(tiny_model, Nothing(), First()).long_video(), frames=image)
    for cases in ((), (Nothing(), Last(), Ends(), First(counts=(2,)))):
        model = trained(tiny_model, *cases)
        with pytest.raises(ValueError, match=r"trained with only frames 0 to 1 of a clip of 8"):
            PlacedVideo(video=model.long_video(), frames=image)
    model = trained(tiny_model, First(), Ends())
    with pytest.raises(ValueError, match=r"frames 6 to 7 of a clip of 8 given; .*kind: last"):
        ending_with(model.long_video(), noise(1))


def test_a_model_that_samples_keyframes_first_uses_the_network_of_neighbouring_frames(
    tiny_model: VideoModel,
):
    model = trained(tiny_model, AnyFrames(), rollout=Hierarchical())
    with pytest.raises(ValueError, match="trained with only frames 4 to 5 of a clip of 6 given"):
        PlacedVideo(video=model.long_video(), frames={4: noise(1)})
    model = trained(tiny_model, AnyFrames(), rollout=Hierarchical(), role="interpolator")
    video = PlacedVideo(video=model.long_video(), frames={4: noise(1)})
    assert video.role == "interpolator"
    clip = made(video, model.request([3]), 6)
    assert np.array_equal(clip[0, 4:5], noise(1))


def test_planes_have_no_single_frames_to_be_given(tiny_triplane_model: VideoModel):
    for make in (
        lambda video: ending_with(video, noise(1)),
        lambda video: PlacedVideo(video=video, frames={0: noise(1)}),
    ):
        with pytest.raises(ValueError, match="networks read no single frames of the clip"):
            make(tiny_triplane_model.long_video())


@pytest.mark.parametrize(
    ("places", "fault"),
    [
        ({}, "expected some frames by their place"),
        ({8: 1}, "have the places 8 to 8, expected 0 to 7, those of one clip"),
        ({6: 3}, "have the places 6 to 8, expected 0 to 7"),
        ({-1: 1}, "have the places -1 to -1, expected 0 to 7"),
        (
            {1: 2},
            "places 1 to 2, which do not fill whole latent frames .* a multiple of 2, with a",
        ),
        ({2: 3}, "places 2 to 4, which do not fill whole latent frames"),
        ({2: 1, 3: 1}, "the places 2 to 3 are one latent frame .* give one image or a whole video"),
        ({2: 4, 4: 2}, "the places 4 to 5 are one latent frame"),
        ({0: 8}, "given frames fill the whole clip"),
    ],
)
def test_frames_that_do_not_fit_a_clip_are_refused(
    tiny_model: VideoModel, places: dict[int, int], fault: str
):
    video = trained(tiny_model, AnyFrames()).long_video()
    with pytest.raises(ValueError, match=fault):
        PlacedVideo(video=video, frames={k: noise(count) for k, count in places.items()})


def test_a_video_without_its_given_frames_or_of_another_size_is_refused(tiny_model: VideoModel):
    model = trained(tiny_model, AnyFrames())
    video, frames = model.long_video(), {4: noise(2)}
    for first, last in ((5, None), (0, 4), (0, 8), (-1, 7)):
        with pytest.raises(ValueError, match=f"first={first}, last=.* the video must contain them"):
            PlacedVideo(video=video, frames=frames, first=first, last=last)
    with pytest.raises(ValueError, match="are 8x16 pixels, expected 16x16"):
        PlacedVideo(video=video, frames={4: noise(2, size=(8, 16))})
    placed = PlacedVideo(video=video, frames=frames, first=2)
    for count, fault in ((3, "frames=3 must be at least 4"), (7, "frames=7 must be at most 6")):
        with pytest.raises(ValueError, match=fault):
            next(placed(model.request([0]), count))


def cases_of(model: VideoModel) -> Mapping[Role, Sequence[ContextCase]]:
    return model.index.context_cases


def test_merged_models_keep_what_each_network_was_trained_with(tiny_model: VideoModel):
    one = trained(tiny_model, Last())
    one = replace(one, denoisers={"first": tiny_model.denoisers["first"]})
    two = trained(tiny_model, Ends(), rollout=Hierarchical(), role="interpolator")
    two = replace(two, denoisers={"interpolator": tiny_model.denoisers["interpolator"]})
    assert cases_of(one.merge(two)) == {"first": (Last(),), "interpolator": (Ends(),)}
    silent = replace(one, index=two.index.model_copy(update={"context_cases": {}}))
    assert cases_of(silent.merge(trained(tiny_model, Last()))) == {}


def test_an_index_that_states_no_cases_is_written_as_before(tiny_model: VideoModel):
    assert "context_cases" not in to_dict(tiny_model.index)
    stated = trained(tiny_model, Last(counts=(1, 2)), AnyFrames()).index
    assert ModelIndex.model_validate(to_dict(stated)) == stated
