#!/usr/bin/env bash
# PySceneDetect 0.7.2: clips split from a transport stream lack the first frames of their scenes, or all.
#
# Expected: `split_video_ffmpeg` writes each scene of the list it is given to a file of its own, encoded
#   anew because only "codec-copy mode" is "not frame accurate" (help of split-video), and returns the
#   "return code of invoking ffmpeg (0 on success)".
# Happens: it runs `ffmpeg -ss START -i FILE -t DURATION`. FFmpeg's manual says of -ss before -i that it
#   seeks to the closest seek point before START and discards what is decoded up to START. A
#   transport stream has no index of its key frames: the seek ends near START, often after the last
#   key frame before it, and nothing is decoded until the next one
#   (https://trac.ffmpeg.org/ticket/5093). The return code is 0.
# Seen (FFmpeg 9.0.2; x264 with B-frames, 4 scenes of 30 frames, all found at their first frames; frames of
#   each clip; the .mkv files hold the same packets):
#     .mkv                         0-29 (30)    30-59 (30)   60-89 (30)   90-119 (30)
#     .ts                          0-29 (30)    none         none         none
#     .mkv, key frame every 15     0-29 (30)    30-59 (30)   60-89 (30)   90-119 (30)
#     .ts, key frame every 15      0-29 (30)    30-59 (30)   70-89 (20)   98-119 (22)
# Consequence: a set of clips made from recordings of television, cameras (.mts) or HLS lacks the beginnings of
#   scenes, so clips do not fit the list of scenes or the captions; files without a frame
#   are noticed when they are read.
# Way around: `ffmpeg -i FILE.ts -c copy FILE.mkv` first, and split that.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile scenedetect-headless==0.7.2 \
  opencv-python-headless==5.0.0.93 imageio-ffmpeg==0.8.1 numpy==2.4.6
cd "$work"
ln -s "$(venv/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')" venv/bin/ffmpeg
PATH="$work/venv/bin:$PATH" venv/bin/python - <<'PY'
import pathlib
import subprocess

import numpy as np
from scenedetect import ContentDetector, detect, split_video_ffmpeg

SCENES, LENGTH, HIGH, WIDE = 4, 30, 96, 160
COUNT = SCENES * LENGTH
COLOURS = ((20, 20, 30), (220, 200, 200), (40, 40, 120), (200, 220, 40))


def ffmpeg(*arguments, check=True, **options):
    return subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=check, **options)


def pictures():
    """Scenes of one colour and some noise, with the bits of the frame's number on top."""
    noise = np.random.default_rng(0).integers(-20, 20, (COUNT, HIGH, WIDE, 3))
    frames = noise + np.repeat(COLOURS, LENGTH, axis=0)[:, None, None]
    bits = np.arange(COUNT)[:, None] >> np.arange(8) & 1
    frames[:, :12] = 255 * bits.repeat(WIDE // 8, axis=1)[:, None, :, None]
    return frames.clip(0, 255).astype(np.uint8)


def numbers(path):
    """Numbers of the frames of a file, in order; none if FFmpeg finds no video in it."""
    read = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    raw = ffmpeg("-i", path, "-map", "0:v", *read, capture_output=True, check=False).stdout
    cells = np.frombuffer(raw, np.uint8).reshape(-1, HIGH, 8, WIDE // 8)[:, 6].mean(2)
    return [int(((row > 127) << np.arange(8)).sum()) for row in cells]


def split(path):
    """Frames of each clip of a video of known scenes."""
    assert numbers(path) == [*range(COUNT)]
    scenes = detect(str(path), ContentDetector())
    assert [start.frame_num for start, _ in scenes] == [*range(0, COUNT, LENGTH)]
    folder = pathlib.Path(f"clips of {path}")
    assert split_video_ffmpeg(str(path), scenes, output_dir=folder) == 0
    clips = [numbers(clip) for clip in sorted(folder.iterdir())]
    shown = (f"{clip[0]}-{clip[-1]} ({len(clip)})" if clip else "none" for clip in clips)
    print(f"{path:10}", *(f"{text:12}" for text in shown))
    return clips


RAW = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDE}x{HIGH}", "-r", "30", "-i", "-")
WHOLE = [[*range(at, at + LENGTH)] for at in range(0, COUNT, LENGTH)]
for name, options in {"usual": (), "g15": ("-g", "15")}.items():
    x264 = ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", *options)
    ffmpeg(*RAW, *x264, f"{name}.ts", input=pictures().tobytes())
    ffmpeg("-i", f"{name}.ts", "-c", "copy", f"{name}.mkv")
    assert split(f"{name}.mkv") == WHOLE
    clips = split(f"{name}.ts")
    assert clips[0] == WHOLE[0]
    assert sum(map(len, clips)) < COUNT
    assert all(set(clip) <= set(scene) for clip, scene in zip(clips, WHOLE))
    assert all(clips) == (name != "usual")
print("as described: clips of transport streams lack the first frames of their scenes, or all")
PY
