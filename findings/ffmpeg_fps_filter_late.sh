#!/usr/bin/env bash
# FFmpeg 9.0.2 (imageio-ffmpeg 0.8.1): the fps filter shows frames of up to half a period later.
#
# Expected: `-vf fps=10`, the usual way to bring a dataset to one frame rate, gives at time t the
#   source frame shown at t or the nearest one. The documentation
#   (https://ffmpeg.org/ffmpeg-filters.html#fps) says "constant frame rate by duplicating or dropping
#   frames as necessary", rounding "to nearest" by default. From 30 to 10 frames a second every
#   third frame has exactly the time of an output frame: one expects frames 0, 3, 6, 9.
# Happens: each source frame's time is rounded to an output frame, and the last frame that falls on
#   one is kept: with "near" the last before t + half a period. "down" gives even later frames, up to
#   a whole period; only "up" gives those shown at t.
# Seen (first frames kept, mean of their time minus that of the output frame):
#     30 -> 10, default     1  4  7 10   +33 ms       30 -> 1, default   14 44 74 104   +467 ms
#     30 -> 10, round=down  2  5  8 11   +67 ms       30 -> 1, round=up   0 30 60  90      0 ms
#     30 -> 10, round=up    0  3  6  9     0 ms
#     30 ->  8, default     1  5  9 13   +46 ms
#     30 ->  8, round=up    0  3  7 11   -12.5 ms     (the frame shown at t)
# Consequence: frames lead audio, actions, captions with times and frames that a loader picks
#   by index from the original by half a period, almost half a second at 1 frame a second. The first
#   frame of the source, the condition of image-to-video, is in no file. Paired scores (PSNR, LPIPS)
#   between such a file and frames 0, 3, 6 compare different moments.
# Way around: `fps=10:round=up`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q imageio-ffmpeg==0.8.1 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PY'
import subprocess

import imageio_ffmpeg
import numpy as np

FRAMES, SIDE, SOURCE = 240, 16, 30
film = np.arange(FRAMES, dtype=np.uint8)[:, None, None].repeat(SIDE, 1).repeat(SIDE, 2)
raw = ("-f", "rawvideo", "-pix_fmt", "gray")


def kept(rate, rounding):
    """The numbers of the source frames in the output: each frame is as bright as its number."""
    source = (*raw, "-s", f"{SIDE}x{SIDE}", "-r", str(SOURCE), "-i", "-")
    chosen = ("-vf", f"fps={rate}{rounding}", "-fps_mode", "passthrough")
    command = (imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, *chosen, *raw, "-")
    done = subprocess.run(command, input=film.tobytes(), stdout=subprocess.PIPE, check=True)
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, SIDE * SIDE)[:, 0].astype(int)
    late = 1000 * (frames / SOURCE - np.arange(len(frames)) / rate).mean()
    print(f"30 -> {rate:2} fps{rounding or ' default':12} {frames[:4]} {late:+.1f} ms")
    return frames[:4].tolist(), late


cases = (
    (10, "", [1, 4, 7, 10], 33.3),
    (10, ":round=down", [2, 5, 8, 11], 66.7),
    (10, ":round=up", [0, 3, 6, 9], 0),
    (8, "", [1, 5, 9, 13], 45.8),
    (8, ":round=up", [0, 3, 7, 11], -12.5),
    (1, "", [14, 44, 74, 104], 466.7),
    (1, ":round=up", [0, 30, 60, 90], 0),
)
for rate, rounding, wanted, milliseconds in cases:
    frames, late = kept(rate, rounding)
    assert frames == wanted and abs(late - milliseconds) < 0.1
print("as described: by default the fps filter keeps frames of a later moment")
PY
