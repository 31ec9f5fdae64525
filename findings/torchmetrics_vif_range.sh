#!/usr/bin/env bash
# torchmetrics 1.9.0: VIF of images in [0, 1] does not see noise.
#
# Expected: `visual_information_fidelity(preds, target)` takes images as floats in [0, 1], as users of the
#   PSNR and SSIM beside it have them, and falls with noise. Its page
#   (https://lightning.ai/docs/torchmetrics/stable/image/visual_information_fidelity.html) states the shape and
#   no range, and there is no `data_range`. The page's example has values of a normal distribution.
# Happens: `sigma_n_sq=2.0`, the noise of the eye, is a variance in levels of 0 to 255. Against images in
#   [0, 1] it is more than any variance of theirs, so the variance of the distortion is lost beside it: what is
#   left is how far the contrast of the reference is kept. Nothing is raised and no value looks odd: most are
#   between 0 and 1, and the same image gives 1.
# Seen (an image with the spectrum of natural ones, std 50 of 255):
#                                            in [0, 255]    in [0, 1]
#     the same                                  1.000         1.000
#     noise of std 10                           0.489         1.001
#     noise of std 50                           0.134         1.004
#     the same noisy image after a blur         0.151         0.218
#     a blur                                    0.216         0.213
# Consequence: in tables of reconstructions or of restored video the noisiest method has the best VIF, above
#   that of the reference itself, and a denoiser makes it worse. As a loss it asks for contrast and lets
#   noise pass. Numbers cannot be compared with those of a paper.
# Way around: both images times 255, or `sigma_n_sq=2 / 255**2`; for [-1, 1], `sigma_n_sq=2 / 127.5**2`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 torchmetrics==1.9.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import torch
from torch.nn.functional import avg_pool2d
from torchmetrics.functional.image import visual_information_fidelity as vif

SIDE = 256
g = torch.Generator().manual_seed(0)
frequency = torch.hypot(torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE))
frequency[0, 0] = 1.0
spectrum = torch.fft.rfft2(torch.randn(1, 1, SIDE, SIDE, generator=g)) / frequency
image = torch.fft.irfft2(spectrum)
image = ((image - image.mean()) / image.std() * 50 + 128).clamp(0, 255)
noise = torch.randn(image.shape, generator=g)


def blur(x):
    return avg_pool2d(x, 5, stride=1, padding=2, count_include_pad=False)


cases = {
    "the same": image,
    "noise of std 10": image + 10 * noise,
    "noise of std 50": image + 50 * noise,
    "the same noisy image after a blur": blur(image + 50 * noise),
    "a blur": blur(image),
}
levels, unit = {}, {}
for name, x in cases.items():
    levels[name] = vif(x, image).item()
    unit[name] = vif(x / 255, image / 255).item()
    print(f"    {name:36} {levels[name]:.3f} in [0, 255]   {unit[name]:.3f} in [0, 1]")
    scaled = vif(x / 255, image / 255, sigma_n_sq=2 / 255**2).item()
    signed = vif(x / 127.5 - 1, image / 127.5 - 1, sigma_n_sq=2 / 127.5**2).item()
    assert abs(scaled - levels[name]) < 2e-3 and abs(signed - levels[name]) < 2e-3
noisy, denoised = "noise of std 50", "the same noisy image after a blur"
assert levels[noisy] < 0.2 and unit[noisy] > 0.9
assert levels[denoised] > levels[noisy] and unit[denoised] < unit[noisy]
print("as described: in [0, 1] noise is invisible")
PY
