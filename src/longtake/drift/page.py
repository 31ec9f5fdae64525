"""The drift report as one self-contained HTML file."""

import io
import math
from collections.abc import Iterator
from html import escape
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from longtake.checkpoint import write_text
from longtake.drift.findings import SIGNIFICANT, VISIBLE
from longtake.drift.panels import ALARM, BACKGROUND, GRID, INK, MUTED
from longtake.drift.report import DriftReport


def _less(name: str) -> str:
    """Smallest visible relative change of a measure, such as ``12 %``."""
    return f"{100 * math.expm1(VISIBLE[name]):.0f} %"


STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; color: {INK}; background: {BACKGROUND};
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin-bottom: 0.2rem; }} h2 {{ font-size: 1.05rem; margin-top: 2rem; }}
svg {{ width: 100%; height: auto; }} .wrong {{ color: {ALARM}; }} .note {{ color: {MUTED}; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: 0.2rem 0.9rem; border-bottom: 1px solid {GRID}; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
"""

METHOD = f"""
A trend is a least-squares line within the longest stretch between cuts; its interval counts slow
waves as noise (equal-weighted cosines, 8 of them, Student's distribution). Contrast, sharpness and
motion are logarithms, so their slopes are relative changes. Colours and colourfulness are those
that all parts of the frame share: medians over 144 cells. A jump is the difference of the step
into a frame from the mean of the steps before and after it, over the median of the frames near it;
the interval at borders is a bootstrap over borders. A finding needs a slope beyond
{SIGNIFICANT:.0f} standard errors and a visible change: {255 * VISIBLE["red"]:.1f} levels of colour,
{_less("contrast")} of contrast, {_less("sharpness")} of sharpness, {_less("colourfulness")} of
colourfulness or motion; or a colour that changes early and then stays. Where real videos are given,
a finding must also be more severe than all findings of its kind in them, by the factor by which one
of them surpasses the others. Intervals of FVD and KVD are bootstraps over videos.
"""


def write_page(report: DriftReport, figure: Figure, path: Path) -> None:
    """Write a drift report as a page of HTML: findings, figure, tables and method."""
    title = escape(report.name)
    parts = [
        f"<h1>{title}</h1>",
        "<ul>",
        *(f"<li>{escape(line)}</li>" for line in report.findings()),
        "</ul>",
        _svg(figure),
        *_tables(report),
        f'<h2>How it is measured</h2><p class="note">{METHOD}</p>',
    ]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Drift: {title}</title><style>{STYLE}</style></head><body>"
    )
    write_text(path, head + "\n".join(parts) + "</body></html>\n")


def _svg(figure: Figure) -> str:
    """The figure as an SVG element, without the XML prologue."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": "longtake"}):
        figure.savefig(text, format="svg", facecolor=BACKGROUND, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _tables(report: DriftReport) -> Iterator[str]:
    """Tables of the page in HTML: all videos, or the trends and findings of the only one."""
    if len(report.videos) > 1:
        yield "<h2>Videos</h2><table><tr><th>video</th><th>frames</th><th>found</th></tr>"
        for video in report.videos:
            wrong = ' class="wrong"' if video.findings else ""
            row = f"<tr><td>{escape(video.info.path.name)}</td><td>{video.info.frames:,}</td>"
            yield f"{row}<td{wrong}>{escape('; '.join(video.lines()))}</td></tr>"
        yield "</table>"
        return
    video = next(iter(report.videos))
    yield "<h2>Trends per hundred frames</h2><table>"
    yield "<tr><th>measure</th><th>slope</th><th>95 %</th><th>over the video</th></tr>"
    for name, line in video.measures.trends.items():
        interval = f"{line.low:+.4f} to {line.high:+.4f}"
        yield _row(name, f"{line.slope:+.4f}", interval, f"{line.change:+.4f}")
    yield "</table>"
    if video.findings:
        yield "<h2>Findings</h2><table><tr><th>kind</th><th>from frame</th>"
        yield "<th>frames</th><th>severity</th></tr>"
        for found in video.findings:
            yield _row(found.kind, found.frame, found.frames, f"{found.severity:.2f}")
        yield "</table>"


def _row(*cells: object) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
