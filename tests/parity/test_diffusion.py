"""Training, sampling and long video compute what the official LVDM code computes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from conditions import NOTHING, walk
from convert import official_layout
from golden_case import Golden
from torch import Tensor

from longtake.convert.unet_keys import LVDM
from longtake.denoisers import VolumeUNet, VolumeUNetConfig
from longtake.diffusion import (
    DDIM,
    DDPM,
    ClassifierFree,
    ClipSampler,
    Diffusion,
    Guidance,
    ScaledLinear,
    Unguided,
)
from longtake.diffusion.clip_sampler import Sampled
from longtake.diffusion.samplers import Denoise
from longtake.diffusion.signals import ContextPlan, Signals, chosen, context_signals, impose
from longtake.diffusion.timesteps import grid_times
from longtake.nn.attention import RelativePositionConfig, SpaceTimeAttentionConfig
from longtake.noise import SampleNoise
from longtake.progress import ProgressCallback, no_progress
from longtake.rollout import Autoregressive, Hierarchical, Request, Samplers, State
from longtake.training.ema import EMA

rename = partial(official_layout.rename, LVDM)

SCHEDULES = {"sky": ScaledLinear(), "t2v": ScaledLinear(beta_start=0.00085, beta_end=0.012)}
LEADING10 = DDIM(steps=10, grid="leading")


class Recorded(SampleNoise):
    """Noise that the official code drew, in the order of its draws; then the last again."""

    def __init__(self, draws: Sequence[Tensor]) -> None:
        super().__init__(range(len(draws[0])))
        self._draws = list(draws)

    def normal(self, shape: Sequence[int]) -> Tensor:
        draw = self._draws.pop(0) if len(self._draws) > 1 else self._draws[0]
        assert draw.shape[1:] == tuple(shape)
        return draw


def tiny(frames: int, *, given: bool) -> VolumeUNetConfig:
    return VolumeUNetConfig(
        latent=(4, frames, 8, 8),
        model_channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        attention=SpaceTimeAttentionConfig(
            relative_position=RelativePositionConfig(max_distance=frames)
        ),
        mask_channel=given,
        noise_classes=251 if given else None,
    )


def unet(weights: dict[str, Tensor], config: VolumeUNetConfig) -> VolumeUNet:
    built = config.build()
    built.load_state_dict(LVDM.from_official(weights, config))
    return built


@pytest.fixture
def short(golden) -> tuple[Golden, VolumeUNet]:
    case = golden("lvdm/ldm_short_tiny")
    config = tiny(4, given=False)
    return case, unet(case.weights("model.diffusion_model."), config)


@pytest.fixture
def prediction(golden) -> tuple[Golden, VolumeUNet]:
    weights = golden("lvdm/unet_pred").weights()
    return golden("lvdm/ldm_pred_tiny"), unet(weights, tiny(4, given=True))


def times(case: Golden) -> Tensor:
    return (case["in.t"] + 1) / 1000


def clips(denoiser: VolumeUNet, sampler: DDIM | DDPM, guidance: Guidance | None = None):
    return ClipSampler(
        denoiser=denoiser,
        diffusion=Diffusion(),
        sampler=sampler,
        guidance=guidance or Unguided(),
        context_noise=0.101,
    )


def gradients_match(case: Golden, denoiser: VolumeUNet) -> None:
    ours = {name: p.grad for name, p in denoiser.named_parameters()}
    names = [k.removeprefix("out.grad.") for k in case.tensors if k.startswith("out.grad.")]
    checked = 0
    for name in names:
        if name.endswith(".rows"):
            continue
        grad = ours[rename(name, denoiser.config)]
        assert grad is not None
        case.close(f"grad.{name}", grad.reshape(case[f"out.grad.{name}"].shape))
        checked += 1
    assert checked >= 11


@pytest.mark.parametrize("name", SCHEDULES)
def test_tables(golden, name):
    case, schedule = golden("lvdm/schedules"), SCHEDULES[name]
    level = schedule(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    case.close(f"{name}.betas", schedule.betas())
    case.close(f"{name}.alphas_cumprod", level.alpha**2)
    case.close(f"{name}.sqrt_alphas_cumprod", level.alpha)
    case.close(f"{name}.sqrt_one_minus_alphas_cumprod", level.sigma)
    case.close(f"{name}.sqrt_recip_alphas_cumprod", 1 / level.alpha)
    case.close(f"{name}.sqrt_recipm1_alphas_cumprod", level.sigma / level.alpha)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [7, 10, 20, 50])
def test_leading_times(golden, name, steps):
    case = golden("lvdm/schedules")
    visited = torch.tensor(grid_times("leading", steps), dtype=torch.float64).flip(0)
    indices = (visited[1:] * 1000).round().long() - 1
    assert indices.tolist() == case[f"out.{name}.ddim{steps}.timesteps"].tolist()
    squared = SCHEDULES[name](visited).alpha ** 2
    case.close(f"{name}.ddim{steps}.alphas", squared[1:])
    case.close(f"{name}.ddim{steps}.alphas_prev", squared[:-1])


def test_noising(short):
    case, denoiser = short
    z_t = Diffusion().add_noise(denoiser.spec, case["in.z0"], case["in.noise"], times(case))
    case.close("x_t", z_t)


@torch.no_grad()
def test_reading_a_prediction_as_the_clean_latent(short):
    case, denoiser = short
    level = Diffusion().schedule(times(case))
    level = type(level)(*(denoiser.spec.expand(x) for x in level))
    case.close("x0_from_eps", Diffusion().to_x0(case["out.eps"], case["out.x_t"], level))


@pytest.mark.parametrize("kind", ["l1", "l2"])
@torch.no_grad()
def test_loss(short, kind):
    case, denoiser = short
    diffusion = Diffusion(loss=kind)
    loss = diffusion.losses(denoiser, case["in.z0"], case["in.noise"], times(case), NOTHING)
    case.close(f"{kind}.loss", loss.mean())


def test_gradients(short):
    case, denoiser = short
    loss = Diffusion().losses(denoiser, case["in.z0"], case["in.noise"], times(case), NOTHING)
    loss.mean().backward()
    gradients_match(case, denoiser)


def test_ancestral_steps(short):
    case, denoiser = short
    noise = Recorded([case["in.xT"], *case["in.ddpm_noise"]])
    case.close("ddpm6", clips(denoiser, DDPM(steps=6)).sample(NOTHING, noise))


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("ddim10", LEADING10),
        ("ddim7", DDIM(steps=7, grid="leading")),
        ("ddim10_eta1", DDIM(steps=10, grid="leading", eta=1)),
    ],
)
def test_implicit_steps(short, name, sampler):
    case, denoiser = short
    noise = Recorded([case["in.xT"], case["in.sample_noise"]])
    case.close(name, clips(denoiser, sampler).sample(NOTHING, noise))


def test_every_state_and_estimate_of_a_walk(short):
    case, denoiser = short
    states, estimates = [], []

    estimate = Diffusion().estimator(denoiser, NOTHING)

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        estimates.append(estimate(z, t))
        states.append(z)
        return estimates[-1]

    noise = Recorded([case["in.xT"]])
    states.append(walk(LEADING10, denoise, case["in.xT"], ScaledLinear(), noise))
    case.close("ddim10.x_inter", torch.cat(states))
    case.close("ddim10.pred_x0", torch.cat(estimates))


def test_averaged_weights(golden):
    case = golden("lvdm/ldm_short_tiny")
    raw, averaged = case.weights("model.diffusion_model."), case.weights("model_ema.")
    weights = {k: averaged["diffusion_model" + k.replace(".", "")] for k in raw}
    sampler = clips(unet(weights, tiny(4, given=False)), LEADING10)
    case.close("ddim10_ema", sampler.sample(NOTHING, Recorded([case["in.xT"]])))


def perturbed_batch(case: Golden) -> tuple[Signals, Tensor]:
    """The official training batch as ours: one noise tensor, noise levels in the condition."""
    mask = case["in.mask"]
    signals = context_signals(case["in.z0"], mask[:, 0, :, 0, 0].bool(), (case["in.s"] + 1) / 1000)
    return signals, torch.where(mask.bool(), case["in.noise_s"], case["in.noise_t"])


def test_loss_and_gradients_with_given_frames(prediction):
    case, denoiser = prediction
    condition, noise = perturbed_batch(case)
    loss = Diffusion().losses(denoiser, case["in.z0"], noise, times(case), condition).mean()
    case.close("loss", loss)
    loss.backward()
    gradients_match(case, denoiser)
    rows = denoiser.noise_embed.weight.grad[case["in.s"]]
    case.close("grad.label_emb.weight.rows", rows)


def test_what_the_network_sees_of_given_frames(prediction):
    case, denoiser = prediction
    condition, noise = perturbed_batch(case)
    seen = []
    denoiser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    Diffusion().losses(denoiser, case["in.z0"], noise, times(case), condition)
    case.close("x_noisy", seen[0])


def noisy_given(case: Golden) -> Signals:
    mask = case["in.sample_mask"][:, 0, :, 0, 0].bool()
    z = case["in.xT"].clone()
    z[:, :, :1] = case["in.noisy_cond"]
    return context_signals(z, mask, (case["in.sample_s"] + 1) / 1000)


def guided(denoiser: VolumeUNet, guidance: Guidance, signals: Signals) -> Denoise:
    estimate = guidance(
        lambda signals, guide=None: Diffusion().estimator(denoiser, signals), signals
    )
    return lambda z, t: estimate(impose(denoiser.spec, signals, z), t)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("nocfg", 1.0),
        ("cfg_default_1.5", 1.5),
        ("cfg_original_0.5", 1.5),
        ("cfg_original_0.1", 1.1),
    ],
)
def test_guided_walks_with_given_frames(prediction, name, scale):
    case, denoiser = prediction
    denoise = guided(denoiser, ClassifierFree(scale=scale), noisy_given(case))
    z = walk(LEADING10, denoise, case["in.xT"], ScaledLinear(), Recorded([case["in.xT"]]))
    # the official code returns given frames it has drawn again; nothing reads them
    free = case[f"out.ddim10.{name}"]
    given = noisy_given(case)["context_mask"].value
    case.close(f"ddim10.{name}", torch.where(denoiser.spec.expand(given.float()).bool(), free, z))


@pytest.mark.parametrize(
    ("name", "scale"), [("default", 1.5), ("cfg_original", 1.5), ("cfg_ours", 0.5)]
)
def test_guidance_formulas(prediction, name, scale):
    case, denoiser = prediction
    denoise = guided(denoiser, ClassifierFree(scale=scale), noisy_given(case))
    case.close(f"pmv.{name}.x0", denoise(case["in.xT"], torch.full((len(case["in.xT"]),), 0.902)))


@dataclass(frozen=True, kw_only=True)
class RecordedClips(ClipSampler):
    """A clip sampler whose noise is that of the official run, clip by clip."""

    draws: list[list[Tensor]]
    given: list[int]

    def __call__(
        self,
        signals: Signals,
        seeds: Sequence[int],
        on_evaluation: ProgressCallback = no_progress,
        guidance: Guidance | None = None,
    ) -> Sampled:
        assert guidance is None
        rows = [self.draws.pop(0) for _ in seeds]
        noise = [torch.cat(parts) for parts in zip(*rows, strict=True)]
        start = torch.zeros_like(noise[-1])
        if len(noise) == 2:
            start[:, :, self.given] = noise[0]
        return Sampled(self.sample(signals, Recorded([start, noise[-1]]), on_evaluation))


def long_video(golden) -> tuple[Golden, Samplers]:
    case = golden("lvdm/long_video")
    drawn = [case.tensors[k] for k in sorted(case.tensors) if k.startswith("in.draw.")]
    sampler, guidance = DDIM(steps=4, grid="leading"), ClassifierFree(scale=1.1)
    clip, between = (
        clips(unet(golden(f"lvdm/{name}").weights(), tiny(frames, given=True)), sampler, guidance)
        for name, frames in (("unet_pred", 4), ("unet_interp", 5))
    )
    recorded = RecordedClips(**vars(clip), draws=[drawn[:1], drawn[1:3], drawn[3:5]], given=[0])
    return case, {
        "first": recorded,
        "next": recorded,
        "interpolator": RecordedClips(
            **vars(between), draws=[drawn[5:7], drawn[7:9], drawn[9:11]], given=[0, 4]
        ),
    }


def test_keyframes_of_a_long_video(golden):
    case, draws = long_video(golden)
    request, state, chunks = Request(seeds=(0,)), State(), []
    for _ in range(3):
        chunk = Autoregressive().step(draws, request, state)
        state = chunk.state
        chunks.append(chunk.z)
    case.close("keyframes_fixed", torch.cat(chunks, dim=2))


def test_frames_between_keyframes(golden):
    case, draws = long_video(golden)
    chunk = Hierarchical().step(draws, Request(seeds=(0,)), State())
    last = chunk.state.latents["left"].unsqueeze(2)
    case.close("latents_fixed", torch.cat([chunk.z, last], dim=2))


PLANS = {
    "pred": ContextPlan(),
    "interp": ContextPlan(predict=0, interpolate=0.9),
    "pred_multi": ContextPlan(predict=0.5, interpolate=0.2, first_frames=(1, 2, 3)),
    "stride3": ContextPlan(predict=0, interpolate=0.9, every=3),
}


@pytest.mark.parametrize("name", PLANS)
def test_masks_of_given_frames(golden, name):
    case, plan = golden("lvdm/temporal_masks"), PLANS[name]
    samples, frames = case[f"out.mask.{name}"].shape
    official, masks = random.Random(7), []
    for _ in range(samples):
        draw, pick = official.random(), 0.0
        if plan.interpolate <= draw < plan.interpolate + plan.predict:
            pick = official.choice(range(len(plan.first_frames))) / len(plan.first_frames)
        masks.append(chosen(plan.mixture, draw).mask(frames, pick, torch.Generator()))
    case.close(f"mask.{name}", torch.stack(masks).float())


def test_moving_average(golden):
    case = golden("lvdm/ema")
    layer = torch.nn.Linear(3, 2)
    rows = list(zip(case["in.weights"], case["in.biases"], strict=True))

    @torch.no_grad()
    def load(row: tuple[Tensor, Tensor]) -> None:
        layer.weight.copy_(row[0])
        layer.bias.copy_(row[1])

    load(rows[0])
    average = EMA(layer.parameters())
    for number, row in enumerate(rows[1:], 1):
        load(row)
        average.update()
        case.close(f"weight.{number}", average.shadow[0])
        case.close(f"bias.{number}", average.shadow[1])
    assert average.updates == int(case["out.num_updates"])
