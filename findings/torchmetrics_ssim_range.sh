#!/usr/bin/env bash
# torchmetrics 1.9.0: SSIM of images in [-1, 1] is another number, though their range is given.
#
# Expected: `structural_similarity_index_measure(x, y, data_range=(-1.0, 1.0))` says where values
#   lie, so it gives what the same images give in [0, 1] with (0.0, 1.0), as
#   `peak_signal_noise_ratio` with the same argument does. The page
#   (https://lightning.ai/docs/torchmetrics/stable/image/structural_similarity.html) says of the pair
#   that its difference is the range and that values are clamped, and not that its lower end is lost.
# Happens: the lower end is only clamped to, never subtracted. The luminance term of SSIM compares
#   means relative to their size and so needs values from 0 (black); around 0 (here: middle grey) it
#   collapses. Outputs of diffusion models and autoencoders lie in [-1, 1].
# Seen (one image, and the same 0.03 brighter):
#     [0, 1] with (0, 1)      SSIM 0.998
#     [-1, 1] with (-1, 1)    SSIM 0.073    PSNR is the same in both
#     flat grey, 127 against 129 of 255: 1.000 and 0.556
# Consequence: tables with SSIM of reconstructions in [-1, 1] are too low, most in grey pictures
#   (fog, roads), rank methods by the brightness of their data, and cannot be compared with
#   anybody's. As a training loss it punishes an invisible shift of grey most of all.
# Way around: `(x + 1) / 2` first, with `data_range=1.0`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 torchmetrics==1.9.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import torch
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as psnr,
    structural_similarity_index_measure as ssim,
)

UNIT, SIGNED = (0.0, 1.0), (-1.0, 1.0)
x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
pairs = {
    "an image, 0.03 brighter": (x, x + 0.03),
    "flat 127, flat 129": tuple(torch.full((1, 1, 32, 32), v / 255) for v in (127, 129)),
}
for name, (a, b) in pairs.items():
    unit = ssim(a, b, data_range=UNIT).item(), psnr(a, b, data_range=UNIT).item()
    a, b = 2 * a - 1, 2 * b - 1
    signed = ssim(a, b, data_range=SIGNED).item(), psnr(a, b, data_range=SIGNED).item()
    print(f"{name:24} SSIM {unit[0]:.3f} in [0, 1], {signed[0]:.3f} in [-1, 1];"
          f" PSNR {unit[1]:.2f}, {signed[1]:.2f}")
    assert unit[0] > 0.99 and signed[0] < 0.6
    assert abs(unit[1] - signed[1]) < 0.01
print("as described: the lower end of the range is not subtracted")
PY
