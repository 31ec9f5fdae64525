"""Colours and axes of the report."""

from matplotlib.axes import Axes

INK, MUTED, GRID, BACKGROUND = "#1f2430", "#7a8194", "#e7e9ef", "#ffffff"
ALARM, NEUTRAL = "#c8384a", "#4263c4"
CHANNELS = {"red": "#d1495b", "green": "#2f9e66", "blue": "#3a66c9"}
CONTRAST, SHARPNESS, MOTION = "#7b52ab", "#d98032", "#1b8a9e"
FREEZE, LOOP = "#8fb8de", "#f2c14e"
# One colour a video, where a panel shows several; repeated after the sixth.
VIDEOS = ("#3a66c9", "#d98032", "#2f9e66", "#c8384a", "#7b52ab", "#1b8a9e")


def plain(axes: Axes, title: str, note: str = "") -> None:
    """Style a panel: title at the left, note at the right, no box."""
    axes.set_title(title, loc="left", fontsize=10, color=INK, weight="bold", pad=5)
    if note:
        axes.set_title(note, loc="right", fontsize=8.5, color=MUTED, pad=5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def bare(axes: Axes) -> None:
    """Style a panel that is a picture: no ticks, no box."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
