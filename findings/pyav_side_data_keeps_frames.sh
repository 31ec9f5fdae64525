#!/usr/bin/env bash
# PyAV 18.1.0: looking at `frame.side_data` keeps the frame until a garbage collection.
#
# Expected: a decoded frame that is no longer used gives back its pixels at once, as CPython frees
#   objects without references, and as frames do that nobody asked for side data. Reading a display
#   matrix is the documented way to turn phone footage upright.
# Happens: `frame.side_data` is cached in the frame and refers to it, a circle. Frames, their
#   pixels and the threads of `frame.reformat` (one scaler a frame, as many threads as processors)
#   stay until the cyclic collector runs, which counts Python objects, not their megabytes.
# Seen (100 frames of 1280 x 720, each dropped after it was looked at; no collection in between):
#     without side data   0 MB and 0 threads more
#     with side data      163 MB and 100 threads more
#   In a loop over 20,000 small videos: 31,000 threads and 5 GB, after which no program can start.
# Consequence: data loaders that turn footage upright grow by gigabytes, or run out of threads.
# Way around: `SideDataContainer(frame)` of `av.sidedata.sidedata`, which the frame does not know;
#   one `VideoReformatter` for all frames with `threads=1`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q av==18.1.0 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PY'
import gc
import os

import av
import numpy as np
from av.video.frame import VideoFrame

with av.open("x.mp4", "w") as container:
    stream = container.add_stream("libx264", rate=25, width=1280, height=720, pix_fmt="yuv420p")
    picture = np.zeros((720, 1280, 3), np.uint8)
    for _ in range(100):
        container.mux(stream.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
    container.mux(stream.encode())


def held():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir("/proc/self/task"))


def grown(look):
    gc.collect()
    gc.disable()
    memory, threads = held()
    with av.open("x.mp4") as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            if look:
                frame.side_data.get("DISPLAYMATRIX")
            frame.reformat(format="rgb24", threads=2)
    del frame
    after = held()
    gc.enable()
    print(f"{'with' if look else 'without':7} side data: {after[0] - memory:6.0f} MB,"
          f" {after[1] - threads:4} threads more")
    return after[0] - memory, after[1] - threads


grown(False)
plain, looked = grown(False), grown(True)
assert plain[0] < 20 and plain[1] == 0, plain
assert looked[0] > 80 and looked[1] >= 100, looked
print("as described: frames whose side data were looked at stay until a collection")
PY
