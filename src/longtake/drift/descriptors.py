"""A video as a few numbers a frame, taken while its frames pass: no frame is kept."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float16, Float64, UInt8
from torch import Tensor

CELLS = 12
"""Of a thumbnail, in height and in width."""

LUMA = (0.299, 0.587, 0.114)
CALM = 1e-4


@dataclass(frozen=True, kw_only=True)
class Descriptors:
    """Numbers of each frame; colours from 0 to 1.

    Attributes:
        colour: mean red, green and blue.
        contrast: standard deviation of the brightness within the frame.
        gradient: root mean square of the slope of the brightness, a pixel.
        step: root mean square difference of colours to the frame before; that of the first is 0.
        change: likewise of brightness.
        thumbnails: mean colours of cells, in half precision: 864 bytes a frame.
    """

    colour: Float64[np.ndarray, "t 3"]
    contrast: Float64[np.ndarray, "t"]
    gradient: Float64[np.ndarray, "t"]
    step: Float64[np.ndarray, "t"]
    change: Float64[np.ndarray, "t"]
    thumbnails: Float16[np.ndarray, "t d"]

    def __len__(self) -> int:
        return len(self.step)

    @property
    def sharpness(self) -> Float64[np.ndarray, "t"]:
        """Slope of the brightness over its contrast: blur lowers it, a fade does not."""
        return self.gradient / (self.contrast + CALM)

    @property
    def motion(self) -> Float64[np.ndarray, "t"]:
        """Change over slope: pixels a frame, where all that the frame shows moves alike."""
        return self.change / (self.gradient + CALM)


class Describer:
    """Takes frames as they come, in order, and keeps their numbers."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, ...]] = []
        self._thumbnails: list[np.ndarray] = []
        self._last: Tensor | None = None

    def add(self, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
        """The next frames."""
        luma = torch.tensor(LUMA)
        for frame in torch.from_numpy(frames):
            pixels = frame.float() / 255
            bright = pixels @ luma
            across, down = bright.diff(dim=1), bright.diff(dim=0)
            gradient = (across.square().mean() + down.square().mean()).sqrt()
            moved = pixels - (pixels if self._last is None else self._last)
            step, change = moved.square().mean().sqrt(), (moved @ luma).square().mean().sqrt()
            numbers = torch.stack([bright.std(correction=0), gradient, step, change])
            self._rows.append((*pixels.mean((0, 1)).tolist(), *numbers.tolist()))
            cells = F.adaptive_avg_pool2d(pixels.permute(2, 0, 1), CELLS)
            self._thumbnails.append(cells.flatten().half().numpy())
            self._last = pixels

    def done(self) -> Descriptors:
        """The numbers of all frames.

        Raises:
            ValueError: there were none.
        """
        if not self._rows:
            raise ValueError("a video needs at least 1 frame, got none")
        rows = np.array(self._rows, np.float64)
        return Descriptors(
            colour=rows[:, :3],
            contrast=rows[:, 3],
            gradient=rows[:, 4],
            step=rows[:, 5],
            change=rows[:, 6],
            thumbnails=np.stack(self._thumbnails),
        )
