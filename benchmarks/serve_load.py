"""Many clients of ``longtake serve`` at once: is every video made, and is memory bounded?

    python benchmarks/serve_load.py --json docs/results/serve_load.json

Every client creates a video; half of them read it as fragmented MP4 while it is made, half poll it
and download the file. Each checks that its video decodes to all frames. Rounds follow one another
on one server; memory is that of the server and of its worker after each round, and the greatest
seen in between. One more client than the queue has places is refused.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av

from longtake.training.log import environment

MODEL, FRAMES, STEPS = "pvdm-sky", 12, 2
WAITING = ("queued", "in_progress")
MEGABYTE = 1 << 20


class Server:
    """A server that runs until it is closed."""

    def __init__(self, folder: str, places: int) -> None:
        words = ["serve", MODEL, "--port", "0", "--folder", folder, "--queue", str(places)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "longtake.cli", *words], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._address = self._process.stdout.readline().split()[-1]

    def ask(self, path: str, body: Any = None) -> bytes:
        """The body of an answer; with ``body``, of a POST."""
        request = urllib.request.Request(self._address + path)
        if body is not None:
            request.data = json.dumps(body).encode()
        with urllib.request.urlopen(request, timeout=600) as answer:
            return answer.read()

    def resident(self) -> dict[str, float]:
        """Resident memory by process, in MB."""
        lines = self.ask("/metrics").decode().splitlines()
        rows = [line.split(" ") for line in lines if line.startswith("longtake_resident_bytes")]
        return {k.split('"')[1]: round(int(v) / MEGABYTE, 1) for k, v in rows}

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait()


def fetched(server: Server, number: int) -> int:
    """Number of frames that a client gets of the video that it creates."""
    wanted = {"model": MODEL, "frames": FRAMES, "steps": STEPS, "seed": number}
    name = json.loads(server.ask("/v1/videos", wanted))["id"]
    if number % 2:
        data = server.ask(f"/v1/videos/{name}/content?stream=true")
    else:
        while json.loads(server.ask(f"/v1/videos/{name}"))["status"] in WAITING:
            time.sleep(0.5)
        data = server.ask(f"/v1/videos/{name}/content")
    with av.open(io.BytesIO(data), "r") as video:
        return sum(1 for _ in video.decode(video=0))


def refused(server: Server, places: int) -> dict[str, Any]:
    """How one client more than the queue holds is answered; all jobs are then deleted."""
    made = []
    try:
        for number in range(places + 2):  # one runs, and one is too many
            body = {"model": MODEL, "frames": 10_000, "seed": number}
            made.append(json.loads(server.ask("/v1/videos", body))["id"])
        return {"status": 202}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "accepted": len(made), **json.loads(error.read())}


def measure(clients: int, rounds: int) -> dict[str, Any]:
    """Frames that all clients got, and memory, round by round."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder, clients)
        try:
            rows = [_round(server, clients, number) for number in range(rounds)]
            return {"rounds": rows, "queue_full": refused(server, clients)}
        finally:
            server.close()


def _round(server: Server, clients: int, number: int) -> dict[str, Any]:
    peak: dict[str, float] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            for name, value in server.resident().items():
                peak[name] = max(peak.get(name, 0.0), value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(clients) as pool:
        seeds = range(number * clients, (number + 1) * clients)
        counts = list(pool.map(lambda seed: fetched(server, seed), seeds))
    done.set()
    watcher.join()
    lost = sum(count != FRAMES for count in counts)
    row = {"clients": clients, "lost": lost, "after_mb": server.resident(), "peak_mb": peak}
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result = {
        "model": MODEL,
        "frames": FRAMES,
        "steps": STEPS,
        **measure(given.clients, given.rounds),
        "environment": environment(),
    }
    print(json.dumps(result["queue_full"]))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
