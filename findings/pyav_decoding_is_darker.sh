#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg's swscale): RGB of a usual 4:2:0 video is 1 to 1.5 levels too dark on average.
#
# Expected: `frame.to_ndarray(format="rgb24")`, the way of PyAV's own cookbook
#   (https://pyav.org/docs/stable/cookbook/numpy.html), rounds to the nearest level, so that its error
#   has no mean, as it has none for 4:4:4 video.
# Happens: for yuv420p and nv12 a fast table is used that cuts instead of rounding, twice. The error
#   of a flat colour against the formula of BT.601 is -1.0, -1.5, -1.0 levels (R, G, B) on average
#   and up to -2.9. ACCURATE_RND alone makes red worse. Going round through files adds up.
# Seen (mean error of R, G, B in levels of 255 over 200 flat colours):
#     default                         -1.03 -1.47 -1.03
#     ACCURATE_RND                    -1.83 -1.11 -1.47
#     ACCURATE_RND | FULL_CHR_H_INT    0.00  0.01  0.02
#   decord and imageio-ffmpeg call the same code and give the same numbers; so does ffmpeg.
# Consequence: a network trained on decoded videos learns frames that are a level too dark; scores
#   of generated arrays against decoded files (FVD, PSNR near 45 dB) carry an offset that no model
#   made; each save and load darkens a long video that is continued from its own file.
# Way around: `frame.reformat(format="rgb24", interpolation=Interpolation.BICUBIC |
#   Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT).to_ndarray()`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation


def mean_error(name, **how):
    random, off = np.random.default_rng(0), []
    for _ in range(200):
        red, green, blue = random.integers(20, 235, 3) / 255
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        y, u, v = (
            round(16 + 219 * luma),
            round(128 + 224 * (blue - luma) / 1.772),
            round(128 + 224 * (red - luma) / 1.402),
        )
        planes = [np.full((64, 64), y), np.full((16, 64), u), np.full((16, 64), v)]
        frame = VideoFrame.from_ndarray(np.concatenate(planes).astype(np.uint8), format="yuv420p")
        got = frame.reformat(format="rgb24", **how).to_ndarray()[32, 32].astype(int)
        if not how:
            assert (got == frame.to_ndarray(format="rgb24")[32, 32]).all()
        luma, red, blue = (y - 16) / 219, (v - 128) / 224 * 1.402, (u - 128) / 224 * 1.772
        red, blue = luma + red, luma + blue
        green = (luma - 0.299 * red - 0.114 * blue) / 0.587
        off.append(got - 255 * np.array([red, green, blue]))
    mean = np.mean(off, 0)
    print(f"{name:30}", *(f"{x:5.2f}" for x in mean), f"  largest {np.abs(off).max():.1f}")
    return mean


rounded = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
assert (mean_error("default") < -0.9).all()
assert (mean_error("ACCURATE_RND", interpolation=rounded) < -0.9).all()
exact = rounded | Interpolation.FULL_CHR_H_INT
assert (abs(mean_error("ACCURATE_RND | FULL_CHR_H_INT", interpolation=exact)) < 0.1).all()
print("as described: the default conversion is biased")
PY
