"""The panels of the report: each is a function that draws on axes it is given."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from longtake.drift.curves import Curve
from longtake.drift.seams import Seams, jumps, surprise
from longtake.drift.style import (
    ALARM,
    CALM,
    CHANNELS,
    CONTRAST,
    FREEZE,
    INK,
    LOOP,
    MOTION,
    MUTED,
    SHARPNESS,
    bare,
    plain,
)
from longtake.drift.trends import Trend
from longtake.drift.video_drift import VideoDrift
from longtake.drift.worlds import WorldTrack

if TYPE_CHECKING:
    from longtake.drift.report import DriftReport

Panel = partial[None]
LEAST_RANGE = {"ridge_px": 2.0, "strangeness": 4.0, "cloud": 1.0}
POINTS = 900
SIDE = 256
MOST_LINES = 12
LEVELS, LEAST_LEVELS, BEGIN = 255, 8.0, 8
COLOURS = ("#3a66c9", "#d98032", "#2f9e66", "#c8384a", "#7b52ab", "#1b8a9e")


def over_time(made: "DriftReport") -> list[Panel]:
    """Panels that share the axis of frames."""
    videos = made.videos
    chosen: list[Panel] = [
        partial(_colour, videos=videos),
        partial(_shares, videos=videos),
        partial(_motion, videos=videos),
    ]
    if len(videos) == 1:
        chosen.append(partial(_jumps, video=videos[0]))
    return chosen


def beside(made: "DriftReport") -> list[Panel]:
    """Panels with axes of their own."""
    chosen: list[Panel] = []
    if made.curve is not None:
        chosen += [partial(_curve, curve=made.curve, name=name) for name in ("fvd", "kvd")]
    one = made.videos[0]
    if len(made.videos) == 1:
        chosen.append(partial(likeness, video=one))
        if one.distances:
            chosen.append(partial(_distances, video=one))
        if one.measures.seams is not None and one.measures.seams.period > 1:
            chosen.append(partial(_phases, video=one, seams=one.measures.seams))
    if one.world is not None:
        tracks = [video.world for video in made.videos if video.world is not None]
        chosen += [partial(_world, tracks=tracks, name=name) for name in _worlds(one.world)]
    return chosen or [partial(likeness, video=one)]


def _colour(axes: Axes, videos: Sequence[VideoDrift]) -> None:
    for i, (name, colour) in enumerate(CHANNELS.items()):
        for video in videos[:MOST_LINES]:
            values = video.numbers.colour[:, i]
            _line(axes, LEVELS * (values - _begin(values)), colour, name, len(videos))
        if len(videos) == 1 and name in videos[0].measures.trends:
            since = _begin(videos[0].numbers.colour[:, i])
            line = videos[0].measures.trends[name]
            _trend(
                axes, videos[0], line, colour, lambda values, since=since: LEVELS * (values - since)
            )
    note = "levels of 255; dashed: the trend" if len(videos) == 1 else "levels of 255"
    plain(axes, "Mean colour since the first frames", note)
    _at_least(axes, -LEAST_LEVELS, LEAST_LEVELS)
    _spans(axes, videos)


def _shares(axes: Axes, videos: Sequence[VideoDrift]) -> None:
    for name, colour in (("contrast", CONTRAST), ("sharpness", SHARPNESS)):
        for video in videos[:MOST_LINES]:
            values = getattr(video.numbers, name)
            usual = max(float(np.median(values)), 1e-9)
            _line(axes, values / usual, colour, name, len(videos))
            if len(videos) == 1 and name in video.measures.trends:
                line = video.measures.trends[name]
                _trend(axes, video, line, colour, lambda logs, u=usual: np.exp(logs) / u)
    plain(axes, "Contrast, sharpness", "over their medians")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    _at_least(axes, 0.8, 1.25)
    _legend(axes)
    _spans(axes, videos)


def _motion(axes: Axes, videos: Sequence[VideoDrift]) -> None:
    for video in videos[:MOST_LINES]:
        _line(axes, video.numbers.motion[1:], MOTION, "motion", len(videos), first=1)
        if len(videos) == 1 and "motion" in video.measures.trends:
            _trend(axes, video, video.measures.trends["motion"], MOTION, np.exp)
    plain(axes, "Motion", "change over slope: about pixels a frame")
    axes.set_ylim(bottom=0)
    if len(videos) > 1:
        axes.set_xlabel("frame", fontsize=8.5, color=MUTED)
    _spans(axes, videos)


def _jumps(axes: Axes, video: VideoDrift) -> None:
    rise = np.exp(surprise(jumps(video.numbers.thumbnails)))
    _line(axes, rise, INK, "jump", 1)
    axes.set_yscale("log", base=2)
    seams = video.measures.seams
    if seams is not None:
        at = np.array(seams.borders)
        axes.plot(at, rise[at], ".", color=ALARM, markersize=4, label="at joints")
    if video.measures.cuts:
        at = np.array(video.measures.cuts)
        axes.plot(at, rise[at], "v", color=ALARM, markersize=6)
    plain(axes, "Jumps", "how far a step breaks with those beside it, over the usual")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    _at_least(axes, 0.25, 4.0)
    axes.set_xlabel("frame", fontsize=8.5, color=MUTED)
    _spans(axes, [video])


def likeness(axes: Axes, video: VideoDrift) -> None:
    """Distance of each frame to each: a loop is a stripe beside the diagonal, a freeze a square."""
    every = max(1, math.ceil(len(video.numbers) / SIDE))
    rows = video.numbers.thumbnails[::every].astype(np.float32)
    rows = rows - rows.mean(0)
    size = np.square(rows).mean(1)
    distance = np.sqrt(np.maximum(size[:, None] + size - 2 * rows @ rows.T / rows.shape[1], 0))
    last = (len(rows) - 1) * every
    axes.imshow(distance, cmap="magma_r", extent=(0, last, last, 0), interpolation="nearest")
    plain(axes, "Distance of frames; dark: far")
    axes.set_anchor("W")
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(rows) < 2:
        bare(axes)


def _distances(axes: Axes, video: VideoDrift) -> None:
    axes.plot(video.starts, video.distances, "-o", color=CALM, markersize=3, linewidth=1.4)
    axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=":")
    plain(axes, "Features: steps from the first window")
    axes.set_ylim(bottom=0)


def _phases(axes: Axes, video: VideoDrift, seams: Seams) -> None:
    """Mean jump at each place of a chunk; the joint is the first."""
    rise = surprise(jumps(video.numbers.thumbnails))
    known = np.arange(2, len(rise) - 1)
    place = (known - seams.borders[0]) % seams.period
    mean = np.array([rise[known[place == p]].mean() for p in range(seams.period)])
    colours = [ALARM] + [CALM] * (seams.period - 1)
    axes.bar(np.arange(seams.period), np.exp(mean), color=colours, width=0.8)
    axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=":")
    plain(axes, f"Jump by place in a chunk of {seams.period}", "red: at the joint")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _curve(axes: Axes, curve: Curve, name: str) -> None:
    starts = [point.start for point in curve.points]
    found = [getattr(point, name) for point in curve.points]
    low = [part.value - 1.96 * part.standard_error for part in found]
    high = [part.high for part in found]
    axes.fill_between(starts, low, high, color=CALM, alpha=0.15, linewidth=0)
    axes.plot(starts, [part.value for part in found], "-o", color=CALM, markersize=3)
    against = "real clips" if curve.against == "real" else "first windows"
    note = f"against {curve.references} {against}; 95 %"
    plain(axes, f"{name.upper()} of windows", note)
    if name == "fvd":
        axes.set_ylim(bottom=0)


def _world(axes: Axes, tracks: Sequence[WorldTrack], name: str) -> None:
    for number, track in enumerate(tracks[:MOST_LINES]):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(track.starts, track.numbers[name], color=colour, linewidth=1.2)
    plain(axes, name.replace("_px", ", pixels").replace("_", " ").capitalize(), tracks[0].world)
    _at_least(axes, 0.0, LEAST_RANGE.get(name, 1.0))


def _worlds(track: WorldTrack) -> list[str]:
    wanted = (*LEAST_RANGE, "marbles", "events_per_1000_frames")
    return [name for name in wanted if name in track.numbers]


def _line(
    axes: Axes,
    values: Float[np.ndarray, "t"],
    colour: str,
    name: str,
    videos: int,
    first: int = 0,
) -> None:
    """A line; where there are more frames than points, means with a band of all they cover."""
    every = max(1, math.ceil(len(values) / POINTS))
    rows = values[: len(values) // every * every].reshape(-1, every)
    frames = first + every * np.arange(len(rows)) + (every - 1) / 2
    if every > 1 and videos == 1:
        axes.fill_between(frames, rows.min(1), rows.max(1), color=colour, alpha=0.15, linewidth=0)
    alone = videos == 1
    axes.plot(
        frames, rows.mean(1), color=colour, linewidth=1.3, alpha=1 if alone else 0.45, label=name
    )


def _trend(
    axes: Axes,
    video: VideoDrift,
    line: Trend,
    colour: str,
    shown: Callable[[np.ndarray], np.ndarray],
) -> None:
    """The line of a trend, as the panel shows its values."""
    ends = [0, *video.measures.cuts, len(video.numbers)]
    start, stop = max(pairwise(ends), key=lambda pair: pair[1] - pair[0])
    values = shown(line.middle + np.linspace(-0.5, 0.5, 50) * line.change)
    axes.plot(np.linspace(start, stop - 1, 50), values, "--", color=colour, linewidth=1, alpha=0.8)


def _spans(axes: Axes, videos: Sequence[VideoDrift]) -> None:
    """Where the one video stands still or repeats itself."""
    if len(videos) > 1:
        return
    found = videos[0].measures
    for run in found.freezes:
        axes.axvspan(run.start, run.start + run.frames, color=FREEZE, alpha=0.35, linewidth=0)
    for run in found.loops:
        axes.axvspan(run.start, run.start + run.frames, color=LOOP, alpha=0.2, linewidth=0)
    for at in found.cuts:
        axes.axvline(at, color=ALARM, linewidth=0.9, linestyle=":")


def _begin(values: Float[np.ndarray, "t"]) -> float:
    return float(values[:BEGIN].mean())


def _at_least(axes: Axes, low: float, high: float) -> None:
    """Show this range or more: what is small shall look small."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(bottom, low), max(top, high))


def _legend(axes: Axes) -> None:
    """One entry a name, within the panel."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(
        handles.values(),
        handles.keys(),
        loc="upper left",
        fontsize=8,
        frameon=False,
        ncols=len(handles),
        labelcolor="linecolor",
        handlelength=0,
        borderaxespad=0.2,
    )
