"""The report as one figure: what each measure does over time, and the frames where it breaks."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecFromSubplotSpec

from longtake.drift import panels
from longtake.drift.strips import Strip, overview, strips
from longtake.drift.style import ALARM, BACKGROUND, INK, MUTED, bare
from longtake.drift.video_drift import VideoDrift

if TYPE_CHECKING:
    from longtake.drift.report import DriftReport

WIDTH = 13.0
PANEL, SQUARE, LEAST_PLOTS, GAP = 1.5, 2.3, 6.6, 0.5
DPI = 120
MOST_STRIPS = 6
LINE = 118


def draw(made: "DriftReport") -> Figure:
    """All of a report."""
    shown = _shown(made)
    side = panels.beside(made)
    main = panels.over_time(made)
    lines = [line for said in made.lines()[:-1] for line in textwrap.wrap(said, LINE)]
    head = 0.68 + 0.24 * len(lines)
    tall = [SQUARE if panel.func is panels.likeness else 1.0 for panel in side]
    plots = max(PANEL * max(float(len(main)), sum(tall)), LEAST_PLOTS)
    heights = [head, _strip_height(shown[0]), GAP, plots, GAP, *map(_strip_height, shown[1:])]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.3), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(heights), 1, height_ratios=heights, left=0.06, right=0.98, top=1, bottom=0.01, hspace=0
    )
    _head(figure.add_subplot(grid[0]), made, lines)
    _draw_strip(figure.add_subplot(grid[1]), shown[0])
    middle = GridSpecFromSubplotSpec(1, 2, grid[3], width_ratios=[2.1, 1], wspace=0.13)
    left = GridSpecFromSubplotSpec(len(main), 1, middle[0], hspace=0.28)
    first: Axes | None = None
    for place, panel in enumerate(main):
        axes = figure.add_subplot(left[place], sharex=first)
        first = first or axes
        panel(axes)
        axes.tick_params(labelbottom=place == len(main) - 1)
    if first is not None:
        first.set_xlim(0, max(len(video.numbers) for video in made.videos) - 1)
    right = GridSpecFromSubplotSpec(len(side), 1, middle[1], hspace=0.45, height_ratios=tall)
    for place, panel in enumerate(side):
        panel(figure.add_subplot(right[place]))
    for place, strip in enumerate(shown[1:]):
        _draw_strip(figure.add_subplot(grid[5 + place]), strip)
    return figure


def write_picture(figure: Figure, path: Path) -> None:
    """As PNG, complete or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, dpi=DPI, format="png", facecolor=BACKGROUND)
    partial.replace(path)


def _shown(made: "DriftReport") -> list[Strip]:
    """An overview of the worst video, and the frames of the gravest findings."""
    from longtake.drift.report import ranked

    worst = ranked(made.videos)
    several = len(made.videos) > 1
    whole = overview(worst[0])
    chosen = [replace(whole, title=worst[0].info.path.name) if several else whole]
    pairs = [(v, f) for v in worst for f in v.findings[: 1 if several else MOST_STRIPS]]
    for video, finding in pairs[:MOST_STRIPS]:
        rows = strips(video, finding)
        chosen += [_named(video, row) if several and row.title else row for row in rows]
    return chosen


def _named(video: VideoDrift, strip: Strip) -> Strip:
    return replace(strip, title=f"{video.info.path.name}: {strip.title}")


def _head(axes: Axes, made: "DriftReport", lines: Sequence[str]) -> None:
    axes.axis("off")
    height = axes.get_window_extent().height / axes.figure.dpi
    one = made.videos[0].info
    name = one.path.name if len(made.videos) == 1 else f"{len(made.videos)} videos"
    about = f"{one.frames:,} frames of {one.width} x {one.height}, {float(one.fps):.4g} a second"
    if len(made.videos) > 1:
        about = f"windows of {made.plan.window} frames"
    place = 1 - 0.36 / height
    axes.text(0, place, name, fontsize=17, weight="bold", color=INK, transform=axes.transAxes)
    axes.text(1, place, about, fontsize=10, color=MUTED, ha="right", transform=axes.transAxes)
    clean = all(not video.findings for video in made.videos)
    for number, line in enumerate(lines):
        at = place - (0.29 + 0.24 * number) / height
        colour = ALARM if not clean and number < _count(made) else INK
        axes.text(0, at, line, fontsize=10.5, color=colour, transform=axes.transAxes)


def _count(made: "DriftReport") -> int:
    """Lines of the head that say what is wrong."""
    said = made.videos[0].lines() if len(made.videos) == 1 else made.lines()[:1]
    return sum(len(textwrap.wrap(line, LINE)) for line in said)


def _strip_height(strip: Strip) -> float:
    height, width = strip.frames.shape[1:3]
    wide = WIDTH * 0.92 / max(len(strip.frames), 8)
    return min(wide * height / width, 2.2) + 0.22 + (0.34 if strip.title else 0.0)


def _draw_strip(axes: Axes, strip: Strip) -> None:
    """Frames in a row; those that are marked have a frame of their own."""
    count, height, width = strip.frames.shape[:3]
    gap = max(1, round(width * 0.04))
    row = np.full((height, max(count, 8) * (width + gap) - gap, 4), 0, np.uint8)
    for place, frame in enumerate(strip.frames):
        left = place * (width + gap)
        row[:, left : left + width, :3] = frame
        row[:, left : left + width, 3] = 255
    axes.imshow(row, interpolation="lanczos" if height < 128 else "antialiased", aspect="equal")
    bare(axes)
    axes.set_anchor("W")
    for place, number in enumerate(strip.numbers):
        left = place * (width + gap)
        marked = place in strip.marked
        axes.text(
            left + width / 2,
            height * 1.02,
            f"{number}",
            fontsize=8,
            ha="center",
            va="top",
            color=ALARM if marked else MUTED,
            weight="bold" if marked else "normal",
        )
        if marked:
            edge = np.array([[left, 0], [left + width, height]], np.float64)
            _outline(axes, edge - 0.5)
    if strip.title:
        title = textwrap.shorten(strip.title, LINE, placeholder=" ...")
        axes.set_title(title, fontsize=10.5, color=INK, loc="left", pad=4)


def _outline(axes: Axes, edge: Float[np.ndarray, "2 2"]) -> None:
    (left, top), (right, bottom) = edge
    axes.plot(
        [left, right, right, left, left],
        [top, top, bottom, bottom, top],
        color=ALARM,
        linewidth=2,
        clip_on=False,
    )
