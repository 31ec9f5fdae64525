#!/usr/bin/env bash
# MONAI 1.6.1: after one training step under autocast a scheduler samples NaN.
#
# Expected: `add_noise` noises a batch and leaves the scheduler as it was, so one scheduler serves training in mixed
#   precision and validation by sampling.
# Happens: `Scheduler.add_noise` and `get_velocity` (monai/networks/schedulers/scheduler.py) convert the scheduler's own
#   `alphas_cumprod` to the type of the batch and keep it so. Under autocast the latents of an autoencoder are float16 or
#   bfloat16; 1 - alphas_cumprod is then 0 at the first timesteps, and stays 0 for later batches in float32. The last
#   steps of DDPM and DDIM divide by it. diffusers, whose code it is, had the same and mended it in 2023
#   (https://github.com/huggingface/diffusers/pull/3005).
# Seen (1 - alphas_cumprod after `add_noise` in half precision and again in float32):
#     timestep                     0         5        20    timesteps with 0
#     before                  0.00010   0.00090   0.00626          0
#     after float16           0         0.00098   0.00635          2
#     after bfloat16          0         0         0.00781         10
#   LatentDiffusionInferer with AutoencoderKL, one training step, then samples in float32 with the same scheduler,
#   DDPM and DDIM: finite without autocast, all NaN after autocast to bfloat16.
# Consequence: black or empty validation samples from a network that is well. A new process that only samples is right, so
#   it cannot be reproduced from the checkpoint. In bfloat16, training goes on with noise levels rounded to 1/256.
# Way around: a new scheduler for sampling; in a training loop by hand, `latents.float()` before `add_noise`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 monai==1.6.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import torch
from monai.inferers import DiffusionInferer, LatentDiffusionInferer
from monai.networks.nets import AutoencoderKL
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler

torch.manual_seed(0)
autoencoder = AutoencoderKL(
    spatial_dims=3, in_channels=1, out_channels=1, channels=(4, 4), num_res_blocks=1, attention_levels=(False, False),
    norm_num_groups=2, latent_channels=2, with_encoder_nonlocal_attn=False, with_decoder_nonlocal_attn=False,
)


def network(x, timesteps, context=None):
    """Predicts a part of its input as noise: finite for finite inputs."""
    return 0.9 * x


def trained_then_sampled(kind, autocast):
    scheduler = kind(num_train_timesteps=1000)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        noise = torch.randn(2, 2, 4, 4, 4)
        LatentDiffusionInferer(scheduler)(
            inputs=torch.rand(2, 1, 8, 8, 8), autoencoder_model=autoencoder, diffusion_model=network, noise=noise,
            timesteps=torch.tensor([10, 500]),
        )
    levels = [(1 - scheduler.alphas_cumprod[t]).item() for t in (0, 5, 20)]
    if kind is DDIMScheduler:
        scheduler.set_timesteps(50)
    samples = DiffusionInferer(scheduler).sample(torch.randn(2, 2, 4, 4, 4), network, verbose=False)
    print(f"{kind.__name__}, autocast {autocast}: {levels}, NaN: {samples.isnan().float().mean().item():.0%}")
    return scheduler.alphas_cumprod.dtype, levels, samples


for half in (torch.float16, torch.bfloat16):
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    left = [1 - scheduler.alphas_cumprod]
    for dtype in (half, torch.float32):
        batch = torch.zeros(2, 1, 4, 4, dtype=dtype)
        scheduler.add_noise(batch, batch, timesteps=torch.tensor([10, 500]))
        left.append(1 - scheduler.alphas_cumprod)
    assert left[-1].dtype == torch.float32 and (left[0] > 0).all()
    for name, levels in (("before", left[0]), (f"after {half}", left[-1])):
        print(f"{name:20}", *(f"{levels[t].item():9.5f}" for t in (0, 5, 20)), f"zeros: {(levels == 0).sum().item()}")
    assert (left[-1] == 0).sum() > 1

for kind in (DDPMScheduler, DDIMScheduler):
    dtype, levels, samples = trained_then_sampled(kind, False)
    assert dtype == torch.float32 and min(levels) > 0 and samples.isfinite().all()
    dtype, levels, samples = trained_then_sampled(kind, True)
    assert dtype == torch.bfloat16 and levels[:2] == [0, 0] and samples.isnan().all()
print("as described: NaN after autocast")
PY
