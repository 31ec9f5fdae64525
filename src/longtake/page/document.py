"""The HTML around a page: style sheet, head, and how it is written."""

import time
from html import escape
from pathlib import Path

from longtake.checkpoint import write_text

PAGE = "index.html"
REFRESH_SECONDS = 20
STYLE = Path(__file__).with_name("style.css")


def write_document(path: Path, title: str, body: str, *, running: bool) -> None:
    """Write an HTML page with the content ``body``, completely or not at all.

    While ``running``, browsers reload the page every 20 seconds.

    Raises:
        CheckpointError: the file cannot be written.
    """
    refresh = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">' if running else ""
    written = time.strftime("%Y-%m-%d %H:%M:%S")
    write_text(
        path,
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">{refresh}'
        f"<title>{escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head><body>\n{body}\n"
        f'<p class="note">Written {written} by longtake.</p></body></html>\n',
    )


def bar(share: float) -> str:
    """A progress bar as HTML, filled to ``share``, from 0 to 1."""
    return f'<div class="bar"><div style="width:{100 * min(max(share, 0), 1):.1f}%"></div></div>'


def duration(seconds: float) -> str:
    """Format seconds in the largest fitting units, such as ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
