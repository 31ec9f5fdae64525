"""A loop leads back to its first frame through filled gaps, whatever made the frames before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.denoisers import VolumeUNet
from longtake.given import FilledVideo, LoopedVideo, StartedVideo
from longtake.given.filled import fill_gap
from longtake.model import VideoModel
from longtake.noise import derive
from longtake.rollout import Change, Steering
from longtake.text import Prompt

LENGTH, LONGER, CLOSING = 20, 48, 8


@pytest.fixture(params=["sampled", "started"])
def looped(request: pytest.FixtureRequest, tiny_model: VideoModel) -> LoopedVideo:
    video = tiny_model.long_video()
    given = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    opening = StartedVideo(video=video, frames=given) if request.param == "started" else video
    return LoopedVideo(video=video, opening=opening)


def test_the_frames_before_the_gap_are_those_of_the_opening(
    looped: LoopedVideo, tiny_model: VideoModel
):
    assert looped.closing == CLOSING
    request, rest = tiny_model.request([3, 4]), LENGTH - CLOSING
    made = torch.cat([part.pixels for part in looped(request, LENGTH)], 2)
    plain = torch.cat([part.pixels for part in looped.opening(request, rest, None, None)], 2)
    assert made.shape[2] == LENGTH
    assert torch.equal(made[:, :, :rest], plain[:, :, :rest])


def test_the_gap_is_filled_between_the_last_frame_and_the_first_and_between_what_that_made(
    looped: LoopedVideo, tiny_model: VideoModel
):
    request = tiny_model.request([3, 4])
    made = torch.cat([part.pixels for part in looped(request, LENGTH)], 2)
    last, first = made[:, :, LENGTH - CLOSING - 1 :][:, :, :1], made[:, :, :1]
    seeds = [derive(seed, "loop", 0, 0) for seed in request.seeds]
    coarse = fill_gap(looped.video, request, seeds, last, first)
    assert torch.equal(made[:, :, -CLOSING:][:, :, 2::3], coarse)
    seeds = [derive(seed, "loop", 1, 2) for seed in request.seeds]
    fine = fill_gap(looped.video, request, seeds, coarse[:, :, -1:], first)
    assert torch.equal(made[:, :, -2:], fine)


@pytest.fixture
def reader(tiny_model: VideoModel, tiny_text_folder: Path) -> VideoModel:
    """A model that follows prompts, whose interpolation network reads neither text nor labels."""
    text = VideoModel.from_pretrained(tiny_text_folder)
    network = tiny_model.denoisers["interpolator"]
    assert isinstance(network, VolumeUNet)
    between = network.config.model_copy(update={"num_classes": None}).build().eval()
    return replace(text, denoisers={**text.denoisers, "interpolator": between})


def test_a_gap_is_filled_by_a_network_that_reads_less_than_the_others(reader: VideoModel):
    request = reader.request([3], "calm", Prompt("calm sea"))
    looped = LoopedVideo(video=reader.long_video(), opening=reader.long_video())
    assert sum(part.pixels.shape[2] for part in looped(request, LENGTH)) == LENGTH
    filled = FilledVideo(video=reader.long_video(), frames=np.zeros((2, 16, 16, 3), np.uint8))
    assert sum(part.pixels.shape[2] for part in filled(request, filled.length)) == filled.length
    unknown = replace(request, signals={**request.signals, "wind": request.signals["label"]})
    with pytest.raises(ValueError, match="does not read the signal 'wind'"):
        list(filled(unknown, filled.length))


def test_a_prompt_that_nothing_reads_is_refused(reader: VideoModel):
    request = reader.request([3], "calm", Prompt("calm sea"))
    reader.denoisers["first"].needs = frozenset()
    filled = FilledVideo(video=reader.long_video(), frames=np.zeros((2, 16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="reads no text; give no prompt"):
        next(filled(request, filled.length))


def test_a_stopped_loop_continues_from_any_part(looped: LoopedVideo, tiny_model: VideoModel):
    request = tiny_model.request([3], "calm")
    steering = Steering(change={1: Change(tiny_model.label_signals([3], "wind, left"))}.get)
    parts = list(looped(request, LONGER, steering=steering))
    assert len(parts) > 2
    for number in (0, len(parts) - 2, len(parts) - 1):
        rest = looped(request, LONGER, parts[number].state, steering)
        for part, expected in zip(rest, parts[number + 1 :], strict=True):
            assert torch.equal(part.pixels, expected.pixels)
    plain = list(looped(request, LONGER))
    assert not torch.equal(parts[-1].pixels, plain[-1].pixels)


def test_what_cannot_be_closed_is_refused(looped: LoopedVideo, tiny_triplane_model: VideoModel):
    with pytest.raises(ValueError, match="frames=9 must be at least 10: 8 frames lead from"):
        looped.check_length(9)
    planes = tiny_triplane_model.long_video()
    with pytest.raises(ValueError, match="so no end can be led back to the beginning"):
        LoopedVideo(video=planes, opening=planes)
