#!/usr/bin/env bash
# PyAV 18.1.0: setting a stream's colour space or range labels the file and does not convert to it.
#
# Expected: `codec_context.colorspace` and `.color_range`, which PyAV documents as the properties of
#   what is encoded (https://pyav.org/docs/stable/api/video.html), hold for the frames that the
#   stream encodes. RGB frames given to `stream.encode` are converted to the stream's pixel format
#   by PyAV, so one expects the conversion to follow them, as decoding does: `to_ndarray("rgb24")`
#   reads the label and uses its matrix and range.
# Happens: RGB frames are converted by BT.601 in limited range whatever the stream says, and the
#   file is labelled as asked. Every reader that honours labels, PyAV too, then undoes a conversion
#   that was never made.
# Seen (colours written as lossless 4:4:4 and read back by PyAV; root mean square and largest error
#   in levels of 255):
#     no label                      0.6   1
#     BT.709                        9.9  31
#     full range                   10.0  18
#     BT.709, frame.reformat first  0.6   1
# Consequence: the advice to tag HD output as BT.709 makes colours worse: skin and foliage shift by
#   up to 31 levels between the array and its file. Samples judged from files against arrays, or
#   training videos re-encoded once, differ by more than most models' errors.
# Way around: convert yourself with
#   `frame.reformat(format=..., dst_colorspace=..., dst_color_range=...)`, then encode that frame.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PY'
from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8).repeat(16, 0).repeat(16, 1)


def error(name, label, convert=None):
    with av.open("x.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = 128, 128, "yuv444p"
        for key, value in label.items():
            setattr(stream.codec_context, key, value)
        for number in range(3):
            frame = VideoFrame.from_ndarray(colours, format="rgb24")
            if convert is not None:
                frame = frame.reformat(format="yuv444p", **convert)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open("x.mp4") as container:
        frame = next(container.decode(video=0))
        for key, value in label.items():
            got = getattr(frame, "colorspace" if key == "colorspace" else key)
            assert got == value, (key, got)
        off = frame.to_ndarray(format="rgb24").astype(int) - colours
    rms, most = (off**2).mean() ** 0.5, abs(off).max()
    print(f"{name:30} {rms:4.1f} {most:3}")
    return most


bt709, full = {"colorspace": Colorspace.ITU709}, {"color_range": ColorRange.JPEG}
assert error("no label", {}) <= 2
assert error("BT.709", bt709) > 20
assert error("full range", full) > 10
assert error("BT.709, frame.reformat first", bt709, {"dst_colorspace": Colorspace.ITU709}) <= 2
print("as described: the label changes and the pixels do not")
PY
