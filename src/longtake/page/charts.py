"""Line charts as inline SVG, coloured by the page's style sheet."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 460, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 12, 26
MOST_POINTS = 230  # one for two pixels; more values are averaged
LOG_RATIO = 20  # a larger range of positive values has a logarithmic axis
TICKS = 4


def line_chart(title: str, xs: Sequence[float], ys: Sequence[float], unit: str) -> str:
    """A line chart as SVG, with the last value in its caption.

    Args:
        title: title of the chart.
        xs: positions along the horizontal axis, in any order.
        ys: finite values; their axis is logarithmic if they are positive and the largest is more
            than 20 times the smallest.
        unit: unit of ``xs``.
    """
    last = f"{ys[-1]:.4g}"
    order = np.argsort(xs, kind="stable")
    x, y = (_averaged(np.asarray(values, float)[order]) for values in (xs, ys))
    log = bool(y.min() > 0 and y.max() > LOG_RATIO * y.min())
    low, high = _range(np.log10(y) if log else y)
    span_x = max(float(x[-1] - x[0]), 1e-9)
    across = LEFT + (x - x[0]) / span_x * (WIDTH - LEFT - RIGHT)
    heights = ((np.log10(y) if log else y) - low) / (high - low)
    down = HEIGHT - BOTTOM - heights * (HEIGHT - TOP - BOTTOM)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))
    parts = [_horizontal(value, low, high, log) for value in _ticks(low, high, log)]
    parts += [_below(v, float(x[0]), span_x) for v in _ticks(float(x[0]), float(x[-1]), False)]
    parts.append(f'<polyline class="line" points="{points}"/>')
    parts.append(f'<circle class="dot" cx="{across[-1]:.1f}" cy="{down[-1]:.1f}" r="3"/>')
    name = escape(title)
    return (
        f'<figure><figcaption>{name} <b>{last}</b></figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' role="img" aria-label="{name}, last {last}">{"".join(parts)}'
        f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor="end">{unit}</text>'
        "</svg></figure>"
    )


def _averaged(values: np.ndarray) -> np.ndarray:
    """At most 230 means of neighbouring values."""
    parts = np.array_split(values, min(len(values), MOST_POINTS))
    return np.array([part.mean() for part in parts])


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) or max(abs(high), 1.0) * 0.1
    return low - room, high + room


def _ticks(low: float, high: float, log: bool) -> list[float]:
    """Round numbers from ``low`` to ``high``; if ``log``, all are decimal logarithms."""
    if log:
        decades = range(math.ceil(low), math.floor(high) + 1)
        steps = (1, 2, 5) if len(decades) < TICKS else (1,)
        found = [
            decade + math.log10(n)
            for decade in range(math.floor(low), math.ceil(high))
            for n in steps
        ]
        return [value for value in found if low <= value <= high]
    rough = (high - low) / TICKS or 1.0
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(n * size for n in (1, 2, 5, 10) if n * size >= rough)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]


def _horizontal(value: float, low: float, high: float, log: bool) -> str:
    y = HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
    label = f"{10**value if log else value:.3g}"
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _below(value: float, first: float, span: float) -> str:
    x = LEFT + (value - first) / span * (WIDTH - LEFT - RIGHT)
    if x > WIDTH - 60:  # the unit stands there
        return ""
    y = HEIGHT - BOTTOM + 16
    return f'<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{value:.4g}</text>'
