#!/usr/bin/env bash
# diffusers 0.42.1: four schedulers add the noise of the opposite timestep when used for training.
#
# Expected: `scheduler.add_noise(samples, noise, timesteps)` noises each sample to the level of its
#   timestep, so every scheduler with the same betas that follows a variance-preserving path gives
#   the result of DDPMScheduler. The training tutorial
#   (https://huggingface.co/docs/diffusers/tutorials/basic_training) calls it on a fresh scheduler,
#   without `set_timesteps`, and the scheduler page
#   (https://huggingface.co/docs/diffusers/api/schedulers/overview) presents schedulers as
#   interchangeable.
# Happens: on a scheduler as it is built, DPMSolverMultistep, DPMSolverSinglestep, DEISMultistep and
#   UniPCMultistep use the level of 999 - t: timestep 0 is nearly pure noise, timestep 999 nearly
#   clean. Their list of timesteps falls, their table of noise levels rises until `set_timesteps` is
#   called, and `add_noise` looks up the position in the first to read the second.
# Seen (share of noise at t = 0, 250, 999):
#     DDPMScheduler                0.029  0.571  0.998
#     DPMSolverMultistepScheduler  0.998  0.971  0.029
# Consequence: who loads a pipeline's own scheduler (DPM++ or UniPC in many repositories) and trains
#   or fine-tunes with it teaches the network wrong noise levels: the loss is finite and falls, the
#   samples are bad. Augmentation of context frames by `add_noise` is wrong in the same way.
# Way around: train with `DDPMScheduler.from_config(scheduler.config)`, or check
#   `add_noise(0 * x, noise, t)` against `sqrt(1 - alphas_cumprod[t])` once.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import diffusers
import torch

diffusers.utils.logging.set_verbosity_error()
t = torch.tensor([0, 250, 999])
noise = torch.ones(3, 1, 2, 2)


def share_of_noise(name):
    scheduler = getattr(diffusers, name)(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    )
    noised = scheduler.add_noise(torch.zeros_like(noise), noise, t)[:, 0, 0, 0]
    print(f"{name:30}", *(f"{x:.3f}" for x in noised.tolist()))
    return noised, scheduler


right, ddpm = share_of_noise("DDPMScheduler")
assert torch.allclose(right, (1 - ddpm.alphas_cumprod[t]).sqrt())
for name in ("DDIMScheduler", "LCMScheduler", "SASolverScheduler"):
    assert torch.allclose(share_of_noise(name)[0], right, atol=1e-5)
opposite = (1 - ddpm.alphas_cumprod[999 - t]).sqrt()
for name in (
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler",
    "UniPCMultistepScheduler",
):
    assert torch.allclose(share_of_noise(name)[0], opposite, atol=1e-5)
print("as described: four schedulers add the noise of 999 - t")
PY
