"""Rollouts join clips into videos that do not depend on how the work is cut."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from tiny_denoiser import Tiny

from longtake.diffusion import DDIM, ClipSampler, Diffusion
from longtake.diffusion.signals import CONTEXT, label_signal
from longtake.rollout import Autoregressive, Hierarchical, OneClip, Request, Rollout, Samplers


def draws() -> Samplers:
    torch.manual_seed(0)
    clip, between = (
        ClipSampler(
            denoiser=Tiny(),
            diffusion=Diffusion(prediction="v"),
            sampler=DDIM(steps=2),
            context_noise=0.1,
        )
        for _ in range(2)
    )
    return {"first": clip, "next": clip, "interpolator": between}


def video(rollout: Rollout, steps: int, seeds=(3, 4), state=None):
    request = Request(seeds=seeds, signals=label_signal(range(len(seeds))))
    return list(islice(rollout(draws(), request, state), steps))


def joined(chunks) -> torch.Tensor:
    return torch.cat([chunk.z for chunk in chunks], dim=2)


ROLLOUTS = [Autoregressive(), Autoregressive(overlap_latent_frames=3), Hierarchical()]


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_a_video_continues_after_any_chunk_as_if_it_had_not_stopped(rollout):
    whole = video(rollout, 4)
    resumed = video(rollout, 2, state=whole[1].state)
    torch.testing.assert_close(joined(resumed), joined(whole[2:]))


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_a_video_is_the_same_alone_and_in_a_batch(rollout):
    both = joined(video(rollout, 3))
    request = Request(seeds=(4,), signals=label_signal([1]))
    alone = joined(islice(rollout(draws(), request), 3))
    torch.testing.assert_close(alone, both[1:])


def test_keyframe_clips_a_step_do_not_change_the_video():
    one = joined(video(Hierarchical(), 4))
    two = joined(video(Hierarchical(clips_per_step=2), 2))
    assert one.shape == two.shape
    torch.testing.assert_close(one, two)


def test_keyframes_stand_at_their_places_in_the_video():
    keys = joined(video(Autoregressive(), 3))
    whole = joined(video(Hierarchical(), 3))
    torch.testing.assert_close(whole[:, :, ::3], keys[:, :, :-1])
    assert whole.shape[2] == 3 * (keys.shape[2] - 1)


def test_an_overlap_of_the_whole_clip_is_refused():
    with pytest.raises(
        ValueError, match="overlap_latent_frames=4 must be under the clip's 4 latent"
    ):
        video(Autoregressive(overlap_latent_frames=4), 1)


def test_a_model_of_one_clip_makes_one():
    with pytest.raises(ValueError, match="makes clips of 16 frames"):
        video(OneClip(), 2)


def test_a_hierarchy_needs_a_model_for_what_lies_between():
    whole = draws()
    lacking: Samplers = {"first": whole["first"], "next": whole["next"]}
    with pytest.raises(ValueError, match="needs a network in the role 'interpolator'; this model"):
        Hierarchical().check(lacking)


class Blind(Tiny):
    """Reads context frames alone."""

    reads = frozenset(CONTEXT)


def test_an_interpolator_without_labels_fills_as_one_that_is_given_none():
    samplers = draws()
    same = samplers["interpolator"].denoiser.state_dict()
    blind = Blind()
    blind.load_state_dict(same)
    without: Samplers = {
        **samplers,
        "interpolator": replace(samplers["interpolator"], denoiser=blind),
    }
    request = Request(seeds=(3, 4), signals=label_signal([0, 1]))
    whole, filled = (joined(islice(Hierarchical()(x, request), 3)) for x in (samplers, without))
    torch.testing.assert_close(whole[:, :, ::3], filled[:, :, ::3])  # the keyframes
    assert not torch.allclose(whole, filled)
    refused: Samplers = {**without, "next": without["interpolator"]}
    with pytest.raises(ValueError, match="role 'next' does not read the signal 'label'"):
        Hierarchical().check(refused, request.signals)
