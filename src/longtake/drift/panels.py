"""The panels of the drift report; each is a function that draws on given axes of matplotlib."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from longtake.drift.curves import Curve
from longtake.drift.measures import longest_stretch
from longtake.drift.report import DriftReport
from longtake.drift.seams import Seams, jumps, surprise
from longtake.drift.video_drift import VideoDrift
from longtake.drift.world_measures import WorldMeasures

Panel = partial[None]
Values = Float[np.ndarray, "t"]

INK, MUTED, GRID, BACKGROUND = "#1f2430", "#7a8194", "#e7e9ef", "#ffffff"
ALARM, NEUTRAL = "#c8384a", "#4263c4"
CHANNELS = {"red": "#d1495b", "green": "#2f9e66", "blue": "#3a66c9"}
SHARES, MOTION = {"contrast": "#7b52ab", "sharpness": "#d98032"}, {"motion": "#1b8a9e"}
FREEZE, LOOP = "#8fb8de", "#f2c14e"
# One colour a video, where a panel shows several; repeated after the sixth.
VIDEOS = ("#3a66c9", "#d98032", "#2f9e66", "#c8384a", "#7b52ab", "#1b8a9e")

LEGEND: dict[str, Any] = {"loc": "upper left", "fontsize": 8, "frameon": False}
LEGEND |= {"labelcolor": "linecolor", "handlelength": 0, "borderaxespad": 0.2}
LEVELS = 255
# Levels of 255 that are always shown, so that invisible changes look small.
COLOUR_RANGE = (-8.0, 8.0)
# Shares of the median, and ratios of jumps, that are always shown: near what is reported.
SHARE_RANGE, JUMP_RANGE = (0.8, 1.25), (0.25, 4.0)
# A data set's measures that have a panel, with the upper end of the range always shown.
WORLD_RANGE = {"ridge_px": 2.0, "strangeness": 4.0, "cloud": 1.0}
WORLD_TITLES = {
    "ridge_px": "Ridge moved, pixels",
    "strangeness": "Colour error, levels",
    "cloud": "Share of clouds",
}
WORLD_COUNTS = ("marbles", "events_per_1000_frames")

MOST_POINTS = 900  # points of a line, about one per pixel of the panel; more frames are averaged
MOST_CELLS = 256  # rows and columns of the matrix of distances, about one per pixel
MOST_LINES = 12  # videos whose lines are drawn, of a folder
FIRST_FRAMES = 8  # frames whose mean colour is the zero of the panel of colours


def over_time(report: DriftReport) -> list[Panel]:
    """Functions of matplotlib axes that draw a drift report's panels over the video's frames."""
    panels = [partial(panel, videos=report.videos) for panel in (_colour, _shares, _motion)]
    if len(report.videos) == 1:
        panels.append(partial(_jumps, video=report.videos[0]))
    return panels


def beside(report: DriftReport) -> list[Panel]:
    """Functions of matplotlib axes that draw a drift report's panels beside those over time."""
    panels: list[Panel] = []
    if report.curve is not None:
        panels += [partial(_curve, curve=report.curve, name=name) for name in ("fvd", "kvd")]
    one = report.videos[0]
    if len(report.videos) == 1:
        panels.append(partial(distance_matrix, video=one))
        if one.distances:
            panels.append(partial(_feature_distances, video=one))
        if one.measures.seams is not None and one.measures.seams.period > 1:
            panels.append(partial(_phases, video=one, seams=one.measures.seams))
    if one.world is not None:
        tracks = [video.world for video in report.videos if video.world is not None]
        names = [name for name in (*WORLD_RANGE, *WORLD_COUNTS) if name in one.world.numbers]
        panels += [partial(_world, tracks=tracks, name=name) for name in names]
    return panels or [partial(distance_matrix, video=one)]


def _colour(axes: Axes, videos: Sequence[VideoDrift]) -> None:
    def since_first(values: Values) -> Callable[[Values], Values]:
        zero = float(values[:FIRST_FRAMES].mean())
        return lambda these: LEVELS * (these - zero)

    _tracks(axes, videos, CHANNELS, since_first)
    plain(axes, "Mean colour since the first frames", _note("levels of 255", videos))
    _show_at_least(axes, *COLOUR_RANGE)
    _mark_findings(axes, videos)


