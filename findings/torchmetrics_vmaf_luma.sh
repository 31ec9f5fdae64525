#!/usr/bin/env bash
# torchmetrics 1.9.0, vmaf-torch 1.1.0: VMAF of RGB videos is measured on other luma than FFmpeg's, and exceeds 100.
#
# Expected: `video_multi_method_assessment_fusion` of RGB in [0, 1] "corresponds to the output you would get from the
#   VMAF command line tool", with "typical values ranging from 0 to 100" (its docstring). The luma of usual 8-bit
#   video, which that tool reads, is in [16, 235], and the tool ends its scores at 0 and 100.
# Happens: luma is 255 (0.299 R + 0.587 G + 0.114 B), in [0, 255], so every contrast is 255 / 219 = 1.16 times too
#   large; and nothing ends the scores. On the luma of the
#   files the same code gives FFmpeg's scores, to 0.05, as long as no frame is above 100.
# Seen (8 frames of 320 x 240, x264 at two values of crf against the original; mean VMAF):
#                            FFmpeg    torchmetrics    the same code on the videos' luma
#     mandelbrot, crf 20      95.72           95.59                              95.73
#     mandelbrot, crf 40      59.36           57.53                              59.33
#     test pattern, crf 20    99.55          104.45                             103.50
#     test pattern, crf 40    81.46           82.70                              81.47
#     cells, crf 20           98.76          113.50                             111.33
#     cells, crf 40           34.72           34.48                              34.73
# Consequence: scores cannot be compared with published ones, up in one video and down in another; means of good videos
#   are carried by frames above 100, so a codec that is perfect in easy frames and poor in hard ones wins.
# Way around: scale RGB to that range first, `16 / 255 + 219 / 255 * video` (half a point from FFmpeg here), and
#   `clamp(0, 100)` the scores; or `vmaf_torch.VMAF(clip_score=True)` on luma.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 torchmetrics==1.9.0 vmaf-torch==1.1.0 einops==0.8.2 \
    imageio-ffmpeg==0.8.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'PY'
import json
import subprocess

import imageio_ffmpeg
import torch
from torchmetrics.functional.video import video_multi_method_assessment_fusion as vmaf
from vmaf_torch import VMAF

WIDTH, HEIGHT, FRAMES = 320, 240, 8
SOURCES = {
    "mandelbrot": "mandelbrot=size=320x240:rate=8",
    "test pattern": "testsrc2=size=320x240:rate=8",
    "cells": "life=size=320x240:rate=8:mold=10:ratio=0.4:life_color=0xc0c0c0:random_seed=1",
}
GRAPH = (
    "[0:v]settb=AVTB,setpts=PTS-STARTPTS[a];[1:v]settb=AVTB,setpts=PTS-STARTPTS[b];"
    "[a][b]libvmaf=log_fmt=json:log_path=vmaf.json"
)


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def frames(video, *options):
    """Its 8-bit frames, (frames, channels, height, width)."""
    data = ffmpeg("-i", video, *options, "-f", "rawvideo", "-")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(FRAMES, HEIGHT, WIDTH, -1).movedim(3, 1).float()


def rgb(video):
    return frames(video, "-pix_fmt", "rgb24").transpose(0, 1)[None] / 255


def scores(name, crf):
    """Mean VMAF: FFmpeg's, that of torchmetrics, and that of its code on the files' luma."""
    ffmpeg("-i", "original.mp4", "-c:v", "libx264", "-crf", str(crf), "coded.mp4")
    ffmpeg("-i", "coded.mp4", "-i", "original.mp4", "-lavfi", GRAPH, "-f", "null", "-")
    with open("vmaf.json") as file:
        reference = json.load(file)["pooled_metrics"]["vmaf"]["mean"]
    of_rgb = vmaf(rgb("coded.mp4"), rgb("original.mp4")).mean().item()
    luma = [frames(video, "-vf", "extractplanes=y") for video in ("original.mp4", "coded.mp4")]
    assert luma[0].min() >= 16 and luma[0].max() <= 235
    of_luma = VMAF()(*luma).mean().item()
    print(f"    {name:14} crf {crf} {reference:8.2f} {of_rgb:8.2f} {of_luma:8.2f}")
    return reference, of_rgb, of_luma


differences = {}
for name, source in SOURCES.items():
    ffmpeg(
        "-f", "lavfi", "-i", source, "-frames:v", str(FRAMES), "-pix_fmt", "yuv420p",
        "-c:v", "libx264", "-qp", "0", "original.mp4",
    )
    easy, hard = scores(name, 20), scores(name, 40)
    assert abs(hard[2] - hard[0]) < 0.1 and easy[0] <= 100
    differences[name] = hard[1] - hard[0], easy[1]
assert differences["mandelbrot"][0] < -1 and differences["test pattern"][0] > 1
assert differences["test pattern"][1] > 102 and differences["cells"][1] > 110
print("as described: other luma, and scores above 100")
PY
