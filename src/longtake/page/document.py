"""The HTML around a page: style sheet, head, and how it is written."""

import time
from html import escape
from pathlib import Path

from longtake.checkpoint import write_text

PAGE = "index.html"
REFRESH_SECONDS = 20
STYLE = """
:root { color-scheme: light dark; --ink: #1f2430; --muted: #6b7285; --grid: #e4e7ee;
  --ground: #ffffff; --panel: #f6f7fa; --line: #2f5fd0; --done: #2f8f5b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ee; --muted: #98a0b3; --grid: #333947;
  --ground: #14171e; --panel: #1c2029; --line: #7ea6ff; --done: #6fce9b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; } p { margin: .3rem 0; }
.note, figcaption, .tick { color: var(--muted); fill: var(--muted); }
.charts { margin-top: 1rem; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); }
figure { margin: 0; background: var(--panel); border-radius: 8px; padding: .6rem .7rem .3rem; }
figure b { color: var(--ink); } svg { width: 100%; height: auto; display: block; }
.grid { stroke: var(--grid); } .tick { font-size: 11px; }
.line { fill: none; stroke: var(--line); stroke-width: 1.8; } .dot { fill: var(--line); }
.bar { height: 8px; border-radius: 4px; background: var(--grid); overflow: hidden; }
.bar div { height: 100%; background: var(--line); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { text-align: left; padding: .25rem 1.2rem .25rem 0; border-bottom: 1px solid var(--grid); }
.done { color: var(--done); } img, video { border-radius: 6px; max-width: 100%; }
img { image-rendering: pixelated; width: 100%; }
.videos { display: flex; flex-wrap: wrap; gap: .6rem; }
.videos video { width: 190px; image-rendering: pixelated; }
.videos.wide video { width: 340px; }
.steps { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: .8rem; }
pre { background: var(--panel); padding: .8rem; border-radius: 8px; overflow-x: auto; }
summary { cursor: pointer; color: var(--muted); margin-top: 1rem; }
"""


def write_document(path: Path, title: str, body: str, *, running: bool) -> None:
    """Write a page, complete or not at all; while ``running``, browsers load it again."""
    refresh = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">' if running else ""
    written = time.strftime("%Y-%m-%d %H:%M:%S")
    write_text(
        path,
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">{refresh}'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n{body}\n"
        f'<p class="note">Written {written} by longtake.</p></body></html>\n',
    )


def bar(share: float) -> str:
    """A bar that is filled to a share from 0 to 1."""
    return f'<div class="bar"><div style="width:{100 * min(max(share, 0), 1):.1f}%"></div></div>'


def duration(seconds: float) -> str:
    """Time in the largest fitting units, such as ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
