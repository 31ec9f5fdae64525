"""Clip after clip, each under the latent of the one before."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.denoisers import TriplaneUNet, TriplaneUNetConfig
from longtake.diffusion import (
    DDIM,
    ClassifierFree,
    ClipSampler,
    Diffusion,
    Guidance,
    ScaledLinear,
    Unguided,
)
from longtake.diffusion.signals import previous_signal
from longtake.model import ModelIndex, RoleSampling, Sampling, VideoModel, sampling_with
from longtake.noise import derive
from longtake.rollout import (
    Autoregressive,
    Hierarchical,
    NextClip,
    OneClip,
    Request,
    Rollout,
    Samplers,
)

STREAM = DDIM(steps=3, grid="linspace", eta=1)


DIFFUSION = Diffusion(schedule=ScaledLinear(beta_end=0.0195), loss="l2")


def unet(*, previous: bool = True) -> TriplaneUNet:
    torch.manual_seed(0)
    return TriplaneUNetConfig(
        latent=(2, 4, 4, 4),
        clip=(4, 32, 32),
        model_channels=8,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        groups=4,
        previous=previous,
        zero_init=False,
    ).build()


def draws(guidance: Guidance | None = None, *, previous: bool = True) -> Samplers:
    sample = ClipSampler(
        denoiser=unet(previous=previous).eval(),
        diffusion=DIFFUSION,
        sampler=STREAM,
        guidance=guidance or Unguided(),
    )
    return {"first": sample, "next": sample}


def test_a_longer_video_of_planes_needs_the_rollout_that_planes_have():
    chunks = OneClip()(draws(), Request(seeds=(5,)))
    next(chunks)
    with pytest.raises(ValueError, match=r"clips of 4 frames; a longer video needs .* next_clip "):
        next(chunks)


def latents(there: Samplers, clips: int, seeds: Sequence[int] = (5,)) -> list[Tensor]:
    chunks = islice(NextClip()(there, Request(seeds=tuple(seeds))), clips)
    return [chunk.z for chunk in chunks]


def test_each_clip_is_drawn_after_the_whole_latent_of_the_one_before():
    there = draws()
    first, second, third = latents(there, 3)
    for number, (before, after) in enumerate([(first, second), (second, third)], 1):
        again = there["first"](previous_signal(before), [derive(5, "clip", number)]).z
        assert torch.equal(again, after)
        assert not torch.equal(again, there["first"]({}, [derive(5, "clip", number)]).z)


def test_the_first_clip_comes_after_nothing_or_after_a_clip_that_is_given():
    there = draws()
    (first,) = latents(there, 1)
    assert torch.equal(first, there["first"]({}, [derive(5, "clip", 0)]).z)
    given = Request(seeds=(5,), signals=previous_signal(torch.rand_like(first)))
    after = next(NextClip()(there, given)).z
    assert torch.equal(after, there["first"](given.signals, [derive(5, "clip", 0)]).z)


def test_a_stopped_rollout_continues_bit_for_bit():
    there, request = draws(ClassifierFree(scale=1.5)), Request(seeds=(5, 6))
    whole = list(islice(NextClip()(there, request), 3))
    rest = islice(NextClip()(there, request, whole[0].state), 2)
    for chunk, expected in zip(rest, whole[1:], strict=True):
        assert torch.equal(chunk.z, expected.z)
        assert chunk.state.step == expected.state.step


def test_a_video_does_not_depend_on_those_beside_it():
    there = draws()
    together, alone = latents(there, 2, (5, 6, 7)), latents(there, 2, (6,))
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one[1:2], other, atol=1e-5, rtol=1e-5)


def test_guidance_acts_from_the_second_clip_on():
    plain, guided = latents(draws(), 2), latents(draws(ClassifierFree(scale=3)), 2)
    assert torch.equal(plain[0], guided[0])
    assert not torch.allclose(plain[1], guided[1])


def test_later_clips_may_take_fewer_steps_than_the_first():
    both = draws()
    assert isinstance(both["first"], ClipSampler)
    few = replace(both["first"], sampler=DDIM(steps=2, grid="linspace", eta=1))
    first, second = latents({**both, "next": few}, 2)
    assert torch.equal(first, latents(both, 1)[0])
    assert torch.equal(second, few(previous_signal(first), [derive(5, "clip", 1)]).z)


def test_a_sampler_of_later_clips_is_refused_where_none_are_drawn():
    with pytest.raises(ValueError, match=r"rollout\.kind=one_clip never samples"):
        Sampling(next=RoleSampling(sampler=STREAM))


def test_a_model_takes_its_sampler_of_later_clips_from_its_sampling():
    chosen = sampling_with(
        Sampling(sampler=STREAM, rollout=NextClip()),
        ["next.sampler.kind=ddim", "next.sampler.steps=2"],
    )
    sample = model(previous=True).long_video(chosen).samplers["next"]
    assert isinstance(sample, ClipSampler)
    assert sample.sampler == DDIM(steps=2)


def test_a_role_changes_single_fields_of_the_sampler_that_all_roles_share():
    base = Sampling(sampler=STREAM, guidance=ClassifierFree(scale=2), rollout=NextClip())
    chosen = sampling_with(base, ["next.sampler.steps=2", "next.guidance.scale=3"])
    assert chosen.of("first").sampler == STREAM
    assert chosen.of("next").sampler == STREAM.model_copy(update={"steps": 2})
    assert chosen.of("next").guidance == ClassifierFree(scale=3)
    assert sampling_with(chosen, []) == chosen


def test_a_state_does_not_grow_and_every_clip_keeps_its_bounds():
    chunks = list(islice(NextClip()(draws(), Request(seeds=(5,))), 3))
    for chunk in chunks:
        assert chunk.state.latents.keys() == {"previous"}
        assert chunk.z.shape == (1, 2, 48)
        assert chunk.z.abs().max() <= 1


def test_a_model_that_does_not_look_back_makes_one_clip():
    there = draws(previous=False)
    assert len(list(islice(OneClip()(there, Request(seeds=(5,))), 1))) == 1
    with pytest.raises(ValueError, match="the latent of the clip before, which this model's does"):
        latents(there, 1)


def model(*, previous: bool) -> VideoModel:
    autoencoder = TriplaneAutoencoderConfig(
        clip=(4, 32, 32), width=8, depth=1, heads=1, head_channels=8, embed_dim=2, pool_depth=1
    )
    index = ModelIndex(diffusion=DIFFUSION, sampling=Sampling(sampler=STREAM))
    return VideoModel(
        index=index,
        autoencoder=autoencoder.build(),
        denoisers={"first": unet(previous=previous)},
    )


@pytest.mark.parametrize(
    ("previous", "rollout", "message"),
    [
        (
            False,
            NextClip(),
            "NextClip gives the network the latent of the clip before, .*=one_clip",
        ),
        (True, Autoregressive(), "Autoregressive gives the network frames of .*kind=next_clip"),
        (True, Hierarchical(), "Hierarchical gives the network frames of .*kind=next_clip"),
        (False, Autoregressive(), "Autoregressive gives the network frames of .*kind=one_clip"),
    ],
)
def test_a_rollout_that_the_network_cannot_follow_is_refused_before_a_clip_is_drawn(
    previous: bool, rollout: Rollout, message: str
):
    there = model(previous=previous)
    with pytest.raises(ValueError, match=message):
        there.long_video(there.index.sampling.model_copy(update={"rollout": rollout}))


@pytest.mark.parametrize(
    ("previous", "rollout"), [(True, NextClip()), (True, OneClip()), (False, OneClip())]
)
def test_a_rollout_that_the_network_can_follow_is_taken(previous: bool, rollout: Rollout):
    there = model(previous=previous)
    there.long_video(there.index.sampling.model_copy(update={"rollout": rollout}))
