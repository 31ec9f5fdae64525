"""Is the memory of the studio flat? Reads it each minute while a live video plays in a browser.

    python benchmarks/studio_memory.py lvdm-sky --minutes 30 --json docs/results/studio_memory.json

Starts ``longtake studio`` with one model and a headless Chromium, presses Play, and moves a label
every other minute. Each minute it reads the resident memory (RSS) of the server, of its worker,
which makes the frames, and of the browser's renderer, which shows them; the JavaScript heap after a
forced collection; and how many DOM nodes and event listeners the page has. Between two readings
nothing is attached to the browser: its tools for developers keep what the page receives.

Each column gets the slope of a line through the minutes after ``--settle``, in which the model is
loaded and buffers are filled, with its interval of 95 %.
"""

import argparse
import json
import math
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.stats import t as student_t
from websockets.sync.client import ClientConnection, connect

from longtake.studio.memory import resident_bytes
from longtake.training.log import environment

sys.path.append(str(Path(__file__).parents[1] / "tests" / "studio"))
from chromium import chromium
from studio_live import children, cmdline, faster, pss

MINUTE, PATIENCE_SECONDS = 60.0, 1800.0
PATIENT: Any = {"open_timeout": PATIENCE_SECONDS, "ping_interval": None}
FEW = 6  # readings without which a slope has no interval
COLUMNS = (
    *("server_mb", "worker_mb", "renderer_mb", "browser_mb"),
    *("heap_mb", "nodes", "listeners"),
)
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SHOWN = "Number(document.querySelector('#panel-live canvas.frames').dataset.shown ?? 0)"
PLAY = """{
  const students = document.querySelector("#panel-live .controls input[type=checkbox]");
  if (!students.closest("[hidden]")) students.checked = %s;
  document.querySelector(".big-play").click();
}"""
STEER = """{
  const labels = document.querySelectorAll("#panel-live .labels .segments:first-of-type input");
  labels[1 + %d %% (labels.length - 1)].click();
}"""


def main() -> None:
    """Measure and print; write JSON if asked."""
    parser = argparse.ArgumentParser(description="Memory of a live video and of its page.")
    parser.add_argument("model", help="shipped name or model folder")
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--settle", type=int, default=5, help="minutes that no slope counts")
    parser.add_argument("--fps", type=float, default=24.0, help="frame rate instead of the model's")
    parser.add_argument("--teachers", action="store_true", help="sample without students")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.settle >= chosen.minutes:
        parser.error(f"--settle {chosen.settle}: expected less than --minutes {chosen.minutes}")
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        name = faster(chosen.model, chosen.fps, folder)
        words = ["studio", name, "--port", "0", "--folder", f"{folder}/studio"]
        command = [sys.executable, "-m", "longtake.cli", *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1]
            try:
                with Browser(f"{folder}/profile", address).running() as browser:
                    browser.play(students=not chosen.teachers)
                    rows = list(readings(browser, server.pid, chosen.minutes))
            finally:
                server.terminate()
    result = {
        "model": chosen.model,
        "fps": chosen.fps,
        "students": not chosen.teachers,
        "settle_minutes": chosen.settle,
        "trend": trends(rows, chosen.settle),
        "minutes": rows,
        "environment": environment(),
    }
    print(json.dumps(result["trend"], indent=1))
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")


class Browser:
    """A headless Chromium with one page, to which nothing is attached between two calls.

    Args:
        folder: folder for its profile.
        address: of the page.
    """

    def __init__(self, folder: str, address: str) -> None:
        self._folder, self._address = Path(folder), address
        self._page, self.process = "", 0

    @contextmanager
    def running(self) -> Iterator["Browser"]:
        """Start it; it is ended afterwards."""
        words = [*QUIET, f"--user-data-dir={self._folder}", "--remote-debugging-port=0"]
        command = [chromium(), *words, self._address]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            self.process = process.pid
            try:
                port = self._port()
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                    pages = [each for each in json.load(answer) if each["type"] == "page"]
                self._page = pages[0]["webSocketDebuggerUrl"]
                yield self
            finally:
                process.terminate()

    def _port(self) -> int:
        """Port of its tools for developers, once it listens."""
        path, end = self._folder / "DevToolsActivePort", time.monotonic() + PATIENCE_SECONDS
        while not path.exists() or len(path.read_text().splitlines()) < 2:
            assert time.monotonic() < end, f"{path} is missing"
            time.sleep(0.1)
        return int(path.read_text().splitlines()[0])

    def play(self, students: bool) -> None:
        """Press Play, and wait for the first frame."""
        self._until("document.querySelector('.big-play') !== null")
        self.do(PLAY % str(students).lower())
        self._until(f"{SHOWN} > 0")

    def do(self, script: str) -> Any:
        """Value of a JavaScript expression in the page."""
        with connect(self._page, **PATIENT) as tools:
            return value_of(tools, script)

    def _until(self, condition: str) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not self._holds(condition):
            assert time.monotonic() < end, f"not in {PATIENCE_SECONDS:g} s: {condition}"
            time.sleep(1.0)

    def _holds(self, condition: str) -> bool:
        try:
            return bool(self.do(condition))
        except NoPageError:
            return False

    def counts(self) -> dict[str, float]:
        """Frames shown, the heap in MiB after a collection, DOM nodes and event listeners."""
        with connect(self._page, **PATIENT) as tools:
            frames = value_of(tools, SHOWN)
            ask(tools, "HeapProfiler.collectGarbage")
            ask(tools, "Performance.enable")
            found = ask(tools, "Performance.getMetrics")["metrics"]
        numbers = {each["name"]: each["value"] for each in found}
        return {
            "frames": frames,
            "heap_mb": round(numbers["JSHeapUsedSize"] / (1 << 20), 3),
            "nodes": numbers["Nodes"],
            "listeners": numbers["JSEventListeners"],
        }


