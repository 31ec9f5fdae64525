"""Video models of image models: their first videos are the image model's images, frame by frame.

What diffusers takes seconds to import is imported by the tests, as each worker of pytest-xdist
imports this file.
"""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from convert import tiny_image_model
from mutations import COUNT, Tally, changed, torn
from torch import Tensor

from longtake.checkpoint import CheckpointError
from longtake.config import ConfigError
from longtake.convert.from_image_model import SPATIAL, Clips, read_image_model, unet_config
from longtake.denoisers.volume_unet import VolumeUNet
from longtake.diffusion import DDIM, ClipSampler
from longtake.diffusion.signals import text_signal
from longtake.meta_device import build_empty
from longtake.model import VideoModel
from longtake.noise import SampleNoise
from longtake.rollout import Request

CLIPS = Clips(frames=3, height=16, width=24)
SD_1 = {
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
    "layers_per_block": 2,
}
SD_2 = SD_1 | {
    "attention_head_dim": [5, 10, 20, 20],
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
OFFICIAL, OFFICIAL_IMAGE = 958_924_964, 859_520_964


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion model of some thousand random weights."""
    return tiny_image_model.write(tmp_path_factory.mktemp("images"))


def image(folder: Path, noise: Tensor, text: Tensor, steps: int) -> Tensor:
    """An image's latent, as diffusers samples it."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    unet: Any = UNet2DConditionModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False)
    scheduler: Any = DDIMScheduler.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        noise = scheduler.step(unet(noise, t, text).sample, t, noise).prev_sample
    return noise


@torch.no_grad()
def test_the_first_sample_is_the_image_models_in_every_frame(folder: Path):
    model = read_image_model(folder, clips=CLIPS)
    denoiser, text = model.denoisers["first"], torch.randn(1, 5, 6)
    assert model.index.diffusion is not None
    sampler = ClipSampler(
        denoiser=denoiser, diffusion=model.index.diffusion, sampler=DDIM(steps=4, grid="leading")
    )
    assert denoiser.spec.shape == (4, 3, 8, 12)
    video = sampler.sample(text_signal(text), SampleNoise([7]))
    noise = SampleNoise([7]).normal(denoiser.spec.shape)
    for frame in range(3):
        alone = image(folder, noise[:, :, frame], text, 4)
        torch.testing.assert_close(video[:, :, frame], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_frames_are_decoded_as_images(folder: Path):
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    vae: Any = AutoencoderKL.from_pretrained(folder / "vae", low_cpu_mem_usage=False)
    z, model = torch.randn(1, 4, 3, 8, 12), read_image_model(folder, clips=CLIPS)
    found = model.autoencoder.decode(z)
    for frame in range(3):
        torch.testing.assert_close(found[:, :, frame], vae.decode(z[:, :, frame]).sample)


def test_equal_calls_make_equal_models(folder: Path):
    one, other = (
        read_image_model(folder, clips=CLIPS).denoisers["first"].state_dict() for _ in range(2)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_training_moves_what_works_across_frames(folder: Path):
    denoiser = read_image_model(folder, clips=CLIPS).denoisers["first"]
    assert isinstance(denoiser, VolumeUNet)
    signals = {"text": torch.randn(1, 5, 6)}
    z, t = torch.randn(1, 4, 3, 8, 12), torch.tensor([0.5])
    denoiser(z, t, denoiser.prepare(signals, lambda t: 999 * t)).square().mean().backward()
    for name, weight in denoiser.named_parameters():
        if name.endswith(("temporal.to_out.weight", "temporal_again.to_out.bias")):
            assert weight.grad is not None
            assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize(("settings", "width"), [(SD_1, 768), (SD_2, 1024)])
def test_stable_diffusion_makes_the_official_text_to_video_model(settings: dict, width: int):
    config = unet_config(settings, (4, 16, 32, 32), Clips())
    network = build_empty(config)
    sizes = {name: weight.numel() for name, weight in network.named_parameters()}
    image = sum(sizes[name] for name in SPATIAL.names(config))
    assert network.text_width == width
    if settings is SD_1:
        assert (sum(sizes.values()), image) == (OFFICIAL, OFFICIAL_IMAGE)


def test_the_command_makes_a_model_that_makes_videos(longtake, folder: Path, tmp_path: Path):
    out = tmp_path / "model"
    sizes = ("--frames", 3, "--size", "16x24", "--fps", 5)
    called = longtake("convert", "image", folder, *sizes, "-o", out)
    assert called.code == 0, called.err
    model = VideoModel.from_pretrained(out)
    assert model.index.fps == 5
    signals = text_signal(torch.randn(1, 5, 6))  # text of this width has no known encoder
    sampling = model.index.sampling.model_copy(update={"sampler": DDIM(steps=1)})
    parts = model.long_video(sampling)(Request(seeds=(0,), signals=signals), 3)
    assert torch.cat([part.pixels for part in parts], 2).shape == (1, 3, 3, 16, 24)


def _broken(folder: Path, out: Path, name: str, **changes: Any) -> Path:
    """A copy of the model, some settings of one network changed; None removes the file."""
    shutil.copytree(folder, out)
    path = out / name
    if changes:
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    else:
        path.unlink()
    return out


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "unet/config.json",
            {},
            "unet: has no config.json; expected a folder of a UNet2DCondition",
        ),
        (
            "unet/config.json",
            {"_class_name": "SD3"},
            "is of a SD3, expected a UNet2DConditionModel",
        ),
        ("unet/config.json", {"act_fn": "gelu"}, "act_fn is 'gelu', expected 'silu' as in SD 1"),
        (
            "unet/config.json",
            {"attention_head_dim": [2, 3]},
            "expected one number of heads for",
        ),
        (
            "unet/config.json",
            {"up_block_types": ["UpBlock2D"] * 2},
            "expected .* CrossAttnUpBlock2D",
        ),
        ("unet/config.json", {"in_channels": 9}, "but latents of the autoencoder have 4 channels"),
        ("unet/config.json", {"cross_attention_dim": 8}, "unet: is not a whole UNet2DCondition"),
        ("unet/diffusion_pytorch_model.safetensors", {}, "unet: is not a whole UNet2DCondition"),
        ("vae/config.json", {}, "vae: has no config.json; expected a folder of a AutoencoderKL"),
        ("vae/config.json", {"use_quant_conv": False}, "use_quant_conv is False, expected True"),
        ("vae/config.json", {"layers_per_block": 1 << 40}, "vae.config.json: no network has these"),
        ("vae/config.json", {"latent_channels": 5}, "its files have .* config.json asks for"),
        (
            "scheduler/scheduler_config.json",
            {"beta_schedule": "linear"},
            "beta_schedule is 'linear'",
        ),
    ],
)
def test_what_is_not_such_a_model_is_one_sentence(
    folder: Path, tmp_path: Path, name: str, changes: dict, message: str
):
    broken = _broken(folder, tmp_path / "broken", name, **changes)
    with pytest.raises((CheckpointError, ConfigError), match=message):
        read_image_model(broken, clips=CLIPS)


