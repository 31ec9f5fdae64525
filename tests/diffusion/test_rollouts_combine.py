"""Every signal, network, autoencoder, sampler and rollout: a video, or refused before work."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from test_everything_combines import NETWORKS, SEEDS, SUBSETS, signals

from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.diffusion import DDIM, Denoiser, DiffusersSampler, Diffusion, Sampler, Signals
from longtake.model import ModelIndex, Sampling, VideoModel
from longtake.rollout import (
    Autoregressive,
    DiffusionForcing,
    Fifo,
    Hierarchical,
    NextClip,
    OneClip,
    Request,
    Rollout,
)

AUTOENCODERS = {
    "framewise": FramewiseAutoencoderConfig(
        clip=(3, 16, 16), channels=2, width=8, channel_mult=(1, 1, 1), num_res_blocks=1, groups=4
    ),
    "volume": VolumeAutoencoderConfig(
        clip=(6, 16, 16), factors=(2, 4, 4), hidden=4, groups=4, z_channels=2
    ),
    "planes": TriplaneAutoencoderConfig(
        clip=(4, 16, 16), patch=4, width=16, depth=1, heads=2, head_channels=8, embed_dim=2
    ),
}
SAMPLERS: dict[str, Any] = {
    "ddim": DDIM(steps=1),
    "diffusers": DiffusersSampler(scheduler="EulerAncestralDiscrete", steps=1),
}
ROLLOUTS: tuple[Any, ...] = (
    OneClip(),
    Autoregressive(),
    Hierarchical(),
    NextClip(),
    DiffusionForcing(),
    Fifo(),
)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("network", "autoencoder"),
    [(n, a) for n in NETWORKS for a in AUTOENCODERS if ("planes" in n) == (a == "planes")],
)
def test_a_video_is_made_or_refused_before_the_network_is_called(
    network: str, autoencoder: str, sampler: str
):
    denoiser, calls = NETWORKS[network].build().eval(), []
    denoiser.register_forward_pre_hook(lambda *_: calls.append(1))
    model = VideoModel(
        index=ModelIndex(diffusion=Diffusion(prediction="v", time_per_frame=True)),
        autoencoder=AUTOENCODERS[autoencoder].build().eval(),
        denoisers={"first": denoiser, "interpolator": denoiser},
    )
    for rollout, kinds in product(ROLLOUTS, SUBSETS):
        given = signals(denoiser.spec, kinds)
        sampling = Sampling(sampler=SAMPLERS[sampler], rollout=rollout, context_noise=0.1)
        clip = model.autoencoder.spec.clip[0]
        frames = clip if isinstance(rollout, OneClip) else 2 * clip
        calls.clear()

        def make(sampling=sampling, given=given, frames=frames) -> np.ndarray:
            parts = model.long_video(sampling)(Request(seeds=SEEDS, signals=given), frames)
            return np.concatenate([part.frames for part in parts], 1)

        reason = refusal(denoiser, SAMPLERS[sampler], rollout, given)
        if reason is None:
            assert make().shape[:2] >= (2, frames)
        else:
            with pytest.raises(ValueError, match=reason):
                make()
            assert not calls


def refusal(denoiser: Denoiser, sampler: Sampler, rollout: Rollout, given: Signals) -> str | None:
    """What the types of the parts say of their combination."""
    if rollout.frame_times and denoiser.spec.frame_axis is None:
        return "latents have no time axis"
    if rollout.frame_times and not denoiser.per_frame:
        return "was not trained so"
    if rollout.frame_times and not sampler.per_frame:
        return "which DiffusersSampler does not support"
    if any(added - denoiser.reads for added in rollout.adds.values()):
        return "gives the network"
    if given.keys() - denoiser.reads:
        return "does not read the signal"
    if denoiser.needs - given.keys():
        return "needs the signal"
    return None
