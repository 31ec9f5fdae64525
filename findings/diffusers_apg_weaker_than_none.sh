#!/usr/bin/env bash
# diffusers 0.42.1: Adaptive Projected Guidance with its defaults guides large videos less than no guidance does.
#
# Expected: as in its paper (https://arxiv.org/abs/2410.02416, algorithm 1), the guided prediction is the conditional one plus
#   (guidance_scale - 1) times an update: with `guidance_scale` 7.5 never less guided than with 1.0, which is the
#   conditional prediction. `use_original_formulation=False` is "the diffusers-native implementation" of CFG, which differs
#   from the original by an offset of the scale of 1 only.
# Happens: `normalized_guidance` (guiders/adaptive_projected_guidance.py) adds guidance_scale times the update to the
#   unconditional prediction. That is the same only if the update is the whole difference. But the update is limited
#   to a norm of 15 (`adaptive_projected_guidance_rescale`) over all elements of a sample, and a video has so many that little of
#   the difference is left: the prediction falls back to the unconditional one. There is no error and no warning.
# Seen (conditional minus unconditional prediction of standard deviation 0.2; share of it that the guided prediction has):
#     guidance_scale                                                       1.0     1.0001    7.5
#     ClassifierFreeGuidance                                               1       1         7.50
#     APG, SDXL, 4 x 128 x 128                                             1       0.29      2.19
#     APG, Wan, 81 frames of 832 x 480, 16 x 21 x 60 x 104                 1       0.05      0.39
#     APG, HunyuanVideo, 129 frames of 1280 x 720, 16 x 33 x 90 x 160      1       0.03      0.20
#     APG as in the paper, Wan                                             1       1         1.34
#   By 7.5 x 15 / norm, Wan is guided less than by a scale of 1.0 from a standard deviation of 0.08 on, HunyuanVideo from 0.04.
# Consequence: videos by APG with its defaults follow the prompt less than without guidance, and less the larger and longer
#   they are, so a comparison of resolutions or lengths compares guidance. A distilled network at 1.0001 loses its prompt.
# Way around: `use_original_formulation=True` with the scale less 1 is the paper's; the limit should grow with the
#   root of the number of elements, or be 0 (none).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import torch
from diffusers import AdaptiveProjectedGuidance, ClassifierFreeGuidance

SCALES = (1.0, 1.0001, 7.5)
SDXL, WAN, HUNYUAN = (4, 128, 128), (16, 21, 60, 104), (16, 33, 90, 160)


def share(guider, shape):
    """Share of the difference of the two predictions that the guided prediction has: 0 unconditional, 1 conditional."""
    generator = torch.Generator().manual_seed(0)
    conditional = torch.randn(1, *shape, generator=generator)
    difference = 0.2 * torch.randn(1, *shape, generator=generator)
    guider.set_state(step=0, num_inference_steps=50, timestep=None)
    guided = guider.forward(conditional, conditional - difference).pred
    return (((guided - conditional + difference) * difference).sum() / difference.square().sum()).item()


def shown(name, shares):
    print(f"{name:36}", *(f"{value:8.2f}" for value in shares))
    return shares


print(" " * 30, "scale", *(f"{scale:8}" for scale in SCALES))
shown("CFG, Wan", [share(ClassifierFreeGuidance(scale), WAN) for scale in SCALES])
sdxl, wan, hunyuan = (
    shown(f"APG, {name}", [share(AdaptiveProjectedGuidance(scale), shape) for scale in SCALES])
    for name, shape in (("SDXL", SDXL), ("Wan", WAN), ("HunyuanVideo", HUNYUAN))
)
assert sdxl[2] > 1 and wan[0] == hunyuan[0] and abs(wan[0] - 1) < 1e-3
assert wan[1] < 0.1 and wan[2] < 0.5 and hunyuan[1] < 0.05 and hunyuan[2] < 0.25
paper = shown(
    "APG, Wan, as in the paper",
    [share(AdaptiveProjectedGuidance(scale - 1, use_original_formulation=True), WAN) for scale in SCALES],
)
assert abs(paper[0] - 1) < 1e-3 and abs(paper[1] - 1) < 1e-3 and paper[2] > 1.2
free = share(AdaptiveProjectedGuidance(7.5, adaptive_projected_guidance_rescale=0.0), WAN)
print(f"APG, Wan, no limit: {free:.2f} at 7.5")
assert free > 7
print("as described: less guided than without guidance")
PY
