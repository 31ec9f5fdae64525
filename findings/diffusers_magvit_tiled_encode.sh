#!/usr/bin/env bash
# diffusers 0.42.1: EasyAnimate's autoencoder, with tiling, encodes tiles of large frames to the wrong place.
#
# Expected: `vae.enable_tiling()` encodes overlapping tiles and blends them, so latent column j shows the pixels around
#   column 8 j, nearly as without tiling, in `AutoencoderKLMagvit` as in the other video autoencoders.
# Happens: `tiled_encode` (models/autoencoders/autoencoder_kl_magvit.py) joins the tiles without cutting them to their stride
#   (it cuts them to the size of the whole). Every tile after the first comes too far right, or down, by the overlap of
#   all tiles before it, and what is too much is cut off at the right and at the bottom. The shape is right. There is
#   no error and no warning. `tiled_decode` is as it should be.
# Seen (frames of 64 x 1536, default tiles of 512 with a stride of 448; which column of the whole is most like each
#   latent column of the tiled; those at the seams, which are like none, left out):
#     tiled     0 to 61     64 to 124     128 to 189
#     whole     0 to 61     56 to 116     112 to 173
#   Decoded with tiling, every one of the 1536 columns is most like itself.
# Consequence: latents of frames wider or higher than 512 repeat 64 pixels at each seam and lack as many at the edge.
#   Image-to-video, inpainting and control start from shifted pictures with a seam, and cached latents of a data set
#   are spoiled for training.
# Way around: encode without tiling (`vae.use_tiling = False`) and decode with it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import torch
from diffusers import AutoencoderKLMagvit

COLUMNS = 1536 // 8


def nearest(found, wanted):
    """Column of `wanted` that is most like each column of `found`."""
    return (found[..., :, None] - wanted[..., None, :]).abs().mean((0, 1, 2, 3)).argmin(1)


torch.manual_seed(0)
vae = AutoencoderKLMagvit(latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=4).eval()
assert vae.spatial_compression_ratio == 8
assert vae.tile_sample_min_width == 512 and vae.tile_sample_stride_width == 448
video = torch.randn(1, 3, 1, 64, 8 * COLUMNS)
with torch.no_grad():
    whole = vae.encode(video).latent_dist.mode()
    decoded = vae.decode(whole).sample
    vae.enable_tiling()
    tiles = vae.encode(video).latent_dist.mode()
    tiles_decoded = vae.decode(whole).sample
assert whole.shape == tiles.shape and whole.shape[-1] == COLUMNS
columns = nearest(tiles, whole)
for first, last, shift in ((0, 61, 0), (64, 124, 8), (128, 189, 16)):
    part = columns[first : last + 1]
    print(f"tiled latent columns {first} to {last} are most like {part[0]} to {part[-1]} of the whole")
    assert torch.equal(part, torch.arange(first, last + 1) - shift)
same = nearest(tiles_decoded, decoded) == torch.arange(8 * COLUMNS)
print(f"decoded: {same.sum()} of {len(same)} columns are most like themselves")
assert same.all()
print("as described: tiles in the wrong place")
PY