class NoPageError(RuntimeError):
    """The browser has begun to load a page, in which nothing can be evaluated yet."""


def ask(tools: ClientConnection, method: str, **parameters: Any) -> dict[str, Any]:
    """Answer of the browser's tools for developers; events are left out."""
    tools.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    while (answer := json.loads(tools.recv(PATIENCE_SECONDS))).get("id") != 1:
        pass
    error = answer.get("error", {}).get("message", "")
    if "execution context" in error:
        raise NoPageError(error)
    assert not error, answer
    return answer["result"]


def value_of(tools: ClientConnection, script: str) -> Any:
    """Value of a JavaScript expression."""
    found = ask(tools, "Runtime.evaluate", expression=script, returnByValue=True)
    assert "exceptionDetails" not in found, found
    return found["result"].get("value")


def readings(browser: Browser, server: int, minutes: int) -> Iterator[dict[str, float]]:
    """Frames shown and memory at each full minute, the first one as the video begins."""
    begin = time.monotonic()
    for minute in range(minutes + 1):
        time.sleep(max(begin + minute * MINUTE - time.monotonic(), 0.0))
        at = round((time.monotonic() - begin) / MINUTE, 2)  # later on a machine that is busy
        row = {"minute": at, **memory(server, browser.process), **browser.counts()}
        print(json.dumps(row), file=sys.stderr, flush=True)
        yield row
        if minute % 2:
            browser.do(STEER % (minute // 2))


def memory(server: int, browser: int) -> dict[str, float]:
    """Resident memory, in MiB; of the browser the proportional size (PSS) of all its processes."""
    drawing = [each for each in below(browser) if b"--type=renderer" in cmdline(each)]
    return {
        "server_mb": resident_mb(server),
        "worker_mb": round(sum(map(resident_mb, children(server))), 2),
        "renderer_mb": max(map(resident_mb, drawing)),
        "browser_mb": round(pss(browser) * 1e6 / (1 << 20), 2),
    }


def below(process: int) -> Iterator[int]:
    """All processes that a process has started, directly or not."""
    for child in children(process):
        yield child
        yield from below(child)


def resident_mb(process: int) -> float:
    """Resident memory of a process, in MiB."""
    return round((resident_bytes(process) or 0) / (1 << 20), 2)


def trends(rows: list[dict[str, float]], settle: int) -> dict[str, dict[str, float | None]]:
    """Of each column the first and last value that count, and what is added in an hour."""
    late = [row for row in rows if row["minute"] >= settle]
    hours = np.array([row["minute"] for row in late]) / 60
    found = {}
    for name in COLUMNS:
        values = np.array([row[name] for row in late])
        slope, low, high = trend(hours, values)
        ends = {"first": float(values[0]), "last": float(values[-1])}
        found[name] = {**ends, "per_hour": slope, "low": low, "high": high}
    return found


def trend(x: np.ndarray, y: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """Slope of the line of least squares, and its interval of 95 %; None for too few readings.

    One minute resembles the next: with r the correlation of neighbouring residuals, n readings
    count as n (1 - r) / (1 + r) independent ones (Santer et al., 2000).
    """
    if len(x) < FEW:
        return None, None, None
    slope, offset = np.polyfit(x, y, 1)
    rest = y - (slope * x + offset)
    spread = float(rest @ rest)
    r = max(float(rest[1:] @ rest[:-1]) / spread, 0.0) if spread > 1e-9 else 0.0
    count = max(len(x) * (1 - r) / (1 + r), 3.0)
    error = math.sqrt(spread / (count - 2) / float(((x - x.mean()) ** 2).sum()))
    reach = float(student_t.ppf(0.975, count - 2)) * error
    return round(float(slope), 3), round(float(slope) - reach, 3), round(float(slope) + reach, 3)


if __name__ == "__main__":
    main()
