"""How sure a KVD is: its deviation over draws of clips, by leaving out parts of both sides."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from longtake.metrics.kernel import cubic_kernel
from longtake.metrics.statistics import check_finite


def kvd_deviation(
    real: Sequence[Float[Tensor, "_ d"]], generated: Sequence[Float[Tensor, "_ d"]]
) -> float:
    """Standard error of a KVD over draws of as many clips (the jackknife).

    The kernel is summed once over each pair of parts; the sums of what is left out are subtracted.

    Args:
        real: features of parts of the clips; 20 parts are plenty.
        generated: of as many or another number of parts.

    Raises:
        ValueError: fewer than two parts a side, or fewer than two clips without one of them.
    """
    sides = [[check_finite(part) for part in side] for side in (real, generated)]
    counts = [torch.tensor([len(part) for part in side]).double() for side in sides]
    for count in counts:
        if len(count) < 2 or (count.sum() - count).min() < 2:
            raise ValueError(
                f"a deviation needs at least 2 parts a side, and 2 clips without any of them, got "
                f"parts of {count.int().tolist()} clips"
            )
    (x, y), (n, m) = sides, counts
    xx, yy, xy = _sums(x, x), _sums(y, y), _sums(x, y)
    x_pairs, y_pairs = _pairs(xx, x), _pairs(yy, y)
    cross = xy.sum()
    whole_x, whole_y = _mean(x_pairs.sum(), n.sum()), _mean(y_pairs.sum(), m.sum())
    left_x = x_pairs.sum() - 2 * x_pairs.sum(1) + x_pairs.diagonal()
    left_y = y_pairs.sum() - 2 * y_pairs.sum(1) + y_pairs.diagonal()
    n_left, m_left = n.sum() - n, m.sum() - m
    without_x = _mean(left_x, n_left) + whole_y - 2 * (cross - xy.sum(1)) / (n_left * m.sum())
    without_y = whole_x + _mean(left_y, m_left) - 2 * (cross - xy.sum(0)) / (n.sum() * m_left)
    variance = sum((len(v) - 1) * v.var(correction=0) for v in (without_x, without_y))
    return float(variance) ** 0.5


def _sums(
    x: Sequence[Float64[Tensor, "_ d"]], y: Sequence[Float64[Tensor, "_ d"]]
) -> Float64[Tensor, "p q"]:
    """Of the kernel, over each pair of parts."""
    width = x[0].shape[1]
    rows = [torch.stack([cubic_kernel(a @ b.T, width).sum() for b in y]) for a in x]
    return torch.stack(rows)


def _pairs(
    sums: Float64[Tensor, "p p"], parts: Sequence[Float64[Tensor, "_ d"]]
) -> Float64[Tensor, "p p"]:
    """Without pairs of a clip with itself."""
    width = parts[0].shape[1]
    itself = torch.stack([cubic_kernel((part * part).sum(1), width).sum() for part in parts])
    return sums - itself.diag()


def _mean(pairs: Tensor, clips: Tensor) -> Tensor:
    return pairs / (clips * (clips - 1))
