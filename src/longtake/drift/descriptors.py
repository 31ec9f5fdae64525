"""Measures of each frame of a video, computed while frames stream by; no frame is kept."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float16, Float32, Float64, UInt8

CELLS = 12  # height and width of a thumbnail, in cells
PIXELS = 1 << 16  # of the frames that are described at once, for the cache of the processor
CHANNELS = ("red", "green", "blue")
LUMA = (0.299, 0.587, 0.114)  # Weights of red, green and blue in brightness (BT.601)
EPSILON = 1e-4  # keeps ratios and logarithms finite for flat frames; a fortieth of a level of 255


@dataclass(frozen=True, kw_only=True)
class Descriptors:
    """Measures of each frame of a video, from colours in [0, 1].

    Attributes:
        colour: mean red, green and blue.
        contrast: standard deviation of the brightness within the frame.
        gradient: root mean square gradient of the brightness, per pixel.
        step: root mean square difference of colours to the frame before; 0 for the first frame.
        luma_step: root mean square difference of brightness to the frame before; 0 for the first
            frame.
        thumbnails: mean colours of the cells of a 12 x 12 grid over the frame, first the reds of
            all cells, then the greens, then the blues, in half precision: 864 bytes per frame.
        cells: measures within the cells of that grid, first the contrasts of all cells, then the
            gradients, then the luma_steps, in half precision.
    """

    colour: Float64[np.ndarray, "t 3"]
    contrast: Float64[np.ndarray, "t"]
    gradient: Float64[np.ndarray, "t"]
    step: Float64[np.ndarray, "t"]
    luma_step: Float64[np.ndarray, "t"]
    thumbnails: Float16[np.ndarray, "t d"]
    cells: Float16[np.ndarray, "t d"]

    def __len__(self) -> int:
        return len(self.step)

    @property
    def sharpness(self) -> Float64[np.ndarray, "t"]:
        """Root mean square gradient of the brightness divided by its standard deviation.

        Blur lowers it, a fade does not. The unit is 1 / pixel.
        """
        return self.gradient / (self.contrast + EPSILON)

    @property
    def motion(self) -> Float64[np.ndarray, "t"]:
        """Change of brightness per frame divided by its gradient.

        For a uniform translation this is its speed in pixels per frame.
        """
        return self.luma_step / (self.gradient + EPSILON)

    def series(self) -> dict[str, Float64[np.ndarray, "t"]]:
        """Measures of whole frames by name: colours, contrast, sharpness and motion."""
        rest = {"contrast": self.contrast, "sharpness": self.sharpness, "motion": self.motion}
        return dict(zip(CHANNELS, self.colour.T, strict=True)) | rest


class Describer:
    """Computes the ``Descriptors`` of a video, whose frames are added in batches of any size."""

    def __init__(self) -> None:
        self._rows: list[np.ndarray] = []
        self._cells: list[np.ndarray] = []
        self._previous: np.ndarray | None = None

    def add(self, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
        """Add the next frames of the video."""
        at_once = max(1, PIXELS // frames[0, ..., 0].size) if len(frames) else 1
        for start in range(0, len(frames), at_once):
            self._describe(frames[start : start + at_once])

    def _describe(self, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
        """Add rows of numbers and maps of cells of the next frames."""
        pixels = frames.transpose(3, 0, 1, 2).astype(np.float32) / 255
        before = pixels[:, :1] if self._previous is None else self._previous
        self._previous = pixels[:, -1:]
        moved = np.diff(np.concatenate([before, pixels], 1), axis=1)
        bright, change = _luma(pixels), _luma(moved)
        grey = bright - _mean(bright)[:, None, None]
        across, down = np.square(np.diff(bright, axis=2)), np.square(np.diff(bright, axis=1))
        slope = np.zeros_like(bright)
        slope[:, :, :-1] += across
        slope[:, :-1] += down
        square, squares = np.square(change), np.square(grey)
        step = np.sqrt(_mean(np.square(moved)).mean(0))
        gradient = np.sqrt(_mean(across) + _mean(down))
        numbers = np.sqrt(_mean(squares)), gradient, step, np.sqrt(_mean(square))
        self._rows.append(np.stack([*_mean(pixels), *numbers], 1))
        maps = torch.from_numpy(np.stack([*pixels, grey, squares, slope, square], 1))
        cells = F.adaptive_avg_pool2d(maps, CELLS).numpy()
        cells[:, 4] -= np.square(cells[:, 3])  # the variance within a cell
        cells[:, 4:] = np.sqrt(np.maximum(cells[:, 4:], 0))
        kept = np.delete(cells, 3, axis=1)
        self._cells.append(kept.reshape(len(kept), -1).astype(np.float16))

    def done(self) -> Descriptors:
        """Descriptors of all frames that were added.

        Raises:
            ValueError: no frame was added.
        """
        if not self._rows:
            raise ValueError("a video needs at least 1 frame, got none")
        rows = np.concatenate(self._rows).astype(np.float64)
        thumbnails, cells = np.hsplit(np.concatenate(self._cells), 2)
        return Descriptors(
            colour=rows[:, :3],
            contrast=rows[:, 3],
            gradient=rows[:, 4],
            step=rows[:, 5],
            luma_step=rows[:, 6],
            thumbnails=thumbnails,
            cells=cells,
        )


def _mean(maps: Float32[np.ndarray, "*n h w"]) -> Float32[np.ndarray, "*n"]:
    """Mean of each map over height and width, equal to the last bit for any number of maps."""
    return np.ascontiguousarray(maps).reshape(*maps.shape[:-2], -1).mean(-1)


def _luma(colours: Float32[np.ndarray, "3 t h w"]) -> Float32[np.ndarray, "t h w"]:
    red, green, blue = (np.float32(weight) for weight in LUMA)
    return red * colours[0] + green * colours[1] + blue * colours[2]
