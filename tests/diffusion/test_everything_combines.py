"""Every signal, network, sampler, time pattern and guidance: sampled, or refused before work."""

from itertools import chain, combinations, product

import pytest
import torch
from conditions import context

from longtake.denoisers import TriplaneUNetConfig, VolumeTransformerConfig, VolumeUNetConfig
from longtake.diffusion import (
    DDIM,
    DDPM,
    ClassifierFree,
    ClipSampler,
    Denoiser,
    DiffusersSampler,
    Diffusion,
    Sampler,
    Signals,
    Staggered,
    Together,
    Unguided,
)
from longtake.diffusion.signals import label_signal, previous_signal, text_signal
from longtake.latents import LatentSpec
from longtake.nn.transformer import TransformerConfig

TINY = {
    "model_channels": 8,
    "channel_mult": (1,),
    "num_res_blocks": 1,
    "attention_resolutions": (1,),
    "groups": 4,
    "zero_init": False,
}
VOLUME = {"latent": (2, 3, 4, 4), "clip": (6, 16, 16), **TINY}
PLANES = {"latent": (2, 4, 4, 4), "clip": (4, 16, 16), "num_heads": 2, **TINY}
TEXT = TransformerConfig(num_heads=2, context_dim=6)
PATCHES = {"latent": (2, 3, 4, 4), "clip": (6, 16, 16), "width": 16, "depth": 1, "num_heads": 2}
NETWORKS: dict[str, VolumeUNetConfig | VolumeTransformerConfig | TriplaneUNetConfig] = {
    "volume": VolumeUNetConfig(**VOLUME),
    "volume, label": VolumeUNetConfig(num_classes=3, **VOLUME),
    "volume, mask": VolumeUNetConfig(mask_channel=True, noise_classes=251, **VOLUME),
    "volume, frame times": VolumeUNetConfig(frame_times=True, num_classes=3, **VOLUME),
    "volume, text": VolumeUNetConfig(attention=TEXT, mask_channel=True, **VOLUME),
    "transformer, label": VolumeTransformerConfig(num_classes=3, zero_init=False, **PATCHES),
    "transformer, mask, text": VolumeTransformerConfig(
        mask_channel=True, text_width=6, zero_init=False, **PATCHES
    ),
    "planes": TriplaneUNetConfig(previous=False, **PLANES),
    "planes, previous": TriplaneUNetConfig(num_classes=3, **PLANES),
}
SAMPLERS: dict[str, Sampler] = {
    "ddpm": DDPM(steps=2),
    "ddim": DDIM(steps=2, eta=1),
    **{
        name: DiffusersSampler(scheduler=name, steps=2)
        for name in ("DPMSolverMultistep", "EulerAncestralDiscrete", "HeunDiscrete", "LCM")
    },
}
PATTERNS = (Together(), Staggered())
GUIDANCE = (Unguided(), ClassifierFree(scale=2))
KINDS = ("label", "text", "previous", "context")
SUBSETS = list(chain.from_iterable(combinations(KINDS, n) for n in range(len(KINDS) + 1)))
SEEDS = (5, 6)


def signals(spec: LatentSpec, kinds: tuple[str, ...]) -> Signals:
    volume = torch.randn(2, *spec.shape) if spec.frame_axis else torch.randn(2, 2, 3, 4, 4)
    makers = {
        "label": lambda: label_signal([0, -1]),
        "text": lambda: text_signal(torch.randn(2, 5, 6)),
        "previous": lambda: previous_signal(torch.randn(2, *spec.shape)),
        "context": lambda: context(volume, [0, 2]),
    }
    return {name: signal for kind in kinds for name, signal in makers[kind]().items()}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_clip_is_sampled_or_refused_before_the_network_is_called(network: str, sampler: str):
    denoiser, walk, calls = NETWORKS[network].build().eval(), SAMPLERS[sampler], []
    denoiser.register_forward_pre_hook(lambda *_: calls.append(1))
    for pattern, guidance, kinds in product(PATTERNS, GUIDANCE, SUBSETS):
        given = signals(denoiser.spec, kinds)
        calls.clear()

        def sample(pattern=pattern, guidance=guidance, given=given) -> torch.Tensor:
            clips = ClipSampler(
                denoiser=denoiser,
                diffusion=Diffusion(prediction="v"),
                sampler=walk,
                guidance=guidance,
                context_noise=0.1,
                pattern=pattern,
            )
            return clips(given, SEEDS).z

        reason = refusal(denoiser, walk, pattern.per_frame, given)
        if reason is None:
            z = sample()
            assert z.shape == (2, *denoiser.spec.shape)
            assert z.isfinite().all()
            if "context" in given:
                assert torch.equal(z[:, :, [0, 2]], given["context"].value[:, :, [0, 2]])
        else:
            with pytest.raises(ValueError, match=reason):
                sample()
            assert not calls


def refusal(denoiser: Denoiser, sampler: Sampler, per_frame: bool, given: Signals) -> str | None:
    """What the types of the parts say of their combination."""
    if per_frame and not (sampler.per_frame and denoiser.per_frame):
        return "does not support per-frame times"
    if given.keys() - denoiser.reads:
        return "does not read the signal"
    if denoiser.needs - given.keys():
        return "needs the signal"
    return None
