"""The report as one HTML file that needs no other."""

import io
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.figure import Figure

from longtake.checkpoint import write_text
from longtake.drift.style import ALARM, BACKGROUND, GRID, INK, MUTED
from longtake.drift.verdicts import Finding

if TYPE_CHECKING:
    from longtake.drift.report import DriftReport

STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; color: {INK}; background: {BACKGROUND};
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin-bottom: 0.2rem; }} h2 {{ font-size: 1.05rem; margin-top: 2rem; }}
svg {{ width: 100%; height: auto; }} .wrong {{ color: {ALARM}; }} .note {{ color: {MUTED}; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: 0.2rem 0.9rem; border-bottom: 1px solid {GRID}; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
"""

METHOD = """
A trend is the line of least squares within the longest stretch between cuts; its interval counts
slow waves as noise (equal-weighted cosines, 8 of them, Student's distribution). Contrast, sharpness
and motion are logarithms, so their slopes are shares. A jump is how far the step into a frame
differs from the mean of the steps before and after it, over the median of the frames near it; the
interval at joints is a bootstrap over joints. A finding needs a slope beyond 4.5 standard errors
and a change one can see: 10 levels of colour, a quarter of contrast or sharpness, double motion.
Intervals of FVD and KVD are of a bootstrap over videos.
"""


def write_page(made: "DriftReport", figure: Figure, path: Path) -> None:
    """Sentences, the figure, tables and how all was measured."""
    title = made.videos[0].info.path.name if len(made.videos) == 1 else f"{len(made.videos)} videos"
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<ul>",
        *(f"<li>{escape(line)}</li>" for line in made.lines()[:-1]),
        "</ul>",
        _svg(figure),
        *_tables(made),
        f'<h2>How it is measured</h2><p class="note">{METHOD}</p>',
    ]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Drift: {escape(title)}</title><style>{STYLE}</style></head><body>"
    )
    write_text(path, head + "\n".join(parts) + "</body></html>\n")


def _svg(figure: Figure) -> str:
    """Within the page: nothing before its own tag."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": "longtake"}):
        figure.savefig(text, format="svg", facecolor=BACKGROUND, metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def _tables(made: "DriftReport") -> Iterator[str]:
    several = len(made.videos) > 1
    if several:
        yield "<h2>Videos</h2><table><tr><th>video</th><th>frames</th><th>found</th></tr>"
        for video in made.videos:
            found = "; ".join(video.lines())
            wrong = ' class="wrong"' if video.findings else ""
            name, frames = escape(video.info.path.name), f"{video.info.frames:,}"
            yield f"<tr><td>{name}</td><td>{frames}</td><td{wrong}>{escape(found)}</td></tr>"
        yield "</table>"
        return
    yield "<h2>Trends, a hundred frames</h2><table>"
    yield "<tr><th>measure</th><th>slope</th><th>95 %</th><th>over the video</th></tr>"
    lines = made.videos[0].measures.trends
    for name, line in lines.items():
        yield (
            f"<tr><td>{name}</td><td>{line.slope:+.4f}</td>"
            f"<td>{line.low:+.4f} to {line.high:+.4f}</td><td>{line.change:+.4f}</td></tr>"
        )
    yield "</table>"
    if made.videos[0].findings:
        yield "<h2>Where it breaks</h2><table><tr><th>kind</th><th>from frame</th>"
        yield "<th>frames</th><th>gravity</th></tr>"
        yield from map(_row, made.videos[0].findings)
        yield "</table>"


def _row(finding: Finding) -> str:
    return (
        f"<tr><td>{finding.kind}</td><td>{finding.frame}</td><td>{finding.frames}</td>"
        f"<td>{finding.gravity:.2f}</td></tr>"
    )
