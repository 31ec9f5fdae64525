#!/usr/bin/env bash
# diffusers 0.42.1: three video autoencoders ignore the last frames of a clip, without a word.
#
# Expected: `vae.encode(video)` of a number of frames that the temporal compression cannot
#   represent raises an error (as it does for the wrong number of channels) or pads; the pages of
#   AutoencoderKLWan, AutoencoderKLLTXVideo and AutoencoderKLMochi
#   (https://huggingface.co/docs/diffusers/api/models/autoencoder_kl_wan and its neighbours) name no
#   condition on the number of frames.
# Happens: they encode 1 + 4 k frames (Mochi: 1 + 6 k) and drop the rest. Of the 16 frames that
#   are the usual clip of video diffusion, Wan and LTX read 13 and Mochi 13; the latents are
#   those of the clip without its end, and decoding gives 13 frames. Of 4 frames they read 1: a
#   picture, no video.
# Seen (frames given -> decoded; frames that the latents do not depend on):
#     Wan    16 -> 13  [13, 14, 15]     4 -> 1  [1, 2, 3]
#     LTX    16 -> 13  [13, 14, 15]     4 -> 1  [1, 2, 3]
#     Mochi  16 -> 13  [13, 14, 15]     6 -> 1  [1, 2, 3, 4, 5]
# Consequence: latents that are cached for training lack the end of every clip, so captions,
#   actions and frame numbers no longer fit; a reconstruction loss or PSNR fails on shapes at best,
#   and with `video[:, :, : decoded.shape[2]]`, a common cure, passes while 3 of 16 frames were never
#   seen; chunked encoding of a long film in clips of 16 loses a fifth of it.
# Way around: cut clips to 4 k + 1 (Mochi: 6 k + 1) frames, or repeat the last frame up to that, and
#   assert that `decode(encode(x))` has as many frames as x.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLMochi, AutoencoderKLWan

torch.manual_seed(0)
networks = {
    "Wan": AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True], latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    ),
    "LTX": AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
        layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 5,
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False,) * 5, patch_size=1,
    ),
    "Mochi": AutoencoderKLMochi(
        latent_channels=4, encoder_block_out_channels=(32,) * 4,
        decoder_block_out_channels=(32,) * 4, layers_per_block=(1,) * 5,
    ),
}
for name, vae in networks.items():
    vae.eval()
    step = 6 if name == "Mochi" else 4
    for frames in (16, step):
        kept = 1 + (frames - 1) // step * step
        video = torch.randn(1, 3, frames, 32, 32, requires_grad=True)
        latents = vae.encode(video).latent_dist.mode()
        (slope,) = torch.autograd.grad(latents.square().sum(), video)
        unread = [i for i in range(frames) if not slope[:, :, i].any()]
        with torch.no_grad():
            decoded = vae.decode(latents).sample.shape[2]
            shorter = vae.encode(video[:, :, :kept]).latent_dist.mode()
        print(f"{name:6} {frames:2} frames -> {decoded:2} decoded; never read: {unread}")
        assert decoded == kept and unread == list(range(kept, frames))
        assert torch.allclose(shorter, latents, atol=1e-4)
print("as described: the end of the clip is dropped")
PY