def _shares(axes: Axes, videos: Sequence[VideoDrift]) -> None:
    def over_median(values: Values) -> Callable[[Values], Values]:
        usual = max(float(np.median(values)), 1e-9)
        return lambda these: these / usual

    _tracks(axes, videos, SHARES, over_median)
    plain(axes, "Contrast, sharpness", _note("over their medians", videos))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    _show_at_least(axes, *SHARE_RANGE)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), ncols=len(handles), **LEGEND)
    _mark_findings(axes, videos)


def _motion(axes: Axes, videos: Sequence[VideoDrift]) -> None:
    _tracks(axes, videos, MOTION, lambda _: lambda these: these, first=1)
    plain(axes, "Motion", _note("step over gradient: about pixels a frame", videos))
    axes.set_ylim(bottom=0)
    if len(videos) > 1:
        axes.set_xlabel("frame", fontsize=8.5, color=MUTED)
    _mark_findings(axes, videos)


def _note(unit: str, videos: Sequence[VideoDrift]) -> str:
    """The unit of a panel of ``_tracks``, and what dashed lines are, which a single video has."""
    return f"{unit}; dashed: the trend" if len(videos) == 1 else unit


def _tracks(
    axes: Axes,
    videos: Sequence[VideoDrift],
    colours: Mapping[str, str],
    scale: Callable[[Values], Callable[[Values], Values]],
    first: int = 0,
) -> None:
    """Draw measures of each video, and trends of a single one, from frame ``first`` on.

    ``colours`` has the measures' names; ``scale(values)`` returns the conversion to the panel's
    unit.
    """
    alone = len(videos) == 1
    for name, colour in colours.items():
        for video in videos[:MOST_LINES]:
            values = video.numbers.series()[name][first:]
            to_panel = scale(values)
            _line(axes, to_panel(values), colour, name, alone=alone, first=first)
            line = video.measures.trends.get(name)
            if alone and line is not None:
                start, stop = longest_stretch(video.measures.cuts, len(video.numbers))
                change = np.linspace(-0.5, 0.5, 50) * line.change
                if name in CHANNELS:
                    fit = line.middle + change
                else:  # the trend is of cells, whose contrast is not that of the whole frame
                    usual = np.median(video.numbers.series()[name][max(start, first) : stop])
                    fit = usual * np.exp(change)
                at = np.linspace(start, stop - 1, 50)
                axes.plot(at, to_panel(fit), "--", color=colour, linewidth=1, alpha=0.8)


def _jumps(axes: Axes, video: VideoDrift) -> None:
    rise = np.exp(surprise(jumps(video.numbers.thumbnails)))
    _line(axes, rise, INK, "jump")
    axes.set_yscale("log", base=2)
    seams, cuts = video.measures.seams, list(video.measures.cuts)
    if seams is not None:
        borders = list(seams.borders)
        axes.plot(borders, rise[borders], ".", color=ALARM, markersize=4)
    if cuts:
        axes.plot(cuts, rise[cuts], "v", color=ALARM, markersize=6)
    plain(axes, "Jumps", "how far a step breaks with those beside it, over the usual")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    _show_at_least(axes, *JUMP_RANGE)
    axes.set_xlabel("frame", fontsize=8.5, color=MUTED)
    _mark_findings(axes, [video])


def distance_matrix(axes: Axes, video: VideoDrift) -> None:
    """Draw on ``axes`` how far every two frames differ: loops are diagonals, freezes squares."""
    every = max(1, math.ceil(len(video.numbers) / MOST_CELLS))
    rows = video.numbers.thumbnails[::every].astype(np.float32)
    rows = rows - rows.mean(0)
    size = np.square(rows).mean(1)
    distance = np.sqrt(np.maximum(size[:, None] + size - 2 * rows @ rows.T / rows.shape[1], 0))
    last = (len(rows) - 1) * every
    axes.imshow(distance, cmap="magma_r", extent=(0, last, last, 0), interpolation="nearest")
    plain(axes, "Distance of frames; dark: far")
    axes.set_anchor("W")
    axes.grid(visible=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))


