"""Makes the pictures of the studio in docs/pictures from a studio that really runs.

    python benchmarks/studio_pictures.py lvdm-sky pvdm-sky -o docs/pictures

``studio_live.webp`` is Live while it plays and is steered, a screenshot a frame, shown at the
video's rate; frames are handed to the page one by one, so that none is missed on a slow machine.
The others are single screenshots.
"""

import argparse
import io
import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

sys.path.append(str(Path(__file__).parents[1] / "tests" / "studio"))
from chromium import Tab, launched
from studio_live import children

FRAMES, STEER_AT = 96, {8: "dusk"}
CLIP: Any = {"x": 0, "y": 0, "width": 1060, "height": 585}
LIVE = {"viewport": {"width": 1060, "height": 690}, "color_scheme": "dark"}
DESK = {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"}
COLOURS, STRIP = 160, 8
THEME = """() => ["accent", "accent-soft", "good", "good-soft", "bad"].map((name) => {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
})"""
SHOWN = "() => Number(document.querySelector('#panel-live canvas.frames').dataset.shown ?? 0)"


def main() -> None:
    """Write all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="models; Live shows the first")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--folder", help="folder of the studio; a temporary one")
    parser.add_argument("--only", choices=["live", "desk"], help="the moving picture, or the rest")
    chosen = parser.parse_args()
    with TemporaryDirectory() as temporary, launched() as browser:
        command = [sys.executable, "-m", "longtake.cli", "studio", *chosen.models, "--port", "0"]
        command += ["--folder", chosen.folder or temporary]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1]
            try:
                if chosen.only != "desk":
                    live(browser, address, server.pid, chosen.out / "studio_live.webp")
                if chosen.only != "live":
                    desk(browser, address, chosen.models[0], chosen.out)
            finally:
                server.terminate()


class Feed:
    """Stands between the page and the server, and hands over frames when asked.

    Workers of the server are stopped while enough frames wait, so that they are as far ahead of the
    page as they are where screenshots take no time.
    """

    def __init__(self, page: "Page", server: int) -> None:
        self._server = server
        self._waiting: deque[tuple[Any, bytes]] = deque()
        page.route_web_socket("**/frames*", self._route)

    def _route(self, socket: Any) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda message: self._take(socket, message))

    def _take(self, socket: Any, message: str | bytes) -> None:
        if isinstance(message, str):
            socket.send(message)
        else:
            self._waiting.append((socket, message))

    def hand_over(self, page: "Page") -> None:
        """Hand the next frame to the page, once there is one."""
        if not self._waiting:
            self._signal(signal.SIGCONT)
        while not self._waiting:
            page.wait_for_timeout(20)
        self._signal(signal.SIGSTOP)
        socket, message = self._waiting.popleft()
        socket.send(message)

    def _signal(self, number: int) -> None:
        for child in children(self._server):
            os.kill(child, number)

    def close(self) -> None:
        """Let the workers go."""
        self._signal(signal.SIGCONT)


def live(browser: "Browser", address: str, server: int, path: Path) -> None:
    """The moving picture of Live."""
    context = browser.new_context(**LIVE)
    tab = Tab(context.new_page(), address)
    page, feed = tab.page, Feed(tab.page, server)
    tab.open("live")
    fps = page.evaluate("async () => (await (await fetch('/api/models')).json())[0].fps")
    page.locator(".big-play").click()
    labels = page.locator("#panel-live .labels")
    labels.evaluate("node => node.scrollIntoView({block: 'center'})")
    pictures = []
    for number in range(FRAMES):
        feed.hand_over(page)
        tab.until(f"() => ({SHOWN})() > {number}")
        pictures.append(Image.open(io.BytesIO(page.screenshot(clip=CLIP))).convert("RGB"))
        if number in STEER_AT:
            labels.locator("label", has_text=STEER_AT[number]).first.click()
    feed.close()
    page.get_by_role("button", name="Stop").click()  # else other jobs wait for it
    page.get_by_role("button", name="Continue").wait_for()
    settings = {"duration": round(1000 / fps), "loop": 0, "quality": 68, "method": 3}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **settings)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", flush=True)
    context.close()


def desk(browser: "Browser", address: str, model: str, out: Path) -> None:
    """Single pictures of the other tabs."""
    context = browser.new_context(**DESK)
    tab = Tab(context.new_page(), address)
    tab.page.set_default_timeout(1_800_000)  # each waits for the job before it
    page = tab.open("make")
    for steps in (4, None):
        settings = {"model": model, "frames": 64, "seed": 5, "sheet": True, "steps": steps}
        job = tab.post("jobs", {"kind": "make", "settings": settings})
        tab.done(job["id"], seconds=1800)
    page = tab.open("make")
    page.locator("#panel-make video").first.wait_for()
    page.locator("#panel-make summary", has_text="Contact sheet").first.click()
    save(page, out / "studio_make.png")
    page = tab.open("compare")
    page.get_by_role("button", name="Compare", exact=True).click()
    tab.until("() => document.querySelector('.compare.screen').dataset.index > 8")
    page.locator("#panel-compare table").wait_for()
    save(page, out / "studio_compare.png")
    page = tab.open("inside")
    finished = page.request.get(f"{address}/api/jobs/{job['id']}").json()
    name = next(each["name"] for each in finished["files"] if each["name"].endswith(".mp4"))
    video = page.request.get(f"{address}/api/jobs/{job['id']}/files/{name}").body()
    file: Any = {"name": "clip.mp4", "mimeType": "video/mp4", "buffer": video}
    page.set_input_files("#panel-inside input[type=file]", file)
    page.locator("#panel-inside .preview img").wait_for()
    page.get_by_role("button", name="Look inside").click()
    slider = page.get_by_role("slider", name="Time")
    for key in ("Home", *3 * ("ArrowRight",)):  # to time 0.3
        slider.press(key)
    slider.scroll_into_view_if_needed()
    save(page, out / "studio_inside.png")
    context.close()


def save(page: "Page", path: Path) -> None:
    """A screenshot with few colours, so that the file is small."""
    page.mouse.move(5, 400)
    page.wait_for_timeout(2500)  # videos load their first frames
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    palette = with_strip(picture, page.evaluate(THEME)).quantize(COLOURS)
    picture = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    picture.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def with_strip(picture: Image.Image, colours: list[str]) -> Image.Image:
    """A picture with a strip of each colour below it, so that its palette has them.

    Few pixels show the colours of the theme; without this its buttons and marks become grey.
    """
    found = Image.new("RGB", (picture.width, picture.height + STRIP * len(colours)))
    found.paste(picture)
    for number, colour in enumerate(colours):
        place = (0, picture.height + number * STRIP)
        found.paste(Image.new("RGB", (picture.width, STRIP), colour), place)
    return found


if __name__ == "__main__":
    main()
