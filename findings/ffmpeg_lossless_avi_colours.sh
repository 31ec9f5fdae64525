#!/usr/bin/env bash
# FFmpeg 9.0.2 (imageio-ffmpeg 0.8.1): a lossless copy in .avi, .y4m or .nut has other colours than its original.
#
# Expected: `ffmpeg -i original.mp4 -c:v ffv1 copy.avi` keeps every pixel; the page of codecs
#   (https://ffmpeg.org/ffmpeg-codecs.html#ffv1) calls FFV1 lossless, and so are HuffYUV and raw video.
#   What reads frames as RGB from the copy gets the frames of the original.
# Happens: the YUV values are kept, but these containers do not say that they are BT.709, the matrix of
#   nearly all video of 720 lines and more. To make RGB, FFmpeg (so PyAV, OpenCV, imageio) takes BT.601 where
#   nothing is said, whatever the size. Writing gives no warning. Matroska and QuickTime keep the
#   matrix; H.264 keeps it in its stream.
# Seen (a test picture of BT.709; YUV values, PSNR of the RGB frames, mean and largest difference in levels):
#                                YUV     PSNR    mean   largest
#     FFV1 in .mkv, .mov         same     inf     0.0      0
#     H.264 copied to .avi       same     inf     0.0      0
#     FFV1 in .avi               same    28.3     6.6     35
#     HuffYUV in .avi            same    28.3     6.6     35
#     raw in .avi, .y4m, .nut    same    28.3     6.6     35
# Consequence: a lossless copy scores below 29 dB against its own original, which is less than what most
#   autoencoders reach; a data set that is kept in .avi and in .mp4 has two palettes, and what a model
#   learns of colour depends on the container. Greys do not change, so nothing looks broken.
# Way around: keep lossless copies in .mkv, or as RGB (`-c:v ffv1 -pix_fmt bgr0`); say the matrix when
#   reading: `-vf scale=in_color_matrix=bt709`, `frame.reformat(src_colorspace="ITU709")`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile imageio-ffmpeg==0.8.1 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PY'
import subprocess

import imageio_ffmpeg
import numpy as np


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments]
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True).stdout


def frames(path, pixels, *options):
    made = ffmpeg("-i", path, *options, "-f", "rawvideo", "-pix_fmt", pixels, "-")
    return np.frombuffer(made, np.uint8).astype(float)


def psnr(path, *options):
    """PSNR of a copy's RGB frames; its YUV values are those of the original."""
    same = np.array_equal(frames(path, "yuv420p"), frames("original.mp4", "yuv420p"))
    difference = frames(path, "rgb24", *options) - frames("original.mp4", "rgb24")
    error = np.mean(difference**2)
    found = 10 * np.log10(255**2 / error) if error else float("inf")
    mean, largest = abs(difference).mean(), abs(difference).max()
    print(f"{path:12} {'same' if same else 'other'} {found:7.1f} {mean:7.1f} {largest:6.0f}", *options)
    assert same
    return found


BT709 = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
GRAPH = f"scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,{BT709}"
SOURCE = "testsrc2=size=320x240:rate=25:duration=0.4"
ffmpeg("-f", "lavfi", "-i", SOURCE, "-vf", GRAPH, "-c:v", "libx264", "-qp", "0", "original.mp4")
codecs = {
    "h264.avi": "copy",
    "ffv1.mkv": "ffv1",
    "ffv1.mov": "ffv1",
    "ffv1.avi": "ffv1",
    "huffyuv.avi": "ffvhuff",
    "raw.avi": "rawvideo",
    "raw.nut": "rawvideo",
    "raw.y4m": "wrapped_avframe",
}
for path, codec in codecs.items():
    ffmpeg("-i", "original.mp4", "-c:v", codec, path)
    found = psnr(path)
    if path in ("h264.avi", "ffv1.mkv", "ffv1.mov"):
        assert found == float("inf")
    else:
        assert found < 32
        assert psnr(path, "-vf", "scale=in_color_matrix=bt709") == float("inf")
print("as described: the copies have the same YUV values and other colours")
PY
