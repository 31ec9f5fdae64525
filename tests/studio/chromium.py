"""Finds a Chromium and opens the studio in it; notes what a page must not do."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VARIABLE = "LONGTAKE_BROWSER"
HOW = f"install chromium (Debian: apt-get install chromium), or give its path in {VARIABLE}"
SECONDS = 60.0
POLL_MS = 50  # Playwright polls at each animation frame, which makes the browser draw 60 a second
SIZES: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}},
}


def chromium() -> str:
    """Path of a browser; without one the test is skipped, but fails in CI."""
    found = os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"no browser: {HOW}")
    if found is None:
        pytest.skip(f"no browser: {HOW}")
    return found


@contextmanager
def launched() -> Iterator["Browser"]:
    """A headless browser."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root with it
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class Tab:
    """A page of the studio in a browser.

    Args:
        page: an empty page.
        address: of the studio.
    """

    def __init__(self, page: "Page", address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        page.set_default_timeout(SECONDS * 1000)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._on_request)

    def open(self, view: str = "live") -> "Page":
        """Open one of the tabs and wait until models and jobs are known."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}/#{view}")
        self.until("() => document.querySelector('#panel-live select option')")
        return self.page

    def until(self, condition: str) -> None:
        """Wait until a JavaScript function is true; fails with the text of the page."""
        from playwright.sync_api import TimeoutError as Late

        try:
            self.page.wait_for_function(condition, polling=POLL_MS)
        except Late:
            text = self.page.inner_text("body")
            pytest.fail(f"not in {SECONDS:g} s: {condition}\n{self.complaints}\n{text}")

    def post(self, path: str, data: dict[str, Any]) -> Any:
        """Answer of the server to JSON data, asked for by the page."""
        return self.page.evaluate(
            """async ([path, data]) => {
                 const headers = {"X-Longtake": "1", "Content-Type": "application/json"};
                 const body = JSON.stringify(data);
                 return (await fetch(path, {method: "POST", headers, body})).json();
               }""",
            [f"{self.address}/api/{path}", data],
        )

    def done(self, job: str, seconds: float = SECONDS) -> None:
        """Wait until a job is done."""
        end = time.monotonic() + seconds
        address = f"{self.address}/api/jobs/{job}"
        while (found := self.page.request.get(address).json())["status"] != "done":
            assert found["status"] in ("queued", "running"), found
            assert time.monotonic() < end, found
            self.page.wait_for_timeout(50)

    def violations(self) -> list[str]:
        """What axe-core finds in the page as it is, with the elements."""
        import axe_playwright_python

        source = Path(axe_playwright_python.__file__).with_name("axe.min.js")
        self.page.evaluate(source.read_text())  # a script element would be refused by the CSP
        found = self.page.evaluate("axe.run()")["violations"]
        return [f"{each['id']}: {[node['target'] for node in each['nodes']]}" for each in found]

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((self.address, "blob:", "about:")):
            self.foreign.append(request.url)