def test_image_models_with_broken_files_are_refused(folder: Path, tmp_path: Path, tally: Tally):
    draw, out = random.Random(9), tmp_path / "broken"
    for number in range(COUNT // 4):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(folder, out)
        path = draw.choice(sorted(p for p in out.rglob("*") if p.is_file()))
        if path.suffix == ".json" and number % 4:
            path.write_text(json.dumps(changed(json.loads(path.read_text()), draw)))
        else:
            path.write_bytes(torn(path.read_bytes(), draw))
        if (model := tally(lambda: read_image_model(out, clips=CLIPS))) is not None:
            states = [part.state_dict().values() for part in model.components.values()]
            assert all(bool(tensor.isfinite().all()) for state in states for tensor in state)


def test_a_schedule_of_zero_terminal_snr_is_kept(folder: Path, tmp_path: Path):
    changes = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    scheduler = "scheduler/scheduler_config.json"
    rescaled = _broken(folder, tmp_path / "rescaled", scheduler, **changes)
    diffusion = read_image_model(rescaled, clips=CLIPS).index.diffusion
    assert diffusion is not None
    assert diffusion.schedule.ends_in_noise
    assert diffusion.prediction == "v"


def test_a_unet_alone_takes_the_autoencoder_of_a_model(folder: Path):
    model = read_image_model(folder, clips=CLIPS)
    alone = read_image_model(folder / "unet", model=model, clips=CLIPS)
    assert alone.autoencoder is model.autoencoder
    with pytest.raises(ValueError, match="is a UNet alone; give a model that has its autoencoder"):
        read_image_model(folder / "unet", clips=CLIPS)
    with pytest.raises(ValueError, match="has its own autoencoder beside the UNet; leave out"):
        read_image_model(folder, model=model, clips=CLIPS)