def _feature_distances(axes: Axes, video: VideoDrift) -> None:
    axes.plot(video.starts, video.distances, "-o", color=NEUTRAL, markersize=3, linewidth=1.4)
    axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=":")
    plain(axes, "Features: steps from the first window")
    axes.set_ylim(bottom=0)


def _phases(axes: Axes, video: VideoDrift, seams: Seams) -> None:
    """Draw the mean jump at each position between two borders; the border is the first."""
    rise = surprise(jumps(video.numbers.thumbnails))
    known = np.arange(2, len(rise) - 1)
    position = (known - seams.borders[0]) % seams.period
    mean = np.array([rise[known[position == p]].mean() for p in range(seams.period)])
    colours = [ALARM] + [NEUTRAL] * (seams.period - 1)
    axes.bar(np.arange(seams.period), np.exp(mean), color=colours, width=0.8)
    axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=":")
    plain(axes, f"Jump by place in {seams.period} frames", "red: border")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _curve(axes: Axes, curve: Curve, name: str) -> None:
    starts = [point.start for point in curve.points]
    found = [getattr(point, name) for point in curve.points]
    low = [part.low for part in found]
    high = [part.high for part in found]
    axes.fill_between(starts, low, high, color=NEUTRAL, alpha=0.15, linewidth=0)
    axes.plot(starts, [part.value for part in found], "-o", color=NEUTRAL, markersize=3)
    against = "real clips" if curve.against == "real" else "first windows"
    plain(axes, f"{name.upper()} of windows", f"against {curve.references} {against}; 95 %")
    if name == "fvd":
        axes.set_ylim(bottom=0)


def _world(axes: Axes, tracks: Sequence[WorldMeasures], name: str) -> None:
    for number, track in enumerate(tracks[:MOST_LINES]):
        colour = VIDEOS[number % len(VIDEOS)]
        axes.plot(track.starts, track.numbers[name], color=colour, linewidth=1.2)
    title = WORLD_TITLES.get(name, name.replace("_", " ").capitalize())
    plain(axes, title, tracks[0].world)
    _show_at_least(axes, 0.0, WORLD_RANGE.get(name, 1.0))


def _line(
    axes: Axes, values: Values, colour: str, name: str, *, alone: bool = True, first: int = 0
) -> None:
    """Draw values of frames, the first of frame ``first``; more than 900 are averaged.

    ``alone``, where the panel shows one video: a band from least to greatest value is drawn too.
    """
    every = max(1, math.ceil(len(values) / MOST_POINTS))
    rows = values[: len(values) // every * every].reshape(-1, every)
    frames = first + every * np.arange(len(rows)) + (every - 1) / 2
    if every > 1 and alone:
        axes.fill_between(frames, rows.min(1), rows.max(1), color=colour, alpha=0.15, linewidth=0)
    alpha = 1 if alone else 0.45
    axes.plot(frames, rows.mean(1), color=colour, linewidth=1.3, alpha=alpha, label=name)


def _mark_findings(axes: Axes, videos: Sequence[VideoDrift]) -> None:
    """Mark freezes, loops and cuts, if there is a single video."""
    if len(videos) > 1:
        return
    found = videos[0].measures
    for run in found.freezes:
        axes.axvspan(run.start, run.start + run.frames, color=FREEZE, alpha=0.35, linewidth=0)
    for run in found.loops:
        axes.axvspan(run.start, run.start + run.frames, color=LOOP, alpha=0.2, linewidth=0)
    for at in found.cuts:
        axes.axvline(at, color=ALARM, linewidth=0.9, linestyle=":")


def _show_at_least(axes: Axes, low: float, high: float) -> None:
    """Widen the y axis to ``low`` to ``high`` at least, so that small changes look small."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(bottom, low), max(top, high))


def plain(axes: Axes, title: str, note: str = "") -> None:
    """Style a panel of a figure: title at the left, note at the right, no box."""
    axes.set_title(title, loc="left", fontsize=10, color=INK, weight="bold", pad=5)
    if note:
        axes.set_title(note, loc="right", fontsize=8.5, color=MUTED, pad=5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def bare(axes: Axes) -> None:
    """Style a panel that shows an image: no ticks, no box."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
