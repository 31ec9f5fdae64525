"""A studio in a real browser: a server as a process of its own, a tab, and what is given to it."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from chromium import Tab, launched
from studio.page.acts import FOOTAGE, WATCHED

from longtake.video import VideoWriter, write_image

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the studio, with a folder of footage that has no video."""
    path = tmp_path_factory.mktemp("studio")
    (path / "footage" / FOOTAGE).mkdir(parents=True)
    return path


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory, places: dict[str, str], clip: Path) -> Path:
    """Folder of a training that another command carries out: a log, a sample, a model of a step."""
    folder = tmp_path_factory.mktemp("trained") / WATCHED
    run = folder / "runs" / "denoiser"
    (run / "samples" / "step_00000002").mkdir(parents=True)
    shutil.copyfile(clip, run / "samples" / "step_00000002" / "0.mp4")
    rows = [{"step": step, "loss": 1 / step} for step in (1, 2)]
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copytree(places["planes"], run / "models" / "step_00000002")
    return folder


@pytest.fixture(scope="module")
def address(
    browser: "Browser", places: dict[str, str], folder: Path, training: Path
) -> Iterator[str]:
    """Address of a studio; its process is started by the command."""
    del browser  # without one there is nothing to start
    command = [sys.executable, "-m", "longtake.cli", "studio", *places.values(), str(training)]
    command += ["--port", "0", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.split()[-1]
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture(scope="module")
def desk(browser: "Browser", address: str) -> Iterator[Tab]:
    """One tab in which all tests work that do not need a certain size or theme."""
    context = browser.new_context()
    yield Tab(context.new_page(), address)
    context.close()


@pytest.fixture
def tab(desk: Tab) -> Iterator[Tab]:
    """The tab; afterwards nothing was complained of, and no other server was asked."""
    desk.complaints.clear()
    yield desk
    assert desk.complaints == []
    assert desk.foreign == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 12 frames."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    rows = np.arange(16, dtype=np.uint8)[:, None, None]
    with VideoWriter(path, 8.0) as writer:
        for shift in range(12):
            writer.write(np.broadcast_to(rows * 12 + shift * 4, (1, 16, 16, 3)).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of 16 x 16 pixels."""
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    write_image(path, np.full((16, 16, 3), 128, np.uint8))
    return path
