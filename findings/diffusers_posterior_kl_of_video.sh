#!/usr/bin/env bash
# diffusers 0.42.1: the KL term of a video's posterior is one number per column of its latents, and its mean too small.
#
# Expected: `autoencoder.encode(x).latent_dist.kl()` is the KL divergence of each item of the batch from a
#   standard normal, of shape (batch,), as it is for images; `.kl().mean()` is the KL term of the loss
#   (https://huggingface.co/docs/diffusers/api/models/autoencoderkl, Rombach et al. 2022, appendix G).
# Happens: `DiagonalGaussianDistribution.kl` sums dimensions 1, 2 and 3. Latents of a video have a fifth:
#   (batch, channels, frames, height, width) is summed over all but the width, into (batch, width).
#   So are `kl(other)` and `nll`. All autoencoders of videos give this class. No error.
# Seen (batch of 2, videos of 5 frames of 16 x 48 pixels, latents 6 columns wide; random weights):
#                                  latents          kl()    kl().mean()  torch.distributions
#     AutoencoderKL            (2, 4, 16, 48)       (2,)         220.64               220.64
#     AutoencoderKLCogVideoX   (2, 4, 2, 2, 6)    (2, 6)           1.04                 6.26
#     AutoencoderKLWan         (2, 16, 2, 2, 6)   (2, 6)           0.62                 3.73
#     AutoencoderKLHunyuanVideo (2, 4, 2, 2, 6)   (2, 6)           1.19                 7.14
# Consequence: a video autoencoder trained with `reconstruction + kl_weight * posterior.kl().mean()` has its
#   KL term divided by the width of the latents: with clips 256 pixels wide and a factor of 8 by 32. The KL
#   weight of an image autoencoder does not carry over, a change of the clips' width changes
#   it again (their height does not), and logged values do not compare with published ones. Weights for each
#   video, of shape (batch,), are applied to columns where the width happens to equal the batch.
# Way around: `posterior.kl().sum() / len(x)`, or `.kl().flatten(1).sum(1)` for one number per video.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import torch
from diffusers import AutoencoderKL, AutoencoderKLCogVideoX, AutoencoderKLHunyuanVideo, AutoencoderKLWan
from torch.distributions import Normal, kl_divergence

BATCH, COLUMNS = 2, 6


def divergence(autoencoder, *size):
    """Shape and mean of `kl()`, and the mean that torch.distributions gives."""
    with torch.no_grad():
        posterior = autoencoder.eval().encode(torch.randn(BATCH, 3, *size)).latent_dist
    kl = posterior.kl()
    exact = kl_divergence(Normal(posterior.mean, posterior.std), Normal(0.0, 1.0)).flatten(1).sum(1)
    name, latents = type(autoencoder).__name__, tuple(posterior.mean.shape)
    print(f"{name:26}{latents!s:19}{tuple(kl.shape)!s:8}{kl.mean():10.2f}{exact.mean():10.2f}")
    assert torch.allclose(kl.sum() / BATCH, exact.mean(), rtol=1e-4)
    assert posterior.nll(posterior.mean).shape == posterior.kl(posterior).shape == kl.shape
    return kl.shape, (exact.mean() / kl.mean()).item()


torch.manual_seed(0)
image = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4)
videos = [
    AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8,) * 4, layers_per_block=1, latent_channels=4, norm_num_groups=2,
    ),
    AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
    AutoencoderKLHunyuanVideo(
        block_out_channels=(8,) * 4, layers_per_block=1, latent_channels=4, norm_num_groups=2
    ),
]
shape, ratio = divergence(image, 16, 48)
assert shape == (BATCH,) and abs(ratio - 1) < 1e-4
for video in videos:
    shape, ratio = divergence(video, 5, 16, 48)
    assert shape == (BATCH, COLUMNS) and abs(ratio - COLUMNS) < 1e-3
print("as described: the KL term of a video is divided by the width of its latents")
PY
