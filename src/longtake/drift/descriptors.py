"""A few numbers a frame, computed while frames stream by; no frame is kept."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float16, Float32, Float64, UInt8
from torch import Tensor

CELLS = 12  # height and width of a thumbnail, in cells
CHANNELS = ("red", "green", "blue")
COLOURFUL = "colourfulness"
LUMA = (0.299, 0.587, 0.114)  # Weights of red, green and blue in brightness (BT.601)
FAINT = 0.02  # brightness added to that of cells, so that the colour of black does not count
EPSILON = 1e-4  # keeps ratios and logarithms finite for flat frames; a fortieth of a level of 255


@dataclass(frozen=True, kw_only=True)
class Descriptors:
    """Measures of each frame, from colours in [0, 1].

    Attributes:
        colour: mean red, green and blue.
        contrast: standard deviation of the brightness within the frame.
        gradient: root mean square gradient of the brightness, per pixel.
        step: root mean square difference of colours to the previous frame; 0 for the first.
        luma_step: root mean square difference of brightness to the previous frame.
        thumbnails: mean colours of 12 x 12 cells in half precision, 864 bytes per frame.
    """

    colour: Float64[np.ndarray, "t 3"]
    contrast: Float64[np.ndarray, "t"]
    gradient: Float64[np.ndarray, "t"]
    step: Float64[np.ndarray, "t"]
    luma_step: Float64[np.ndarray, "t"]
    thumbnails: Float16[np.ndarray, "t d"]

    def __len__(self) -> int:
        return len(self.step)

    @property
    def sharpness(self) -> Float64[np.ndarray, "t"]:
        """Root mean square gradient of the brightness over its standard deviation, per pixel.

        Blur lowers it, a fade does not.
        """
        return self.gradient / (self.contrast + EPSILON)

    @property
    def motion(self) -> Float64[np.ndarray, "t"]:
        """Change of brightness over its gradient: pixels per frame for a uniform translation."""
        return self.luma_step / (self.gradient + EPSILON)

    def shared(self, start: int, stop: int) -> dict[str, "Shared"]:
        """Colours and the logarithm of colourfulness as all parts of the picture share them.

        Colourfulness is the distance of a cell's colour from grey over its brightness.
        """
        cells = self.thumbnails[start:stop].astype(np.float32).reshape(stop - start, 3, -1)
        grey = np.einsum("tcn,c->tn", cells, np.array(LUMA, np.float32))
        from_grey = np.sqrt(np.square(cells - grey[:, None]).mean(1))
        colourful = np.log((from_grey + FAINT) / (grey + FAINT))
        parts = dict(zip(CHANNELS, cells.swapaxes(0, 1), strict=True))
        return {name: _shared(part) for name, part in (parts | {COLOURFUL: colourful}).items()}

    def series(self) -> dict[str, Float64[np.ndarray, "t"]]:
        """Measures that can drift, by name: colours, contrast, sharpness and motion."""
        rest = {"contrast": self.contrast, "sharpness": self.sharpness, "motion": self.motion}
        return dict(zip(CHANNELS, self.colour.T, strict=True)) | rest


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A measure as all parts of the picture share it.

    Attributes:
        values: a cell's difference from its mean over time, its median over the cells, and the mean
            added again. Clouds that gather change some cells, a drift changes all.
        agreement: share of the cells that change by 0.4 to 2.5 times the median change.
    """

    values: Float64[np.ndarray, "t"]
    agreement: float


class Describer:
    """Computes descriptors of consecutive frames, in batches of any size."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, ...]] = []
        self._thumbnails: list[np.ndarray] = []
        self._previous: Tensor | None = None

    def add(self, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
        """Describe the next frames."""
        luma = torch.tensor(LUMA)
        for frame in torch.from_numpy(frames):
            pixels = frame.float() / 255
            bright = pixels @ luma
            across, down = bright.diff(dim=1), bright.diff(dim=0)
            gradient = (across.square().mean() + down.square().mean()).sqrt()
            moved = pixels - (pixels if self._previous is None else self._previous)
            step, luma_step = moved.square().mean().sqrt(), (moved @ luma).square().mean().sqrt()
            numbers = torch.stack([bright.std(correction=0), gradient, step, luma_step])
            self._rows.append((*pixels.mean((0, 1)).tolist(), *numbers.tolist()))
            cells = F.adaptive_avg_pool2d(pixels.permute(2, 0, 1), CELLS)
            self._thumbnails.append(cells.flatten().half().numpy())
            self._previous = pixels

    def done(self) -> Descriptors:
        """Descriptors of all frames so far.

        Raises:
            ValueError: no frame was added.
        """
        if not self._rows:
            raise ValueError("a video needs at least 1 frame, got none")
        rows = np.array(self._rows, np.float64)
        return Descriptors(
            colour=rows[:, :3],
            contrast=rows[:, 3],
            gradient=rows[:, 4],
            step=rows[:, 5],
            luma_step=rows[:, 6],
            thumbnails=np.stack(self._thumbnails),
        )


def _shared(cells: Float32[np.ndarray, "t n"]) -> Shared:
    values = (np.median(cells - cells.mean(0), axis=1) + cells.mean()).astype(np.float64)
    part = max(1, len(cells) // 8)
    change = cells[-2 * part :].mean(0) - cells[:part].mean(0)
    usual = float(np.median(change))
    like = (change * usual > 0.4 * usual**2) & (change * usual < 2.5 * usual**2)
    return Shared(values=values, agreement=float(like.mean()))
