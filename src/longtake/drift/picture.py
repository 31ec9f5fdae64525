"""The drift report as one figure: measures over time, and the frames that show the findings."""

import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpecFromSubplotSpec

from longtake.drift import panels
from longtake.drift.findings import Finding
from longtake.drift.panels import ALARM, BACKGROUND, INK, MUTED, bare
from longtake.drift.report import DriftReport
from longtake.drift.seams import jumps, surprise
from longtake.drift.video_drift import VideoDrift
from longtake.files import put
from longtake.video import read_clip

WIDTH = 13.0
DPI = 120
# Heights in inches: a panel, all plots at least, the gap around them; a square is in panels.
PANEL, SQUARE, LEAST_PLOTS, GAP = 1.5, 2.3, 6.6, 0.5
# Heights in inches of the head without sentences, of a sentence's line, of a strip's title.
HEAD, LINE_HEIGHT, TITLE = 0.68, 0.24, 0.34
LINE = 118  # characters of a line
MOST_STRIPS = 6
SHOWN = 8  # frames of a strip
OVERVIEW = 12  # frames of the strip that shows the whole video
LEAST_STRIP = 8  # frames whose width a strip has at least, so that a short one does not become huge


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A row of frames in the figure, which shows one fault of a video.

    Attributes:
        title: the fault in words; may be empty.
        frames: the frames.
        numbers: index of each frame in the video.
        marked: positions in the row of the frames that show the fault.
    """

    title: str
    frames: UInt8[np.ndarray, "n h w 3"]
    numbers: tuple[int, ...]
    marked: tuple[int, ...] = ()


def draw(report: DriftReport) -> Figure:
    """Draw a drift report as one matplotlib figure; frames are read again from the video files.

    Raises:
        VideoError: a video cannot be read.
    """
    first_strip, *more_strips = _strips(report)
    side = panels.beside(report)
    main = panels.over_time(report)
    lines = [line for sentence in report.findings() for line in textwrap.wrap(sentence, LINE)]
    head = HEAD + LINE_HEIGHT * len(lines)
    tall = [SQUARE if panel.func is panels.distance_matrix else 1.0 for panel in side]
    plots = max(PANEL * max(float(len(main)), sum(tall)), LEAST_PLOTS)
    heights = [head, _strip_height(first_strip), GAP, plots, GAP, *map(_strip_height, more_strips)]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.3), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(heights), 1, height_ratios=heights, left=0.06, right=0.98, top=1, bottom=0.01, hspace=0
    )
    _draw_head(figure.add_subplot(grid[0]), report, lines)
    _draw_strip(figure.add_subplot(grid[1]), first_strip)
    middle = GridSpecFromSubplotSpec(1, 2, grid[3], width_ratios=[2.1, 1], wspace=0.13)
    left = GridSpecFromSubplotSpec(len(main), 1, middle[0], hspace=0.28)
    axes = None
    for row, panel in enumerate(main):
        axes = figure.add_subplot(left[row], sharex=axes)
        panel(axes)
        axes.tick_params(labelbottom=row == len(main) - 1)
        axes.set_xlim(0, max(len(video.numbers) for video in report.videos) - 1)
    right = GridSpecFromSubplotSpec(len(side), 1, middle[1], hspace=0.45, height_ratios=tall)
    for row, panel in enumerate(side):
        panel(figure.add_subplot(right[row]))
    for row, strip in enumerate(more_strips):
        _draw_strip(figure.add_subplot(grid[5 + row]), strip)
    return figure


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, completely or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, dpi=DPI, format="png", facecolor=BACKGROUND)
    put(partial, path)


def _strips(report: DriftReport) -> list[Strip]:
    """Strips of frames: an overview of the worst video, then the most severe findings."""
    worst = report.worst_first()
    several = len(worst) > 1
    evenly = _even(0, worst[0].info.frames - 1, OVERVIEW)
    chosen = [_strip(worst[0], worst[0].info.path.name if several else "", evenly)]
    pairs = [(v, f) for v in worst for f in v.findings[: 1 if several else MOST_STRIPS]]
    for video, finding in pairs[:MOST_STRIPS]:
        for strip in _STRIPS.get(finding.kind, _drift)(video, finding):
            title = f"{video.info.path.name}: {strip.title}"
            chosen.append(replace(strip, title=title) if several and strip.title else strip)
    return chosen


def _draw_head(axes: Axes, report: DriftReport, lines: Sequence[str]) -> None:
    axes.axis("off")
    height = axes.get_window_extent().height / axes.figure.dpi
    one = report.videos[0].info
    about = f"{one.frames:,} frames of {one.width} x {one.height}, {float(one.fps):.4g} a second"
    if len(report.videos) > 1:
        about = f"windows of {report.plan.window} frames"
    top = 1 - 0.36 / height
    axes.text(0, top, report.name, fontsize=17, weight="bold", color=INK, transform=axes.transAxes)
    axes.text(1, top, about, fontsize=10, color=MUTED, ha="right", transform=axes.transAxes)
    findings = report.videos[0].lines() if len(report.videos) == 1 else report.findings()[:1]
    wrong = any(video.findings for video in report.videos)
    alarming = sum(len(textwrap.wrap(sentence, LINE)) for sentence in findings) if wrong else 0
    for number, line in enumerate(lines):
        y = top - (0.29 + LINE_HEIGHT * number) / height
        colour = ALARM if number < alarming else INK
        axes.text(0, y, line, fontsize=10.5, color=colour, transform=axes.transAxes)


def _strip_height(strip: Strip) -> float:
    """Height of a strip in inches, with its frames' numbers and title."""
    height, width = strip.frames.shape[1:3]
    frame_width = WIDTH * 0.92 / max(len(strip.frames), LEAST_STRIP)
    return min(frame_width * height / width, 2.2) + 0.22 + (TITLE if strip.title else 0.0)


