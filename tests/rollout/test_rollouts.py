"""Rollouts of a real, if tiny, model: how its clips join, and on what each video depends."""

from collections.abc import Sequence
from itertools import islice

import pytest
import torch
from torch import Tensor

from longtake.diffusion.signals import context_frames, label_signal
from longtake.model import VideoModel
from longtake.noise import derive
from longtake.rollout import Autoregressive, Hierarchical, OneClip, Request, Rollout, Samplers

FRAMES, BETWEEN = 4, 3
ROLLOUTS = [Autoregressive(overlap_latent_frames=2), Hierarchical(), Hierarchical(clips_per_step=2)]


@pytest.fixture
def draws(tiny_model: VideoModel) -> Samplers:
    return tiny_model.long_video().samplers


def request(seeds: Sequence[int]) -> Request:
    return Request(seeds=tuple(seeds), signals=label_signal([seed % 3 for seed in seeds]))


def latents(rollout: Rollout, draws: Samplers, steps: int, seeds: Sequence[int] = (5,)) -> Tensor:
    chunks = islice(rollout(draws, request(seeds)), steps)
    return torch.cat([chunk.z for chunk in chunks], 2)


@pytest.mark.parametrize("overlap", [1, 2, 3])
def test_each_clip_after_the_first_adds_what_it_does_not_share(draws: Samplers, overlap: int):
    z = latents(Autoregressive(overlap_latent_frames=overlap), draws, 3)
    assert z.shape[2] == FRAMES + 2 * (FRAMES - overlap)


def test_a_clip_is_drawn_after_the_clean_last_frame_of_the_one_before(draws: Samplers):
    z = latents(Autoregressive(), draws, 2)
    wanted = request([5])
    signals = context_frames(draws["first"].spec, {0: z[:, :, FRAMES - 1]}, wanted.signals)
    again = draws["first"](signals, [derive(5, "clip", 1)]).z
    assert torch.equal(again[:, :, 0], z[:, :, FRAMES - 1])
    assert torch.equal(again[:, :, 1:], z[:, :, FRAMES:])


def test_clean_keyframes_stand_in_the_video_and_every_pair_is_filled(draws: Samplers):
    keys = latents(Autoregressive(), draws, 2)
    z = latents(Hierarchical(), draws, 2)
    apart = BETWEEN - 1
    assert z.shape[2] == apart * (keys.shape[2] - 1)
    assert torch.equal(z[:, :, ::apart], keys[:, :, :-1])
    filled = z.unflatten(2, (-1, apart))[:, :, :, 1]
    assert all(not torch.equal(filled[:, :, i], keys[:, :, i]) for i in range(filled.shape[2]))


def test_pairs_filled_in_one_batch_equal_pairs_filled_one_by_one(draws: Samplers):
    keys = latents(Autoregressive(), draws, 2, seeds=(5, 6))
    z = latents(Hierarchical(), draws, 2, seeds=(5, 6)).unflatten(2, (-1, BETWEEN - 1))
    wanted = request([6])
    for pair in range(keys.shape[2] - 1):
        ends = {0: keys[1:, :, pair], BETWEEN - 1: keys[1:, :, pair + 1]}
        signals = context_frames(draws["interpolator"].spec, ends, wanted.signals)
        alone = draws["interpolator"](signals, [derive(6, "between", pair)]).z
        torch.testing.assert_close(z[1:, :, pair], alone[:, :, :-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_a_stopped_rollout_continues_bit_for_bit(draws: Samplers, rollout: Rollout):
    whole = list(islice(rollout(draws, request([5, 6])), 3))
    rest = islice(rollout(draws, request([5, 6]), whole[0].state), 2)
    for chunk, expected in zip(rest, whole[1:], strict=True):
        assert torch.equal(chunk.z, expected.z)
        assert chunk.state.step == expected.state.step


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_a_video_does_not_depend_on_those_beside_it(draws: Samplers, rollout: Rollout):
    together = latents(rollout, draws, 2, seeds=(5, 6, 7))
    alone = latents(rollout, draws, 2, seeds=(6,))
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_a_state_does_not_grow(draws: Samplers, rollout: Rollout):
    states = [chunk.state for chunk in islice(rollout(draws, request([5])), 3)]
    sizes = [sum(frame.numel() for frame in state.latents.values()) for state in states]
    assert sizes[0] == sizes[2]


def test_another_seed_or_another_class_gives_another_video(draws: Samplers):
    one, two = latents(Autoregressive(), draws, 1, seeds=(5, 8))[:, None]
    assert not torch.equal(one, two)
    other = Request(seeds=(5,), signals=label_signal([0]))
    chunk = next(Autoregressive()(draws, other))
    assert not torch.equal(chunk.z, one)


def test_one_clip_is_all_that_a_model_without_frame_conditions_makes(draws: Samplers):
    assert latents(OneClip(), draws, 1).shape[2] == FRAMES
    with pytest.raises(ValueError, match=r"clips of 8 frames; a longer video needs the rollout"):
        latents(OneClip(), draws, 2)


def test_an_overlap_of_a_whole_clip_is_refused(draws: Samplers):
    with pytest.raises(
        ValueError, match="overlap_latent_frames=4 must be under the clip's 4 latent"
    ):
        latents(Autoregressive(overlap_latent_frames=4), draws, 1)
