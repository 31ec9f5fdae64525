"""Official PVDM files, converted, compute what the official code computes."""

from pathlib import Path

import pytest
import torch
from conditions import NOTHING, predict, table_time
from einops import rearrange
from golden_case import Golden
from parity.recorded_noise import Recorded
from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoder
from longtake.convert.from_pvdm import read_pvdm
from longtake.diffusion import DDIM, ClipSampler
from longtake.diffusion.signals import previous_signal
from longtake.model import VideoModel


def written(folder: Path, name: str, case: Golden, *replaced: Golden) -> Path:
    """State dict of a case, some weights of it replaced, as the official code saves it."""
    state = case.weights()
    for other in replaced:
        state |= other.weights()
    torch.save(state, folder / name)
    return folder / name


def converted(folder: Path, autoencoder: Path, denoiser: Path | None = None) -> VideoModel:
    """The model after a way through its folder."""
    model = read_pvdm(autoencoder=autoencoder, denoiser=denoiser, heads=4)
    model.save_pretrained(folder / "ours")
    return VideoModel.from_pretrained(folder / "ours")


@torch.no_grad()
def test_an_autoencoder_encodes_and_decodes(golden, tmp_path):
    case = golden("pvdm/ae_t16_r32")
    autoencoder = written(tmp_path, "model_last.pth", case)
    model = converted(tmp_path, autoencoder=autoencoder).autoencoder
    assert isinstance(model, TriplaneAutoencoder)
    z = model.encode(case["in.video"]).mean
    content, motion_h, motion_w = (plane.flatten(2) for plane in model.config.planes.split(z))
    atol = case.info["tolerance"]
    official = torch.cat([content, motion_w, motion_h], 2)
    torch.testing.assert_close(official, case["out.packed"], atol=atol["packed"], rtol=0)
    frames = rearrange(model.decode(z), "b c t h w -> (b t) c h w")
    torch.testing.assert_close(frames, case["out.recon"], atol=atol["recon"], rtol=0)


@torch.no_grad()
def test_a_unet_predicts(golden, tmp_path):
    case = golden("pvdm/unet_cond_tiny")
    model = converted(
        tmp_path,
        autoencoder=written(tmp_path, "model_last.pth", golden("pvdm/ae_geom256")),
        denoiser=written(tmp_path, "ema_model_1.pth", case),
    )
    t, signals = table_time(case["in.t"]), previous_signal(case["in.cond"])
    case.close("eps_cond", predict(model.denoisers["first"], case["in.x"], t, signals))


@pytest.mark.slow
def test_a_converted_model_samples_the_official_trajectory(golden, tmp_path):
    case = golden("pvdm/ddpm_ddim")
    model = converted(
        tmp_path,
        autoencoder=written(tmp_path, "model_last.pth", golden("pvdm/ae_geom256")),
        denoiser=written(tmp_path, "model_1.pth", golden("pvdm/ddpm_train"), case),
    )
    denoiser, diffusion, sampler = (
        model.denoisers["first"],
        model.index.diffusion,
        model.index.sampling.sampler,
    )
    assert denoiser is not None
    assert diffusion is not None
    assert isinstance(sampler, DDIM)
    states: list[Tensor] = []
    denoiser.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
    clips = ClipSampler(
        denoiser=denoiser, diffusion=diffusion, sampler=sampler.model_copy(update={"steps": 10})
    )
    start, fresh = case["in.eta1_uncond.x_T"], case["in.eta1_uncond.step_noise"].unsqueeze(1)
    z = clips.sample(NOTHING, Recorded([start, *fresh]))
    atol, want = case.info["tolerance"], case["out.eta1_uncond.x_traj"]
    torch.testing.assert_close(torch.cat(states), want, atol=atol["x_traj"], rtol=0)
    torch.testing.assert_close(z, case["out.eta1_uncond.z"], atol=atol["z"], rtol=0)