def _draw_strip(axes: Axes, strip: Strip) -> None:
    """Draw a strip's frames in a row; marked ones are outlined."""
    count, height, width = strip.frames.shape[:3]
    gap = max(1, round(width * 0.04))
    row = np.zeros((height, max(count, LEAST_STRIP), width + gap, 4), np.uint8)
    row[:, :count, :width, :3] = strip.frames.swapaxes(0, 1)
    row[:, :count, :width, 3] = 255
    row = row.reshape(height, -1, 4)[:, :-gap]
    axes.imshow(row, interpolation="lanczos" if height < 128 else "antialiased", aspect="equal")
    bare(axes)
    axes.set_anchor("W")
    for position, number in enumerate(strip.numbers):
        left = position * (width + gap)
        marked = position in strip.marked
        colour, weight = (ALARM, "bold") if marked else (MUTED, "normal")
        at = (left + width / 2, height * 1.02)
        axes.text(*at, f"{number}", fontsize=8, ha="center", va="top", color=colour, weight=weight)
        if marked:
            x, y = np.array([left, left + width]) - 0.5, np.array([0, height]) - 0.5
            outline = x[[0, 1, 1, 0, 0]], y[[0, 0, 1, 1, 0]]
            axes.plot(*outline, color=ALARM, linewidth=2, clip_on=False)
    if strip.title:
        title = textwrap.shorten(strip.title, LINE, placeholder=" ...")
        axes.set_title(title, fontsize=10.5, color=INK, loc="left", pad=4)


def _drift(video: VideoDrift, finding: Finding) -> list[Strip]:
    return [_strip(video, finding.sentence, _even(0, video.info.frames - 1, SHOWN))]


def _loop(video: VideoDrift, finding: Finding) -> list[Strip]:
    """A strip of a loop's original frames, and one of their repeats."""
    loop = next(loop for loop in video.measures.loops if loop.start == finding.frame)
    repeats = _even(loop.start, loop.start + min(loop.frames, loop.period) - 1, SHOWN)
    originals = [number - loop.period for number in repeats]
    return [_strip(video, finding.sentence, originals), _strip(video, "", repeats, repeats)]


def _freeze(video: VideoDrift, finding: Finding) -> list[Strip]:
    last = min(finding.frame + finding.frames, video.info.frames) - 1
    inside = _even(finding.frame, last, SHOWN - 4)
    numbers = [finding.frame - 2, finding.frame - 1, *inside, last + 1, last + 2]
    return [_strip(video, finding.sentence, numbers, inside)]


def _seams(video: VideoDrift, finding: Finding) -> list[Strip]:
    """A strip of the frames around the border with the largest jump."""
    assert video.measures.seams is not None
    rise = surprise(jumps(video.numbers.thumbnails))
    largest = max(video.measures.seams.borders, key=lambda border: rise[border])
    return _cut(video, replace(finding, frame=largest))


def _cut(video: VideoDrift, finding: Finding) -> list[Strip]:
    at = finding.frame
    return [_strip(video, finding.sentence, range(at - SHOWN // 2, at + SHOWN // 2), [at])]


# By kind of finding; other kinds are drifts, which span the whole video.
_STRIPS = {"loop": _loop, "freeze": _freeze, "seams": _seams, "cut": _cut, "jump": _cut}


def _strip(
    video: VideoDrift, title: str, numbers: Sequence[int], marked: Collection[int] = ()
) -> Strip:
    inside = [number for number in numbers if 0 <= number < video.info.frames]
    starts = [0, *(np.flatnonzero(np.diff(inside) != 1) + 1).tolist(), len(inside)]
    frames = [read_clip(video.info.path, inside[a], b - a) for a, b in pairwise(starts)]
    return Strip(
        title=title,
        frames=np.concatenate(frames),
        numbers=tuple(inside),
        marked=tuple(position for position, number in enumerate(inside) if number in marked),
    )


def _even(first: int, last: int, count: int) -> list[int]:
    return [int(number) for number in np.unique(np.linspace(first, last, count).round())]
