#!/usr/bin/env bash
# diffusers 0.42.1: export_to_video writes uint8 frames as a photographic negative.
#
# Expected: `export_to_video(video_frames: list[np.ndarray] | list[PIL.Image.Image], ...)`
#   (https://huggingface.co/docs/diffusers/api/utilities) names no range for arrays. Frames of uint8,
#   the type of every decoder and writer, are one of two natural inputs; one expects them to be
#   written as they are, as PIL images are, or to be refused.
# Happens: arrays of any type are multiplied by 255 and cast to uint8. The product of uint8 wraps:
#   each value x becomes 256 - x. Floats above 1 wrap too: 1.01, a usual overshoot of a decoder,
#   becomes nearly black.
# Seen (value given -> value in the file):
#     uint8 200 -> 55    uint8 20 -> 236    float 200 / 255 -> 200    float 1.01 -> 1
# Consequence: a file of the right length and size whose colours are inverted, with no warning. It is
#   often taken for a fault of the model or of BGR order; features of such files (FVD, CLIP score)
#   are of another film.
# Way around: `export_to_video([PIL.Image.fromarray(f) for f in frames], ...)` for uint8, and
#   `np.clip(f, 0, 1)` for floats.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q diffusers==0.42.1 imageio==2.38.1 imageio-ffmpeg==0.8.1 \
  pillow==11.3.0 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PY'
import imageio.v2 as imageio
import numpy as np
from diffusers.utils import export_to_video
from PIL import Image


def written(frame):
    export_to_video([frame] * 4, "x.mp4", fps=8)
    return int(imageio.get_reader("x.mp4").get_data(0)[16, 16, 1])


def flat(value, kind):
    return np.full((32, 32, 3), value, kind)


cases = (
    ("uint8 200", flat(200, np.uint8), 55),
    ("uint8 20", flat(20, np.uint8), 236),
    ("float 200 / 255", flat(200 / 255, np.float32), 200),
    ("float 1.01", flat(1.01, np.float32), 1),
    ("PIL 200", Image.fromarray(flat(200, np.uint8)), 200),
)
for name, frame, wanted in cases:
    got = written(frame)
    print(f"{name:16} -> {got}")
    assert abs(got - wanted) <= 3
print("as described: uint8 arrays come out inverted")
PY
