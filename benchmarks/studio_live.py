"""Measures in the page what Live shows: frames a second, delay, steering, memory over minutes.

    python benchmarks/studio_live.py pvdm-sky --minutes 30 --json docs/results/studio_live.json

Starts ``longtake studio`` with one model and a headless Chromium, presses Play, and reads from the
page when each frame was drawn. Once a minute a control is moved. A live video is shown at the
model's frame rate and not faster; ``--fps`` measures a copy of the model with another one. Memory
is the proportional set size (PSS) of all processes of the server, and of the browser.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

from longtake.hub import INDEX, find_model

sys.path.append(str(Path(__file__).parents[1] / "tests" / "studio"))
from chromium import launched

LOOK_SECONDS = 5.0
CHANGE_SECONDS = 60.0
LISTEN = """() => {
  window.drawn = [];
  const canvas = document.querySelector("#panel-live canvas.frames");
  canvas.addEventListener("frameshown", ({detail}) =>
    window.drawn.push([detail.index, detail.made, Date.now() / 1000]));
}"""
TAKE = """() => {
  const {dropped = 0} = document.querySelector("#panel-live canvas.frames").dataset;
  const effect = document.querySelector("#panel-live .effect");
  return {drawn: window.drawn.splice(0), dropped: Number(dropped), effect: effect.className,
          from: Number(effect.dataset.from ?? -1), heap: performance.memory.usedJSHeapSize};
}"""


def main() -> None:
    """Measure and print; write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="shipped name or model folder")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--decoder", default="full")
    parser.add_argument("--students", action="store_true", help="sample with few-step students")
    parser.add_argument("--fps", type=float, help="frame rate instead of the model's own")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with TemporaryDirectory() as folder, launched() as browser:
        name = chosen.model if chosen.fps is None else faster(chosen.model, chosen.fps, folder)
        command = [sys.executable, "-m", "longtake.cli", "studio", name, "--port", "0"]
        with subprocess.Popen(
            [*command, "--folder", f"{folder}/studio"], stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1]
            page = browser.new_page()
            page.set_default_timeout(300_000)
            page.goto(address)
            start(page, chosen)
            model = page.evaluate("async () => (await (await fetch('/api/models')).json())[0]")
            found = measured(page, server.pid, 60 * chosen.minutes)
            server.terminate()
    about = {name: model[name] for name in ("name", "fps", "grain", "steps")}
    about |= {"size": model["sizes"][chosen.decoder], "minutes": chosen.minutes}
    about |= {name: getattr(chosen, name) for name in ("backend", "decoder", "students")}
    result = {**about, **found}
    print(json.dumps(result, indent=1))
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")


def faster(name: str, fps: float, folder: str) -> str:
    """A copy of a model in a folder, whose videos have another frame rate."""
    made = Path(folder, "models", Path(name).name)
    shutil.copytree(find_model(name), made)
    index = json.loads((made / INDEX).read_text())
    (made / INDEX).write_text(json.dumps({**index, "fps": fps}))
    return str(made)


def start(page: "Page", chosen: argparse.Namespace) -> None:
    """Press Play, and wait for the first frame."""
    page.locator(".big-play").wait_for()
    page.evaluate(LISTEN)
    controls = page.locator("#panel-live form.controls")
    for label, value, usual in (
        ("Backend", chosen.backend, "torch"),
        ("Decoder", chosen.decoder, "full"),
    ):
        if value != usual:
            controls.get_by_label(label).select_option(value)
    if chosen.students:
        controls.get_by_label("Few-step students").check()
    page.locator(".big-play").click()
    page.wait_for_function("() => window.drawn.length > 0", timeout=600_000)


def measured(page: "Page", server: int, seconds: float) -> dict[str, Any]:
    """Numbers of a video that plays for some time, and is steered once a minute."""
    drawn: list[list[float]] = []
    memory: list[dict[str, float]] = []
    changes: list[dict[str, float]] = []
    browser = browser_process()
    begin = time.monotonic()
    asked, taken = begin, page.evaluate(TAKE)
    waiting: tuple[float, float] | None = None
    while (now := time.monotonic()) < begin + seconds:
        time.sleep(LOOK_SECONDS if waiting is None else 0.1)
        taken = page.evaluate(TAKE)
        drawn += taken["drawn"]
        # The change before is still shown as in effect until the server has answered this one.
        if waiting is not None and "now" in taken["effect"] and taken["from"] > waiting[1]:
            clicked, index = waiting
            seconds = time.monotonic() - clicked
            changes.append({"seconds": seconds, "frames": taken["from"] - index})
            waiting = None
        if now > asked + CHANGE_SECONDS and waiting is None:
            asked, waiting = now, (time.monotonic(), drawn[-1][0])
            move_a_control(page, len(changes))
        if not memory or now - begin > memory[-1]["seconds"] + LOOK_SECONDS:
            sizes = {"server_mb": pss(server), "browser_mb": pss(browser)}
            memory.append({"seconds": now - begin, **sizes, "heap_mb": taken["heap"] / 1e6})
    return {**numbers(drawn), "dropped": taken["dropped"], "changes": changes, **growth(memory)}


def move_a_control(page: "Page", number: int) -> None:
    """Choose another label, which the page sends to the server."""
    labels = page.locator("#panel-live .labels .segments").first.locator("label")
    labels.nth(1 + number % (labels.count() - 1)).click()


def numbers(drawn: list[list[float]]) -> dict[str, float]:
    """Rate and delay of the frames that were drawn; the first ten seconds do not count."""
    late = [each for each in drawn if each[2] > drawn[0][2] + 10]
    delays = [shown - made for _, made, shown in late]
    span = late[-1][2] - late[0][2]
    return {
        "frames_shown": len(late),
        "frames_missed": int(late[-1][0] - late[0][0] + 1 - len(late)),
        "frames_per_second": (len(late) - 1) / span,
        "delay_seconds_median": statistics.median(delays),
        "delay_seconds_max": max(delays),
    }


def growth(memory: list[dict[str, float]]) -> dict[str, Any]:
    """Memory in the second and in the last fifth of the time, as medians in MB."""
    fifth = max(1, len(memory) // 5)
    parts = {"early": memory[fifth : 2 * fifth] or memory[:1], "late": memory[-fifth:]}
    names = ("server_mb", "browser_mb", "heap_mb")
    return {
        f"{name}_{when}": round(statistics.median(each[name] for each in part), 1)
        for name in names
        for when, part in parts.items()
    }


def browser_process() -> int:
    """The driver of the browser, a child of this process; the browser is below it."""
    found = [p for p in children(os.getpid()) if b"playwright" in cmdline(p)]
    return found[0]


def cmdline(process: int) -> bytes:
    """The command of a process."""
    return Path(f"/proc/{process}/cmdline").read_bytes()


def children(process: int) -> Iterator[int]:
    """Children of a process."""
    for task in Path(f"/proc/{process}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def pss(process: int) -> float:
    """Proportional set size of a process and all below it, in MB."""
    total = 0.0
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            total += float(line.split()[1]) / 1000 if line.startswith("Pss:") else 0.0
        for child in children(process):
            total += pss(child)
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended meanwhile
    return total


if __name__ == "__main__":
    main()
