#!/usr/bin/env bash
# ffmpegcv 0.3.20: portrait phone videos are read as scrambled pixels, and gray frames have black at 16 and white at 235.
#
# Expected: "The ffmpegcv is just similar to opencv in api" (README): as with `cv2.VideoCapture`, a video held upright
#   gives upright frames, and gray frames go from 0 to 255 as `cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)` does.
# Happens: `get_info` (ffmpegcv/video_info.py) takes width and height of the coded frames. FFmpeg turns the frames as the display
#   matrix says and writes, say, 1080 x 1920 pixels; `FFmpegReader.read` (ffmpegcv/ffmpeg_reader.py) reshapes these bytes to
#   1920 x 1080. The number of bytes fits, so nothing raises. For `pix_fmt="gray"`, `get_videofilter_cpu` takes the luma
#   plane with `extractplanes=y`, whose range is that of the stream: almost always 16 to 235.
# Seen (white triangle on black, 64 x 48 pixels, in the second file marked to be turned by 90 degrees):
#     plain.mp4     frames of 48 x 64: the picture; bgr24 goes from 0 to 255, gray from 16 to 235
#     marked.mp4    frames of 48 x 64: rows of the upright picture, 48 wide, set in rows of 64, so several slanted stripes
# Consequence: upright videos of phones have such a display matrix; each gives stripes that a model is trained on or a metric
#   is computed of. Gray frames have 14 % less contrast than other readers' and a grey black: thresholds for
#   black frames (below 16) never hold, and differences, optical flow and metrics of gray frames mix two scales.
# Way around: `infile_options="-noautorotate"` and turning the frames by hand; `pix_fmt="bgr24"` and gray made of it.
# Needs ffmpeg and ffprobe on the path, as ffmpegcv does.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile ffmpegcv==0.3.20 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PY'
import struct
import subprocess
from pathlib import Path

import ffmpegcv
import numpy as np

WIDTH, HEIGHT, FRAMES = 64, 48, 4
x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
picture = np.where(4 * y > 3 * x, 255, 0).astype(np.uint8)
command = f"ffmpeg -v error -f rawvideo -pix_fmt gray -s {WIDTH}x{HEIGHT} -r 8 -i - -c:v libx264 -qp 1 -pix_fmt yuv420p plain.mp4"
subprocess.run(command.split(), input=picture.tobytes() * FRAMES, check=True)

film = bytearray(Path("plain.mp4").read_bytes())
matrix = film.index(b"tkhd") + 44  # the display matrix of the track header, as a phone that is held upright writes it
turned = 0, 1 << 16, 0, -1 << 16, 0, 0, HEIGHT << 16, 0, 1 << 30
film[matrix : matrix + 36] = struct.pack(">9i", *turned)
Path("marked.mp4").write_bytes(film)


def frames(name, **options):
    reader = ffmpegcv.VideoReader(name, **options)
    found = np.stack(list(reader))
    print(f"{name:12} {options.get('pix_fmt', 'bgr24'):6} {found.shape}", found.min(), found.max())
    return found


def white(frame):
    return frame[..., 1] > 127


def differing(frame, expected):
    return float((white(frame) != (expected > 127)).mean())


plain, marked = frames("plain.mp4"), frames("marked.mp4")
assert len(plain) == len(marked) == FRAMES and plain.shape == marked.shape == (FRAMES, HEIGHT, WIDTH, 3)
upright = np.rot90(picture, -1)
for row in white(marked[0])[::4]:
    print("   ", "".join("#" if pixel else "." for pixel in row))
assert differing(plain[0], picture) < 0.05
assert differing(marked[0], picture) > 0.2 and differing(marked[0], picture[::-1, ::-1]) > 0.2
assert differing(marked[0].reshape(WIDTH, HEIGHT, 3), upright) < 0.05

by_hand = frames("marked.mp4", infile_options="-noautorotate")
assert differing(np.rot90(by_hand[0], -1), upright) < 0.05

gray = frames("plain.mp4", pix_fmt="gray")
assert abs(int(gray.min()) - 16) <= 2 and abs(int(gray.max()) - 235) <= 2
assert plain.min() <= 2 and plain.max() >= 253
print("as described: upright videos are scrambled, gray goes from 16 to 235")
PY
