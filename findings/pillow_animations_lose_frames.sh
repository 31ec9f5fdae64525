#!/usr/bin/env bash
# Pillow 11.3.0, and imageio 2.38.1 through it: GIF, WebP and APNG films lose their repeated frames.
#
# Expected: `images[0].save("x.gif", save_all=True, append_images=images[1:])` writes all the frames
#   it is given; the page on formats
#   (https://pillow.readthedocs.io/en/stable/handbook/image-file-formats.html) says "append_images:
#   a list of images to append as additional frames" and nothing about merging. TIFF and AVIF do so.
# Happens: in GIF, WebP and APNG a frame equal to the one before is left out and its time is added to
#   that one. GIF also rounds times down to 10 ms, so 24 frames a second become 25 and 30 become 33.
# Seen (8 frames, each picture shown twice; frames in the file):
#     GIF 4   WebP 4   APNG 4   TIFF 8   AVIF 8   imageio.v2.mimwrite GIF 4
#     GIF at 24 a second: 40 ms a frame
# Consequence: GIF is how many papers' code stores samples. Read back for FVD, a clip that stands
#   still for a moment (a paused video, a frozen rollout: the very fault one looks for) is shorter,
#   moves faster, or fails to stack with others; frame i is no longer frame i of the condition.
# Way around: keep samples as PNG folders, FFV1 or .npz; or expand frames by their
#   `info["duration"]` on reading.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pillow==11.3.0 imageio==2.38.1 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PY'
import imageio.v2 as imageio
import numpy as np
from PIL import Image

arrays = [np.full((16, 16, 3), 40 * (i // 2), np.uint8) for i in range(8)]
images = [Image.fromarray(a) for a in arrays]
for kind, wanted in (("gif", 4), ("webp", 4), ("png", 4), ("tiff", 8), ("avif", 8)):
    images[0].save(f"x.{kind}", save_all=True, append_images=images[1:], duration=100)
    found = Image.open(f"x.{kind}").n_frames
    print(f"{kind:5} {found} of 8 frames")
    assert found == wanted
imageio.mimwrite("y.gif", arrays, fps=24)
with Image.open("y.gif") as film:
    found, shown_ms = film.n_frames, film.info["duration"]
print(f"imageio GIF at 24 a second: {found} of 8 frames, the first shown {shown_ms} ms for 2 frames")
assert found == 4 and shown_ms == 80
print("as described: repeated frames are merged")
PY
