#!/usr/bin/env bash
# moviepy 2.2.1 with NumPy 2: `ImageSequenceClip` writes videos with frames missing and frames repeated.
#
# Expected: `ImageSequenceClip(frames, fps=24).write_videofile("sample.mp4")` writes a video of these frames,
#   each once; the docstring says "fps: Number of picture frames to read per second".
# Happens: twice rounding goes wrong. The duration is a sum of 1/fps, and int(duration * fps) frames are
#   written: where the sum is a little too small the last frame is lost. And the start of each picture is
#   i / fps minus a NumPy float32, which NumPy 2 (NEP 50) makes a float32: where that is later than i / fps,
#   frame i shows picture i - 1 once more. With NumPy 1.26 only the last frame is lost.
# Seen (frames in the file; of these, frames that show the picture before):
#                         8 fps         10 fps        24 fps        30 fps
#     16 pictures        16,  0        16,  0        15,  0        16,  0
#     81 pictures        81,  0        80, 20        80,  0        81,  3
#     250 pictures      250,  0       250, 88       249, 51       249, 72
# Consequence: generated clips that are kept in this way stutter, and frame i is not frame i: metrics on the
#   files, comparisons with the real clip frame by frame, and conditions on "the last frame" are of other
#   frames. wandb.Video (0.31.0) makes its .mp4 and .gif of arrays by this class: 16 frames logged at 24 a
#   second are 15. The loss was reported in 2017 and 2021
#   (https://github.com/Zulko/moviepy/issues/464, https://github.com/Zulko/moviepy/issues/1539).
# Way around: write frames with PyAV or `imageio.v3.imwrite`; log the finished file,
#   `wandb.Video("sample.mp4")`. Rates that are powers of two are safe.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile moviepy==2.2.1 imageio==2.38.1 imageio-ffmpeg==0.8.1 \
  av==18.1.0 numpy==2.4.6 pillow==11.3.0
cd "$work"
venv/bin/python - <<'PY'
import av
import numpy as np
from moviepy import ImageSequenceClip


def picture(number):
    """A picture that shows the bits of its number as black and white squares."""
    bits = [255 * (number >> bit & 1) for bit in range(8)]
    return np.repeat(np.array(bits, np.uint8), 8)[None, :, None].repeat(16, 0).repeat(3, 2)


def number(frame):
    row = frame.to_ndarray(format="gray")[8, 4::8]
    return sum(1 << bit for bit, level in enumerate(row) if level > 127)


def written(count, fps):
    """Frames in the file, and how many of them show the picture before theirs."""
    pictures = [picture(i) for i in range(count)]
    clip = ImageSequenceClip(pictures, fps=fps)
    clip.write_videofile("x.mp4", logger=None)
    with av.open("x.mp4") as film:
        shown = [number(frame) for frame in film.decode(video=0)]
    assert all(i - found in (0, 1) for i, found in enumerate(shown))
    return len(shown), sum(found == i - 1 for i, found in enumerate(shown))


RATES = (8, 10, 24, 30)
print("pictures", *(f"{fps:7} fps" for fps in RATES))
for count in (16, 81, 250):
    found = {fps: written(count, fps) for fps in RATES}
    print(f"{count:8}", *(f"{frames:7},{late:3}" for frames, late in found.values()))
    assert found[8] == (count, 0)
    assert found[24][0] == count - 1
assert found[10][1] > 50 and found[24][1] > 20 and found[30][1] > 50
print("as described: frames are lost and repeated")
PY
