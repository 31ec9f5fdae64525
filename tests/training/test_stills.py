"""Clips and stills in one batch: each sample's loss is that which it has among its own kind."""

from pathlib import Path

import pytest
import torch
from tiny_runs import diffusion_run

from longtake.data.cache_plan import CachePlan
from longtake.data.latent_cache import LatentCache
from longtake.data.latents import build_cache
from longtake.denoisers import VolumeUNetConfig
from longtake.diffusion import Diffusion
from longtake.diffusion.signals import ContextPlan
from longtake.distributed import Ranks
from longtake.latents import LatentScaling
from longtake.model import VideoModel
from longtake.nn.transformer import TransformerConfig
from longtake.runs import Callbacks
from longtake.text import WordCodes
from longtake.text.encoder import CachedStates
from longtake.training.latent_batches import LatentBatches, TrainingClip

NUMBERS = range(16)


@pytest.fixture(scope="module")
def cache(tiny_autoencoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LatentCache:
    run = diffusion_run(tiny_autoencoder_folder, steps=1, batch=2)
    folder = tmp_path_factory.mktemp("stills") / "latents"
    autoencoder = VideoModel.from_pretrained(run.model).autoencoder
    return build_cache(folder, run.data, autoencoder, CachePlan(), Ranks())


def network(**settings):
    attention = TransformerConfig(num_heads=2, context_dim=16, max_distance=2)
    config = VolumeUNetConfig(
        latent=(2, 4, 4, 4),
        clip=(8, 16, 16),
        model_channels=8,
        groups=4,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        attention=attention,
        zero_init=False,
        **settings,
    )
    torch.manual_seed(0)
    return config.build().eval()


def batches(cache: LatentCache, denoiser, share: float, **settings) -> LatentBatches:
    diffusion = Diffusion(**settings.pop("diffusion", {}))
    texts = [cache.caption(item) for item in range(len(cache))]
    encoder = WordCodes(states_width=16, tokens=24)
    return LatentBatches(
        *(cache, denoiser.spec, TrainingClip(stills=share, **settings), diffusion, LatentScaling()),
        seed=0,
        reads=denoiser.reads,
        captions=CachedStates(encoder.load(), texts),
    )


@pytest.mark.parametrize(
    ("network_settings", "settings"),
    [
        ({}, {}),
        ({"frame_times": True}, {"diffusion": {"time_per_frame": True}}),
        ({"mask_channel": True, "noise_classes": 16}, {"context": ContextPlan(noise_levels=4)}),
    ],
)
@torch.no_grad()
def test_each_samples_loss_is_that_of_its_own_batch(cache, network_settings, settings):
    denoiser = network(**network_settings)
    drawn = batches(cache, denoiser, 0.5, **settings)
    stills = [n for n in NUMBERS if drawn.clip.is_still(0, n)]
    clips = [n for n in NUMBERS if n not in stills]
    assert stills
    assert clips
    found = drawn(NUMBERS).losses(drawn.diffusion, denoiser)
    alone = torch.cat([drawn([n]).losses(drawn.diffusion, denoiser) for n in clips + stills])
    torch.testing.assert_close(found, alone)
    plain = batches(cache, denoiser, 0.0, **settings)
    expected = plain(clips).losses(plain.diffusion, denoiser)
    assert torch.equal(found[: len(clips)], expected)


def test_a_still_is_one_frame_of_the_clip_and_has_its_caption(cache: LatentCache):
    denoiser = network()
    drawn, plain = batches(cache, denoiser, 0.5), batches(cache, denoiser, 0.0)
    number = next(n for n in NUMBERS if drawn.clip.is_still(0, n))
    still, clip = drawn([number]), plain([number])
    assert still.z.shape == (1, 2, 1, 4, 4)
    assert any(torch.equal(still.z[:, :, 0], clip.z[:, :, frame]) for frame in range(4))
    assert torch.equal(still.t, clip.t)


def test_the_share_of_stills_is_kept():
    clip = TrainingClip(stills=0.25)
    share = sum(clip.is_still(0, number) for number in range(2000)) / 2000
    assert share == pytest.approx(0.25, abs=0.03)


def test_a_run_trains_on_clips_and_stills(tiny_autoencoder_folder: Path, tmp_path: Path):
    run = diffusion_run(tiny_autoencoder_folder, steps=1, batch=4)
    clip = run.clip.model_copy(update={"stills": 0.5})
    run = run.model_copy(update={"clip": clip})
    run.execute(tmp_path / "run", Ranks(), Callbacks())
    assert (tmp_path / "run" / "model").exists()
    with pytest.raises(ValueError, match="clips and stills are for one process, but there are 2"):
        run.execute(tmp_path / "two", Ranks(size=2), Callbacks())


def test_planes_have_no_stills(tiny_triplane_model: VideoModel):
    with pytest.raises(ValueError, match=r"clip.stills=0.5: latents of planes have no frames"):
        TrainingClip(stills=0.5).check(tiny_triplane_model.denoisers["first"])
