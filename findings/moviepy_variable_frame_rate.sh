#!/usr/bin/env bash
# moviepy 2.2.1 and imageio-ffmpeg 0.8.1: a video of variable frame rate is read at a wrong speed,
# and moviepy never reaches its second half.
#
# Expected: `VideoFileClip(path).iter_frames()` shows the whole clip at its own times
#   (https://zulko.github.io/moviepy/), and imageio's reader gives the frames of a file, as many as
#   its own `count_frames()` says and at the rate that its metadata says
#   (https://imageio.readthedocs.io/en/stable/_autosummary/imageio.plugins.ffmpeg.html).
# Happens: both read a pipe of the ffmpeg program, which resamples to a constant rate of its own
#   choice (the finest step of the file, here 30 frames a second) by repeating and dropping frames,
#   while both take the average rate of the header (here 14.75) for the rate of the pipe.
# Seen (a file of 30 numbered frames within 2.03 seconds):
#     PyAV      30 frames, 0 to 29
#     imageio   66 frames, though count_frames() is 30 and fps 14.75: 66 / 14.75 = 4.5 seconds;
#               some of the 30 are missing
#     moviepy   29 frames, the last of them is frame 14 of 30; 2.03 seconds
# Consequence: phone and screen recordings and most web videos have such a rate. A data set that is
#   cut or resampled with moviepy holds the first half of each clip in slow motion, with repeated
#   frames; captions and sound no longer fit, and FVD sees motion at half speed. Nothing is raised.
# Way around: decode with PyAV (or decord, torchcodec) and choose frames by their `time`; or make the
#   rate constant first: `ffmpeg -i in.mp4 -vf fps=30 out.mp4`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q moviepy==2.2.1 imageio==2.38.1 imageio-ffmpeg==0.8.1 av==18.1.0 \
  numpy==2.4.6 pillow==11.3.0
cd "$work"
venv/bin/python - <<'PY' 2>/dev/null
from fractions import Fraction

import av
import imageio.v2 as imageio
import numpy as np
from av.video.frame import VideoFrame
from moviepy import VideoFileClip

BITS = range(6)


def numbered(number):
    frame = np.zeros((64, 64, 3), np.uint8)
    for bit in BITS:
        frame[:, bit * 10 : bit * 10 + 8] = 255 * (number >> bit & 1)
    return frame


def number_of(frame):
    return sum(int(frame[32, bit * 10 + 4].mean() > 128) << bit for bit in BITS)


ticks = np.cumsum([0, *[1, 1, 4, 1, 2, 1, 6, 1, 1, 3] * 3])[:30]
with av.open("x.mp4", "w") as container:
    stream = container.add_stream("libx264", rate=30, options={"crf": "10"})
    stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
    stream.codec_context.time_base = Fraction(1, 30)
    for number, tick in enumerate(ticks):
        frame = VideoFrame.from_ndarray(numbered(number), format="rgb24")
        frame.pts, frame.time_base = int(tick), Fraction(1, 30)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())

with av.open("x.mp4") as container:
    frames = list(container.decode(video=0))
assert [number_of(frame.to_ndarray(format="rgb24")) for frame in frames] == list(range(30))
assert [round(frame.time * 30) for frame in frames] == ticks.tolist()
print("PyAV    30 frames at their own times")

reader = imageio.get_reader("x.mp4", "ffmpeg")
read, meta = [number_of(frame) for frame in reader], reader.get_meta_data()
print(f"imageio {len(read)} frames; count_frames() {reader.count_frames()}, fps {meta['fps']}:", read)
assert reader.count_frames() == 30 and meta["fps"] == 14.75
assert len(read) > 60 and len(set(read)) < 30

clip = VideoFileClip("x.mp4")
shown = [number_of(frame) for frame in clip.iter_frames()]
print(f"moviepy {len(shown)} frames, fps {clip.fps}, {clip.duration} s:", shown)
assert clip.fps == 14.75 and clip.duration > 2 and max(shown) < 16
print("as described: wrong speed, and the second half is never shown")
PY
