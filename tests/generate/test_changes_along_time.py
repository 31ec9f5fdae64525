"""Frames at which changes along time take effect: as a stream says, or the change is refused."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from longtake.cli.conditions import check_effects, delays
from longtake.denoisers import VolumeUNet
from longtake.diffusion import DDIM, Diffusion
from longtake.diffusion.signals import label_signal, text_signal
from longtake.generate import LongVideo, VideoStream
from longtake.given import FilledVideo, LoopedVideo, StartedVideo
from longtake.model import Sampling, VideoModel
from longtake.registry import AnyRollout
from longtake.rollout import (
    Autoregressive,
    DiffusionForcing,
    Fifo,
    Hierarchical,
    NextClip,
    OneClip,
    Steering,
)

ROLLOUTS: list[AnyRollout] = [
    OneClip(),
    Autoregressive(),
    Autoregressive(overlap_latent_frames=2),
    Hierarchical(),
    Hierarchical(clips_per_step=2),
    Hierarchical(keyframes=Autoregressive(overlap_latent_frames=2)),
    DiffusionForcing(),
    DiffusionForcing(delay=0, overlap_latent_frames=2),
    Fifo(),
]
GIVEN = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def per_frame(tiny_model: VideoModel) -> VideoModel:
    """The tiny model with networks that read a time per frame."""
    networks = {}
    for role, network in tiny_model.denoisers.items():
        assert isinstance(network, VolumeUNet)
        again = network.config.model_copy(update={"frame_times": True})
        networks[role] = again.build().eval()
    diffusion = Diffusion(prediction="v", time_per_frame=True)
    index = tiny_model.index.model_copy(update={"diffusion": diffusion})
    return replace(tiny_model, index=index, denoisers=networks)


def sampled(model: VideoModel, rollout: AnyRollout) -> LongVideo:
    return model.long_video(Sampling(sampler=DDIM(steps=1), rollout=rollout))


@pytest.fixture
def streams(
    per_frame: VideoModel, tiny_triplane_model: VideoModel, tiny_overlapping_model: VideoModel
) -> Mapping[str, VideoStream]:
    """Every kind of stream, made by every rollout that it can have."""
    long = {repr(rollout): sampled(per_frame, rollout) for rollout in ROLLOUTS}
    long |= {"next clip": tiny_triplane_model.long_video()}
    long |= {"next clip, overlap": tiny_overlapping_model.long_video()}
    started = {
        f"started {name}": StartedVideo(video=video, frames=GIVEN)
        for name, video in long.items()
        if isinstance(video.rollout, Autoregressive | NextClip | DiffusionForcing)
    }
    video = long[repr(Hierarchical())]
    start = started[f"started {Autoregressive()!r}"]
    return {
        **long,
        **started,
        "looped": LoopedVideo(video=video, opening=video),
        "looped start": LoopedVideo(video=video, opening=start),
        "filled": FilledVideo(video=video, frames=GIVEN[:4]),
    }


def test_a_video_takes_as_many_steps_as_its_stream_says(
    streams: Mapping[str, VideoStream], per_frame: VideoModel
):
    request = per_frame.request([3])
    for name, stream in streams.items():
        closing = stream.closing if isinstance(stream, LoopedVideo) else 0
        single = isinstance(stream, LongVideo) and stream.most_frames is not None
        border = stream.frame_of(1 if single else 2) + closing
        for frames in range(border, border + (1 if single else 2)):
            asked, made = list[int](), 0
            for part in stream(request, frames, None, Steering(change=asked.append)):
                made += part.pixels.shape[2]
            assert made >= frames, (name, frames)
            assert len(asked) == stream.steps(frames), (name, frames)
            assert len(asked) == (1 if single else 2 + frames - border), (name, frames)


def test_a_step_begins_at_the_frame_that_its_stream_says(streams: Mapping[str, VideoStream]):
    for name, stream in streams.items():
        starts = [stream.frame_of(step) for step in range(4)]
        assert [stream.step_of(frame) for frame in starts] == [0, 1, 2, 3], name
        assert [stream.step_of(frame + 1) for frame in starts] == [1, 2, 3, 4], name
        assert starts[0] == stream.sampled_from


def test_a_change_without_effect_is_refused_and_a_late_one_is_reported(per_frame: VideoModel):
    video = sampled(per_frame, Autoregressive())  # clips begin at frames 0, 8, 14, 20
    one, two, text = label_signal([1]), label_signal([2]), text_signal(torch.zeros(1, 3, 4))
    check_effects(video, 20, {8: one, 14: two})
    check_effects(video, 20, {9: one, 14: text})
    with pytest.raises(
        ValueError, match=r"frame 15 on has no effect, as the last clip of 20 frames"
    ):
        check_effects(video, 20, {15: one})
    with pytest.raises(ValueError, match=r"begins at frame 14; name frame 14 or an earlier one"):
        check_effects(video, 20, {15: one})
    with pytest.raises(ValueError, match=r"begins at frame 0; leave it out, or ask for more"):
        check_effects(video, 8, {5: one})
    with pytest.raises(ValueError, match=r"frame 9 on has no effect, as that from frame 12 on"):
        check_effects(video, 20, {9: one, 12: two})
    assert delays(video, {8: one}) == []
    assert delays(video, {9: one}) == [
        "the label or prompt from frame 9 on takes effect at frame 14, where the next clip begins"
    ]
