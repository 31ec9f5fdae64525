#!/usr/bin/env bash
# imageio 2.38.1: `imread(path, index=i, plugin="pyav")` reads other frames than the i-th of Matroska, WebM and MPEG-TS.
#
# Expected: "If index is an integer, this function reads the index-th frame from the file"
#   (https://imageio.readthedocs.io/en/stable/_autosummary/imageio.plugins.pyav.html), of a video of constant
#   rate without B-frames, about which the page warns.
# Happens: the plugin seeks to the keyframe before and counts on from there. The number of that keyframe is its
#   time divided by the time of a frame, rounded down. Matroska has whole milliseconds: at 30 frames a
#   second frame 40 is at 1333 ms, which becomes number 39, so one frame too many is skipped
#   until the next keyframe. In MPEG-TS the first frame is at 1.4 s, not at 0: all that is asked for lies
#   before it, or is counted from there. No error, unless the count runs beyond the end.
# Seen (90 frames at 30 a second, a keyframe every 20, no B-frames; indices that give another frame):
#     H.264 in .mp4                                       0
#     H.264 in .mkv                                      20 (all of 40 to 59 give the next frame)
#     VP9 in .webm                                       20 (the same)
#     H.264 in .ts                                       88 (2 gives 0, 3 gives 0, ..., 89 gives 48)
#     all of them, constant_framerate=False               0
# Consequence: clips read by index are shifted by a frame in some groups of pictures, repeat a frame
#   or leave one out where groups meet, and do not fit annotations or the same video read in order. Of a
#   transport stream, almost every frame is one from 1.4 s earlier or the first.
# Way around: `constant_framerate=False`, which counts from the beginning, or `imiter`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile imageio==2.38.1 imageio-ffmpeg==0.8.1 av==18.1.0 \
  numpy==2.4.6 pillow==13.0.0
cd "$work"
venv/bin/python - <<'PY'
import subprocess

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np

COUNT = 90


def pictures():
    """Pictures that show the bits of their number as black and white squares."""
    bits = np.arange(COUNT)[:, None] >> np.arange(8) & 1
    row = (255 * bits).astype(np.uint8).repeat(8, axis=1)
    return row[:, None, :, None].repeat(32, 1).repeat(3, 3)


def number(frame):
    return sum(1 << bit for bit, level in enumerate(frame[16, 4::8, 0]) if level > 127)


def write(path, *codec):
    head = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "rawvideo"]
    shape = ["-pix_fmt", "rgb24", "-s", "64x32", "-r", "30", "-i", "-"]
    command = [*head, *shape, "-pix_fmt", "yuv420p", *codec, path]
    subprocess.run(command, input=pictures().tobytes(), check=True)


def others(path, **options):
    """Indices that give another frame than the one read in order."""
    in_order = [number(frame) for frame in iio.imiter(path, plugin="pyav")]
    assert in_order == list(range(COUNT))
    found = []
    for index in range(COUNT):
        try:
            read = number(iio.imread(path, index=index, plugin="pyav", **options))
        except StopIteration:
            read = "end"
        if read != index:
            found.append((index, read))
    name = f"{path} {options or ''}"
    print(f"{name:42} {len(found):2}", *found[:2], *found[-1:])
    return len(found)


H264 = ("-g", "20", "-keyint_min", "20", "-sc_threshold", "0", "-bf", "0")
VP9 = ("-c:v", "libvpx-vp9", "-g", "20", "-deadline", "realtime", "-cpu-used", "8")
files = {"h264.mp4": H264, "h264.mkv": H264, "vp9.webm": VP9, "h264.ts": H264}
for path, codec in files.items():
    write(path, *codec)
assert others("h264.mp4") == 0
assert others("h264.mkv") >= 20
assert others("vp9.webm") >= 20
assert others("h264.ts") >= 80
assert all(others(path, constant_framerate=False) == 0 for path in files)
print("as described: frames by index are other frames")
PY
