"""Small films for tests, in several codecs."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

HEIGHT, WIDTH = 32, 48


def film(frames: int = 30, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A smooth grey pattern that moves, so that no two frames are alike."""
    t, y, x = np.ogrid[:frames, :height, :width]
    value = 127 + 100 * np.sin((3 * x + 2 * y + 17 * t) / 15)
    return np.repeat(value[..., None].astype(np.uint8), 3, axis=-1)


def encode(
    path: Path,
    frames: np.ndarray,
    codec: str,
    pixels: str,
    *,
    options: Mapping[str, str] | None = None,
    times_ms: Sequence[int] | None = None,
    rotation: int | None = None,
    pixel_aspect: Fraction | None = None,
    container_options: Mapping[str, str] | None = None,
) -> Path:
    """Write with PyAV alone, 24 frames a second or at given times."""
    with av.open(path, "w", container_options=dict(container_options or {})) as container:
        stream = container.add_stream(codec, rate=24, options=dict(options or {}))
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels_of_frame in enumerate(frames):
            frame = VideoFrame.from_ndarray(pixels_of_frame, format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
