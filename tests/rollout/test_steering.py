"""Videos that are given frames, changed, watched and cancelled while they are made."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor

from longtake.diffusion import ClassifierFree, ClipSampler
from longtake.diffusion.clip_sampler import Sampled
from longtake.diffusion.signals import Signal, Signals, context_frames, label_signal, text_signal
from longtake.generate import LongVideo, Part
from longtake.model import VideoModel
from longtake.rollout import (
    Autoregressive,
    Cancelled,
    Change,
    Hierarchical,
    NextClip,
    OneClip,
    Request,
    Rollout,
    State,
    Steering,
)

FRAMES = 40
ROLLOUTS = [OneClip(), Autoregressive(), Hierarchical(), Hierarchical(clips_per_step=2)]


@pytest.fixture(params=["tiny_model", "tiny_triplane_model", "tiny_overlapping_model"])
def video(request: pytest.FixtureRequest) -> LongVideo:
    model: VideoModel = request.getfixturevalue(request.param)
    return model.long_video()


def wanted(signals: Signals | None = None) -> Request:
    return Request(seeds=(5, 6), signals={**label_signal([0, 1]), **(signals or {})})


def pixels(parts: Sequence[Part]) -> Tensor:
    return torch.cat([torch.from_numpy(part.frames) for part in parts], 1)


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_frames_given_at_the_beginning_come_back(tiny_model: VideoModel, rollout: Rollout):
    samplers = tiny_model.long_video().samplers
    spec = samplers["first"].spec
    frame = torch.randn(2, spec.shape[0], *spec.shape[2:])
    given = wanted(context_frames(spec, {0: frame}))
    z = next(rollout(samplers, given)).z
    assert torch.equal(z[:, :, 0], frame)
    assert not torch.equal(z[:, :, 1], next(rollout(samplers, wanted())).z[:, :, 1])


def test_frames_given_at_the_beginning_are_not_given_again(tiny_model: VideoModel):
    samplers = tiny_model.long_video().samplers
    spec = samplers["first"].spec
    frame = torch.randn(2, spec.shape[0], *spec.shape[2:])
    given = wanted(context_frames(spec, {2: frame}))
    first, second = islice(Autoregressive()(samplers, given), 2)
    assert torch.equal(first.z[:, :, 2], frame)
    assert not torch.equal(second.z[:, :, 1], frame)


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_a_signal_that_no_network_reads_is_refused_before_anything_is_sampled(
    tiny_model: VideoModel, rollout: Rollout
):
    unused = tiny_model.long_video().samplers
    samplers: Any = {role: Refusing(**vars(sampler)) for role, sampler in unused.items()}
    text = text_signal(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match="'first' does not read the signal 'text'; it reads"):
        rollout(samplers, wanted(text))


class Refusing(ClipSampler):
    """Fails if it is asked for a clip."""

    def __call__(self, *arguments: Any) -> Sampled:
        raise AssertionError(arguments)


class Remembering(Refusing):
    """Counts the clips it has sampled in its memory, and adds the count to the latents."""

    @property
    def reads(self) -> frozenset[str]:
        return super().reads | {"count"}

    def __call__(self, *arguments: Any) -> Sampled:
        signals, seeds = arguments[:2]
        absent = Signal(value=torch.zeros(1), null=torch.zeros(1))
        count = signals.get("count", absent).value + 1
        return Sampled(torch.full((len(seeds), *self.spec.shape), count.item()), {"count": count})


@pytest.mark.parametrize("rollout", [NextClip(), Autoregressive(), Hierarchical()], ids=repr)
def test_what_a_sampler_remembers_reaches_the_next_clip(
    tiny_model: VideoModel, tiny_triplane_model: VideoModel, rollout: Rollout
):
    model = tiny_triplane_model if isinstance(rollout, NextClip) else tiny_model
    samplers: Any = {
        role: Remembering(**vars(s)) for role, s in model.long_video().samplers.items()
    }
    chunks = list(islice(rollout(samplers, wanted()), 3))
    assert [chunk.state.memory["count"].item() for chunk in chunks] == [1, 2, 3]
    resumed = list(islice(rollout(samplers, wanted(), chunks[0].state), 2))
    assert [chunk.state.memory["count"].item() for chunk in resumed] == [2, 3]


LOG = {1: Change(label_signal([2, 2])), 2: Change(guidance=ClassifierFree(scale=3.0))}


def test_a_change_takes_effect_at_the_grain_and_not_before(video: LongVideo):
    plain = pixels(list(video(wanted(), FRAMES)))
    changed = pixels(list(video(wanted(), FRAMES, steering=Steering(change=LOG.get))))
    first = (plain != changed).flatten(2).any(2).any(0).nonzero()[0].item()
    clip = video.samplers["first"].spec.clip[0]
    assert 0 < first <= clip + video.grain
    assert torch.equal(plain[:, :first], changed[:, :first])


def test_a_recorded_log_of_changes_repeats_the_video(video: LongVideo):
    parts = list(video(wanted(), FRAMES, steering=Steering(change=LOG.get)))
    log = {step: change for part in parts for step, change in part.changes.items()}
    assert log == LOG
    again = list(video(wanted(), FRAMES, steering=Steering(change=log.get)))
    assert torch.equal(pixels(again), pixels(parts))


def test_a_changed_video_continues_after_any_part_as_if_it_had_not_stopped(video: LongVideo):
    steering = Steering(change=LOG.get)
    parts = list(video(wanted(), FRAMES, steering=steering))
    for number in range(len(parts) - 1):
        rest = list(video(wanted(), FRAMES, parts[number].state, steering))
        assert torch.equal(pixels(rest), pixels(parts[number + 1 :]))


def test_a_change_is_asked_for_once_before_each_step(video: LongVideo):
    asked: list[int] = []
    list(video(wanted(), FRAMES, steering=Steering(change=asked.append)))
    assert asked == list(range(len(asked)))


def test_a_change_that_the_network_does_not_read_is_refused(video: LongVideo):
    bad = Steering(change={1: Change(text_signal(torch.zeros(2, 3, 4)))}.get)
    with pytest.raises(ValueError, match="does not read the signal 'text'"):
        list(video(wanted(), FRAMES, steering=bad))


@pytest.mark.parametrize("at", [0, 1, 5])
def test_a_cancelled_video_continues_after_its_last_part(video: LongVideo, at: int):
    evaluations: list[tuple[int, int]] = []
    steering = Steering(
        cancel=lambda: len(evaluations) == at,
        progress=lambda done, total: evaluations.append((done, total)),
    )
    parts: list[Part] = []
    with pytest.raises(Cancelled):
        parts.extend(video(wanted(), FRAMES, steering=steering))
    assert len(evaluations) == at
    assert evaluations == [(i % 2, 2) for i in range(at)]


def test_what_came_before_a_cancellation_is_kept(video: LongVideo):
    whole = list(video(wanted(), FRAMES))
    evaluations, parts = iter(range(100)), []
    steering = Steering(cancel=lambda: next(evaluations) == 7)

    def collect() -> None:
        for part in video(wanted(), FRAMES, steering=steering):
            parts.append(part)

    with pytest.raises(Cancelled):
        collect()
    assert len(parts) < len(whole)
    rest = list(video(wanted(), FRAMES, parts[-1].state if parts else None))
    assert torch.equal(pixels([*parts, *rest]), pixels(whole))


@pytest.mark.parametrize("rollout", [Autoregressive(overlap_latent_frames=2), *ROLLOUTS], ids=repr)
def test_the_grain_is_what_a_step_adds(tiny_model: VideoModel, rollout: Rollout):
    long = replace(tiny_model.long_video(), rollout=rollout)
    state = State() if isinstance(rollout, OneClip) else None
    chunks = rollout(long.samplers, wanted(), state)
    if not isinstance(rollout, OneClip):
        next(chunks)
    assert long.autoencoder.spec.pixel_frames(next(chunks).z) == long.grain
