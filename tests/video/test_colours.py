"""Colours are right on average, not only to a level or two: errors of one sign add up."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from films import encode

from longtake.video import VideoWriter, open_video

BLOCK, ROWS = 32, 12


def random_colours(count: int) -> np.ndarray:
    """Frames of flat blocks, each of another colour."""
    colours = np.random.default_rng(0).integers(0, 256, (count, ROWS, ROWS, 3), dtype=np.uint8)
    return colours.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)


def middles(frames: np.ndarray) -> np.ndarray:
    """The middle pixels of the blocks, which no neighbour touches."""
    return frames[:, BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK].astype(float)


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_round_through_a_file_has_no_mean_error(tmp_path: Path, suffix: str) -> None:
    frames = random_colours(12)
    with VideoWriter(tmp_path / f"film.{suffix}", 24) as writer:
        writer.write(frames)
    error = middles(open_video(tmp_path / f"film.{suffix}")[0]) - middles(frames)
    assert np.abs(error.mean(axis=(0, 1, 2))).max() < 0.05
    assert np.sqrt((error**2).mean()) < 1.5


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_reading_rounds_the_formula_of_bt_601(tmp_path: Path, pixels: str) -> None:
    ten_bits, path = pixels.endswith("10le"), tmp_path / "film.mkv"
    high = 4 if ten_bits else 1
    random = np.random.default_rng(1)
    red, green, blue = random.uniform(20, 235, (3, 4, ROWS, ROWS)) / 255
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    y = np.round((16 + 219 * luma) * high)
    u = np.round((128 + 224 * (blue - luma) / 1.772) * high)
    v = np.round((128 + 224 * (red - luma) / 1.402) * high)
    wide, tall = (1 if "444" in pixels else 2), (2 if "420" in pixels else 1)
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=24, pix_fmt=pixels)
        stream.height = stream.width = ROWS * BLOCK
        for frame in zip(y, u, v, strict=True):
            image = VideoFrame(ROWS * BLOCK, ROWS * BLOCK, pixels)
            for plane, values, w, h in zip(
                image.planes, frame, (1, wide, wide), (1, tall, tall), strict=True
            ):
                whole = values.repeat(BLOCK // h, axis=0).repeat(BLOCK // w, axis=1)
                whole = whole.astype("<u2" if ten_bits else np.uint8)
                rows = np.zeros((whole.shape[0], plane.line_size), np.uint8)
                rows[:, : whole.shape[1] * whole.itemsize] = whole.view(np.uint8)
                plane.update(rows.tobytes())
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    y, u, v = (y / high - 16) / 219, (u / high - 128) / 224, (v / high - 128) / 224
    expected = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], axis=-1)
    error = middles(open_video(path)[0]) - 255 * expected
    assert np.abs(error.mean(axis=(0, 1, 2))).max() < 0.05
    assert np.abs(error).max() < 1.5


def test_rgb_is_read_exactly(tmp_path: Path) -> None:
    frames = random_colours(2)
    path = encode(tmp_path / "film.mp4", frames, "libx264rgb", "rgb24", options={"qp": "0"})
    np.testing.assert_array_equal(open_video(path)[0], frames)
