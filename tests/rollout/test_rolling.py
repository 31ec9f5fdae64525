"""Windows whose frames are at different noise levels: diffusion forcing and diagonal denoising."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from longtake.denoisers import VolumeUNet, VolumeUNetConfig
from longtake.diffusion import (
    DDIM,
    DDPM,
    AlphaSigma,
    ClassifierFree,
    ClipSampler,
    Denoiser,
    Diffusion,
    Staggered,
)
from longtake.diffusion.signals import CONTEXT, context_frames, label_signal
from longtake.given import StartedVideo
from longtake.latents import LatentSpec
from longtake.model import ModelIndex, Sampling, VideoModel, sampling_with
from longtake.noise import derive
from longtake.rollout import (
    Change,
    DiffusionForcing,
    Fifo,
    Request,
    Rollout,
    Samplers,
    Steering,
)
from longtake.rollout.rolling import progress_table

FRAMES = 4
TRAINED = Diffusion(prediction="v", time_per_frame=True)
ROLLOUTS = [
    DiffusionForcing(),
    DiffusionForcing(delay=2, overlap_latent_frames=2),
    DiffusionForcing(delay=0),
    Fifo(),
    Fifo(lookahead=True),
]


def network(**changes: Any) -> VolumeUNet:
    config: dict[str, Any] = {
        "latent": (2, FRAMES, 4, 4),
        "clip": (2 * FRAMES, 16, 16),
        "model_channels": 8,
        "groups": 4,
        "channel_mult": (1,),
        "num_res_blocks": 1,
        "attention_resolutions": (),
        "num_classes": 3,
        "frame_times": True,
        "zero_init": False,
    }
    torch.manual_seed(0)
    return VolumeUNetConfig(**{**config, **changes}).build().eval()


def samplers(**changes: Any) -> Samplers:
    settings: dict[str, Any] = {"denoiser": network(), "diffusion": TRAINED}
    sample = ClipSampler(**{**settings, "sampler": DDIM(steps=6), **changes})
    return {"first": sample, "next": sample}


def wanted(*seeds: int) -> Request:
    return Request(seeds=seeds, signals=label_signal([seed % 3 for seed in seeds]))


def latents(rollout: Rollout, draws: Samplers, steps: int, request: Request) -> list[Tensor]:
    return [chunk.z for chunk in islice(rollout(draws, request), steps)]


class Answer(Denoiser):
    """Predicts what belongs to a clean latent of one value per channel."""

    reads = frozenset(CONTEXT)
    per_frame = True
    spec = LatentSpec(shape=(2, FRAMES, 3, 3), clip=(8, 12, 12), frame_axis=2)
    clean = torch.tensor([0.3, -1.2])[:, None, None, None]

    def prepare(self, signals: Any, embedding: Any) -> None:
        del signals, embedding

    def forward(self, z: Tensor, t: Tensor, prepared: None) -> Tensor:
        level = AlphaSigma(*(self.spec.expand(x) for x in TRAINED.schedule(t)))
        noise = (z - level.alpha * self.clean) / level.sigma.clamp_min(1e-6)
        return TRAINED.target(self.clean.expand_as(z), noise, level)


def test_equal_times_over_one_window_are_a_plain_clip_bit_for_bit():
    draws = samplers(guidance=ClassifierFree(scale=2))
    plain = draws["first"](wanted(5, 6).signals, [derive(seed, "clip", 0) for seed in (5, 6)]).z
    (together,) = latents(DiffusionForcing(delay=0), draws, 1, wanted(5, 6))
    assert torch.equal(together, plain)


def test_the_first_window_is_a_clip_of_staggered_times_bit_for_bit():
    draws = samplers()
    sample = replace(draws["first"], pattern=Staggered(delay=2))
    plain = sample(wanted(5).signals, [derive(5, "clip", 0)]).z
    made = torch.cat(latents(DiffusionForcing(delay=2), draws, FRAMES, wanted(5)), 2)
    assert torch.equal(made[:, :, :1], plain[:, :, :1])


def test_a_queue_of_one_window_is_diffusion_forcing_bit_for_bit():
    draws = samplers(sampler=DDIM(steps=FRAMES, eta=1))
    forced = latents(DiffusionForcing(overlap_latent_frames=0), draws, 6, wanted(5))
    assert all(
        torch.equal(one, other)
        for one, other in zip(latents(Fifo(), draws, 6, wanted(5)), forced, strict=True)
    )


@pytest.mark.parametrize(
    "sampler", [DDIM(steps=6), DDIM(steps=6, eta=1, grid="linspace"), DDPM(steps=9)], ids=repr
)
@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_a_constant_denoiser_is_reached(rollout: Rollout, sampler: Any):
    draws = samplers(denoiser=Answer(), sampler=sampler, context_noise=0.05)
    for z in latents(rollout, draws, 3, Request(seeds=(1,))):
        torch.testing.assert_close(z, Answer.clean.expand_as(z), atol=2e-6, rtol=0)


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_a_stopped_rollout_continues_bit_for_bit(rollout: Rollout):
    draws, request = samplers(sampler=DDIM(steps=6, eta=1), context_noise=0.1), wanted(5, 6)
    whole = list(islice(rollout(draws, request), 6))
    for number in (0, 3):
        rest = islice(rollout(draws, request, whole[number].state), 5 - number)
        for chunk, expected in zip(rest, whole[number + 1 :], strict=True):
            assert torch.equal(chunk.z, expected.z)
            assert chunk.state.step == expected.state.step


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_a_video_does_not_depend_on_those_beside_it(rollout: Rollout):
    draws = samplers(sampler=DDIM(steps=3, eta=1))
    together = torch.cat(latents(rollout, draws, 3, wanted(5, 6, 7)), 2)
    alone = torch.cat(latents(rollout, draws, 3, wanted(6)), 2)
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_memory_is_flat_and_a_step_adds_the_grain(rollout: Rollout):
    """What is kept and evaluated is the same in every step of 40 clips."""
    rows: list[int] = []
    draws = samplers(denoiser=Answer(), sampler=DDIM(steps=5))
    draws["first"].denoiser.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    spec, kept, frames = Answer.spec, set(), 0
    for step, chunk in enumerate(rollout(draws, Request(seeds=(1, 2)))):
        assert chunk.z.isfinite().all()
        assert step == 0 or spec.pixel_frames(chunk.z) == rollout.grain(draws)
        kept.add(tuple(tensor.numel() for tensor in chunk.state.latents.values()))
        frames += spec.pixel_frames(chunk.z)
        if frames >= 40 * spec.clip[0]:
            break
    assert len(kept) == 1
    assert set(rows) == {2}


def test_a_step_of_the_sampler_is_a_frame_of_the_queue():
    """After its first step, fifo evaluates each window once a frame, with lookahead twice."""
    for rollout, windows in ((Fifo(), 2), (Fifo(lookahead=True), 4)):
        calls: list[int] = []
        draws = samplers(denoiser=Answer(), sampler=DDIM(steps=2 * FRAMES))
        chunks = rollout(draws, Request(seeds=(1,)))
        next(chunks)
        draws["first"].denoiser.register_forward_pre_hook(lambda *_, n=calls: n.append(1))
        list(islice(chunks, 3))
        assert len(calls) == 3 * windows


@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_signals_may_change_at_any_step(rollout: Rollout):
    draws, request = samplers(), wanted(5, 6)
    steering = Steering(change={2: Change(label_signal([2, 2]))}.get)
    changed = [chunk.z for chunk in islice(rollout(draws, request, None, steering), 4)]
    plain = latents(rollout, draws, 4, request)
    assert all(torch.equal(a, b) for a, b in zip(plain[:2], changed[:2], strict=True))
    assert not torch.equal(plain[2], changed[2])


@pytest.mark.parametrize("places", [(0,), (0, 1), (2,)])
@pytest.mark.parametrize("rollout", ROLLOUTS, ids=repr)
def test_frames_given_at_the_beginning_come_back(rollout: Rollout, places: tuple[int, ...]):
    draws = samplers(context_noise=0.1)
    spec = draws["first"].spec
    frames = {place: torch.randn(2, spec.shape[0], *spec.shape[2:]) for place in places}
    given = replace(wanted(5, 6), signals=context_frames(spec, frames, wanted(5, 6).signals))
    made = torch.cat(latents(rollout, draws, 4, given), 2)
    plain = torch.cat(latents(rollout, draws, 4, wanted(5, 6)), 2)
    for place, frame in frames.items():
        assert torch.equal(made[:, :, place], frame)
    assert not torch.equal(made[:, :, 3], plain[:, :, 3])


def test_videos_given_different_frames_are_refused():
    draws = samplers()
    spec = draws["first"].spec
    signals = context_frames(spec, {0: torch.zeros(2, spec.shape[0], *spec.shape[2:])})
    signals["context_mask"].value[1] = False
    with pytest.raises(ValueError, match="videos are in different places; give all its"):
        next(DiffusionForcing()(draws, replace(wanted(5, 6), signals=signals)))


@pytest.mark.parametrize("rollout", [DiffusionForcing(), Fifo()], ids=repr)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"diffusion": Diffusion(prediction="v")}, "was not trained so .*another rollout.kind"),
        ({"denoiser": network(frame_times=False)}, "was not trained so"),
        ({"pattern": Staggered()}, "so does the time pattern Staggered; .*pattern.kind=together"),
    ],
)
def test_a_model_that_has_one_time_for_all_frames_is_refused(
    rollout: Rollout, changes: Any, message: str
):
    with pytest.raises(ValueError, match=message):
        rollout(samplers(**changes), wanted(5))


@pytest.mark.parametrize("kind", ["diffusion_forcing", "fifo"])
def test_planes_are_refused(tiny_triplane_model: VideoModel, kind: str):
    sampling = sampling_with(tiny_triplane_model.index.sampling, [f"rollout.kind={kind}"])
    with pytest.raises(ValueError, match=r"latents have no time axis; choose rollout\.kind=next"):
        tiny_triplane_model.long_video(sampling)


@pytest.mark.parametrize("rollout", [DiffusionForcing(overlap_latent_frames=2), Fifo()], ids=repr)
def test_a_video_that_begins_with_given_frames_continues_from_any_part(
    tiny_model: VideoModel, rollout: Any
):
    index = ModelIndex(diffusion=TRAINED, sampling=Sampling(sampler=DDIM(steps=2), rollout=rollout))
    model = VideoModel(
        index=index, autoencoder=tiny_model.autoencoder, denoisers={"first": network()}
    )
    given = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    video, request = StartedVideo(video=model.long_video(), frames=given), wanted(5, 6)
    parts = list(video(request, 20))
    frames = np.concatenate([part.frames for part in parts], 1)
    assert all(np.array_equal(own[:5], given) for own in frames)
    assert frames.shape[1] >= 20
    rest = video(request, 20, parts[1].state)
    for part, expected in zip(rest, parts[2:], strict=True):
        assert np.array_equal(part.frames, expected.frames)


def test_more_context_than_a_window_holds_is_refused():
    with pytest.raises(ValueError, match="overlap_latent_frames=4 must be under the clip's 4"):
        next(DiffusionForcing(overlap_latent_frames=4)(samplers(), wanted(5)))


def drawn(doc: str) -> Iterator[list[int]]:
    """Rows of times of a docstring's table."""
    for line in doc.split("frame   0")[1].split("Noise on")[0].split("Unlike")[0].splitlines()[1:]:
        if row := re.findall(r"\d+", line.split("->")[0].split("step")[0]):
            yield [int(number) for number in row]


@pytest.mark.parametrize(
    ("rollout", "steps", "length", "kept"), [(DiffusionForcing, 3, 4, 1), (Fifo, 4, 4, 0)]
)
def test_the_table_of_a_docstring_is_what_happens(
    rollout: type[Rollout], steps: int, length: int, kept: int
):
    expected, progress = [], [0] * length
    for _ in range(4 if kept else 3):
        table = progress_table(progress, steps, 1)
        expected += [[steps - made for made in row] for row in table]
        clean = table[-1].count(steps)
        fresh = max(clean - kept, 0)
        progress = table[-1][fresh:] + [0] * fresh
    assert list(drawn(str(rollout.__doc__))) == expected
