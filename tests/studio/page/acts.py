"""What tests do in a tab of the studio: make a video, play one, change what the server lists."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chromium import Tab

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

VIEWS = ("live", "make", "compare", "inside", "train", "gallery")
CANVAS = "document.querySelector('#panel-live canvas.frames')"
FRAMES = f"() => Number({CANVAS}.dataset.shown ?? 0)"
FOCUSED = "() => document.activeElement.textContent.trim() || document.activeElement.value"
JOBS_URL = "**/api/jobs?*"
FOOTAGE, WATCHED = "clouds", "skies_trained"
Jobs = list[dict[str, Any]]


def made(tab: Tab, **settings: object) -> str:
    """Id of a finished video of 8 frames."""
    data = {"kind": "make", "settings": {"model": "planes", "frames": 8, **settings}}
    job = tab.post("jobs", data)["id"]
    tab.done(job)
    return job


def play(page: "Page", tab: Tab) -> None:
    page.get_by_role("button", name="Play planes").click()
    tab.until(f"() => ({FRAMES})() > 8")


def stop(page: "Page") -> None:
    page.locator("#panel-live").get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Continue").wait_for()


@contextmanager
def listed(page: "Page", change: Callable[[Jobs], Jobs]) -> Iterator[None]:
    """The page gets another list of jobs: ``change`` of the server's."""

    def answer(route: "Route") -> None:
        route.fulfill(json=change(route.fetch().json()))

    page.route(JOBS_URL, answer)
    yield
    page.unroute(JOBS_URL)
