#!/usr/bin/env bash
# diffusers 0.42.1: FreeInit with Euler or LMS gives the network low frequencies 25 times too large and almost no high ones.
#
# Expected: FreeInit (Wu et al. 2023, section 4) noises the video to the last timestep with its first noise, replaces
#   the high frequencies by new Gaussian noise and samples again: every iteration starts from noise like the first.
#   AnimateDiffPipeline's signature names the Euler, Euler ancestral and LMS schedulers, and `enable_free_init`
#   warns of none.
# Happens: the kept noise is the first latents, multiplied by `init_noise_sigma` already; `add_noise` of these
#   schedulers multiplies it by sigma once more, and the new noise of the high frequencies is never multiplied.
#   DDIM, PNDM, DPM-Solver and UniPC, whose first latents have std 1, are right.
# Seen (16 frames of 32 x 32 latents, AnimateDiff's noise schedule, a network that is exact for videos of zeros; std of
#   its input in the first step of an iteration, which is 1 in training):
#                                    first: low   high    second: low   high
#     DDIM, PNDM, DPM-Solver, UniPC         1.0    1.0            1.0    1.0
#     Euler, Euler ancestral, LMS           1.0    1.0           25.5    0.04
# Consequence: FreeInit, made to close a gap between training and sampling at the start, opens a large one: from the
#   second iteration on the network sees what it never saw. With `num_iters=1` all is right, and 3 is the default.
# Way around: FreeInit with `DDIMScheduler` or `DPMSolverMultistepScheduler`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 \
    scipy==1.17.1 pillow==13.0.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
from types import SimpleNamespace

import diffusers
import torch
from diffusers import AnimateDiffPipeline, AutoencoderKL, UNetMotionModel

BETAS = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}
VARIANCES = 1 - (1 - torch.linspace(0.00085, 0.012, 1000, dtype=torch.float64)).cumprod(0)


class Zeros(UNetMotionModel):
    """Predicts the noise exactly for videos of zeros, and keeps its inputs."""

    def forward(self, sample, timestep, **options):
        self.inputs.append(sample)
        return SimpleNamespace(sample=sample / VARIANCES[round(float(timestep))].sqrt().item())


unet = Zeros(
    sample_size=32, block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=2,
    down_block_types=("DownBlockMotion", "DownBlockMotion"), up_block_types=("UpBlockMotion", "UpBlockMotion"),
    cross_attention_dim=8, num_attention_heads=2, motion_num_attention_heads=2, motion_max_seq_length=16,
)
vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=2)


def stds(latents):
    """Of the lowest and of the highest frequencies along frames, height and width."""
    power = torch.fft.fftn(latents, dim=(2, 3, 4), norm="ortho").abs().square()
    return power[..., :2, :2, :2].mean().sqrt().item(), power[..., 8, 12:21, 12:21].mean().sqrt().item()


def starts(kind):
    """Low and high frequencies of the network's first input in each of two iterations."""
    pipe = AnimateDiffPipeline(
        vae=vae, text_encoder=None, tokenizer=None, unet=unet, motion_adapter=None,
        scheduler=getattr(diffusers, kind)(**BETAS),
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.enable_free_init(num_iters=2)
    unet.inputs = []
    pipe(
        prompt_embeds=torch.zeros(1, 4, 8), num_frames=16, height=32, width=32, guidance_scale=1.0,
        num_inference_steps=10, output_type="latent", generator=torch.Generator().manual_seed(0),
    )
    first, second = stds(unet.inputs[0]), stds(unet.inputs[len(unet.inputs) // 2])
    print(f"{kind:32} first {first[0]:5.2f} {first[1]:5.2f}   second {second[0]:5.2f} {second[1]:5.2f}")
    assert all(0.9 < std < 1.1 for std in first)
    return second


for kind in ("DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"):
    assert all(0.9 < std < 1.1 for std in starts(kind))
for kind in ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "LMSDiscreteScheduler"):
    low, high = starts(kind)
    assert 20 < low < 30 and high < 0.1
print("as described: noise of the wrong size in the second iteration")
PY
