"""Changes over time that all parts of a frame share, as in a drift, unlike those of a passer-by."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from longtake.drift.descriptors import CHANNELS, EPSILON, LUMA, Descriptors

COLOURFUL = "colourfulness"
FAINT = 0.02  # brightness added to that of cells, so that the colour of black does not count
TEXTURED = 0.006  # least contrast of a cell whose contrast and sharpness count, 1.5 levels of 255
MOVING = 0.0015  # least step of a cell whose motion counts, 0.4 levels of 255
LEAST_CELLS = 18  # fewest cells that stand for a picture, an eighth of it
LIKE = 0.4, 2.5  # bounds of a cell's change over the median change, of cells that change alike


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A measure over time, as far as all parts of the frame share its changes.

    The frame is divided into the cells of a 12 x 12 grid. Clouds that gather change some cells, a
    drift changes all.

    Attributes:
        values: per frame, the median over cells of a cell's difference from its own mean over time,
            plus the mean over all cells and frames.
        agreement: share of the cells whose change is 0.4 to 2.5 times the median change.
    """

    values: Float64[np.ndarray, "t"]
    agreement: float


def shared(video: Descriptors, start: int, stop: int) -> dict[str, Shared]:
    """Measures of frames ``start`` to ``stop - 1``, as far as all parts of the frame share them.

    ``red``, ``green`` and ``blue`` are mean colours in [0, 1]. The others are natural logarithms of
    ratios: ``colourfulness`` of the distance of a cell's colour from grey over its brightness,
    ``contrast`` of the standard deviation of brightness within a cell (in [0, 1]), ``sharpness`` of
    its gradient per pixel over the frame's contrast, and ``motion`` of its change per frame over
    its gradient, about a speed in pixels per frame. A cell is a part of a 12 x 12 grid over the
    frame. The last three are missing if too few cells have texture or move.
    """
    return {name: _shared(cells) for name, cells in _measures(video, start, stop)}


def _measures(
    video: Descriptors, start: int, stop: int
) -> Iterator[tuple[str, Float32[np.ndarray, "t n"]]]:
    """Logarithms and colours of each cell that has them, ``n`` cells of ``t`` frames, by name."""
    colours = video.thumbnails[start:stop].astype(np.float32).reshape(stop - start, 3, -1)
    yield from zip(CHANNELS, colours.swapaxes(0, 1), strict=True)
    grey = np.einsum("tcn,c->tn", colours, np.array(LUMA, np.float32))
    from_grey = np.sqrt(np.square(colours - grey[:, None]).mean(1))
    yield COLOURFUL, np.log((from_grey + FAINT) / (grey + FAINT))
    contrast, gradient, step = (
        video.cells[start:stop].astype(np.float32).reshape(stop - start, 3, -1).swapaxes(0, 1)
    )
    textured, moving = np.median(contrast, axis=0) > TEXTURED, np.median(step, axis=0) > MOVING
    if textured.sum() >= LEAST_CELLS:
        yield "contrast", np.log(contrast + EPSILON)[:, textured]
        whole = video.contrast[start:stop, None].astype(np.float32)
        yield "sharpness", np.log((gradient + EPSILON) / (whole + EPSILON))[:, textured]
    if moving.sum() >= LEAST_CELLS:
        yield "motion", np.log((step + EPSILON) / (gradient + EPSILON))[:, moving]


def _shared(cells: Float32[np.ndarray, "t n"]) -> Shared:
    values = (np.median(cells - cells.mean(0), axis=1) + cells.mean()).astype(np.float64)
    part = max(1, len(cells) // 8)
    change = cells[-2 * part :].mean(0) - cells[:part].mean(0)
    usual = float(np.median(change))
    low, high = (bound * usual**2 for bound in LIKE)
    like = (change * usual > low) & (change * usual < high)
    return Shared(values=values, agreement=float(like.mean()))
