#!/usr/bin/env bash
# diffusers 0.42.1: LTX-Video decoded in parts of time is one frame late after the first part, and lacks its last frame.
#
# Expected: `vae.use_framewise_decoding = True` decodes a long video in overlapping parts to save memory, as
#   AutoencoderKLHunyuanVideo does by default. Frame k of it is frame k of the whole, nearly, with differences at the seams.
# Happens: a part that begins at latent frame i decodes to frames 8 i, 8 i + 1 and so on. The part before ends with
#   frame 8 i, so the first must be left out. `_temporal_tiled_decode` leaves out the last one instead, and frame 8 i comes
#   at the place of frame 8 i + 1. (AutoencoderKLHunyuanVideo's leaves out the first.) The number of frames is right,
#   and there is no warning.
# Seen (6 latent frames, 41 frames; which frame of the whole is nearest to each frame decoded in parts):
#     frames 0 to 8      the same
#     frames 17 to 40    the one before, in all 24
# Consequence: from the second part on a video lags one frame behind its sound, actions, camera path or control frames,
#   and its last frame, which may have been given as a condition, is not there. PSNR and losses against the whole or
#   the original are those of a moved video.
# Way around: leave `use_framewise_decoding` off, as it is by default.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import torch
from diffusers import AutoencoderKLLTXVideo

torch.manual_seed(0)
vae = AutoencoderKLLTXVideo(
    latent_channels=8, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4, layers_per_block=(1,) * 5,
    decoder_layers_per_block=(1,) * 5, decoder_inject_noise=(False,) * 5, patch_size=1,
).eval()
assert vae.temporal_compression_ratio == vae.tile_sample_stride_num_frames == 8
latents = torch.randn(1, 8, 6, 2, 2)
with torch.no_grad():
    whole = vae.decode(latents).sample
    vae.use_framewise_decoding = True
    parts = vae.decode(latents).sample
assert whole.shape == parts.shape and whole.shape[2] == 41
nearest = (whole[:, :, :, None] - parts[:, :, None]).abs().mean((0, 1, 4, 5)).argmin(0)
print("nearest frame of the whole:", nearest.tolist())
assert nearest[:9].tolist() == list(range(9))
assert nearest[17:].tolist() == list(range(16, 40))
print("as described: one frame late")
PY
