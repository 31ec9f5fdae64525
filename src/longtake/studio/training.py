"""Runs a training in stages in a process of its own, which the worker watches."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from longtake.checkpoint import write_text
from longtake.pipeline.plan import read_plan, seconds_spent
from longtake.studio.places import TRAINED
from longtake.studio.settings import TrainSettings
from longtake.studio.trainings import newest_samples
from longtake.studio.work import StoppedError, Work

OUTPUT = "output.txt"
LOOK_SECONDS = 1.0
LAST_LINES = 3
BOUND = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG; exec keeps it
if os.getppid() != int(sys.argv[1]):
    sys.exit("the worker has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Program that becomes a command, which gets SIGTERM when the worker dies, even by SIGKILL: so a
training saves and ends with its worker, instead of training where nobody sees or stops it."""


def run_training(settings: TrainSettings, work: Work) -> dict[str, Any]:
    """Train until the end, or until the job is stopped; after a stop, the same job continues.

    Returns JSON data: ``stage``, here ``done``, and ``progress``, here 1.

    Raises:
        StoppedError: it was stopped.
        ValueError: the training failed; the message is its last three lines.
    """
    out, output = work.folder / TRAINED, work.folder / OUTPUT
    work.emit("begun", frames_done=0, fps=0)
    words = [sys.executable, "-I", "-S", "-c", BOUND, str(os.getpid()), *work.arguments]
    with output.open("ab") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        while process.poll() is None:
            if work.poll(LOOK_SECONDS):
                process.send_signal(signal.SIGTERM)
                process.wait()
            _show(out, work)
    finally:
        if process.poll() is None:  # the server has ended
            process.send_signal(signal.SIGTERM)
            process.wait()
    if work.stopping:
        raise StoppedError
    if process.returncode:
        lines = (
            output.read_text(errors="replace", encoding="utf-8").strip().splitlines()[-LAST_LINES:]
        )
        raise ValueError(" ".join(lines) or f"the training ended with code {process.returncode}")
    write_text(work.files / "settings.json", settings.model_dump_json(indent=1) + "\n")
    return {"stage": "done", "progress": 1.0}


def _show(out: Path, work: Work) -> None:
    """Send the stage and the share of the time that is spent, and show the newest samples."""
    plan = read_plan(out) if out.is_dir() else None
    if plan is not None:
        spent, stages = seconds_spent(out), list(plan.stages)
        stage = stages[-1] if stages else "looking at the footage"
        result = {"stage": stage, "progress": min(spent / plan.budget_seconds, 0.99)}
        work.emit("stage", result=result, seconds_left=max(plan.budget_seconds - spent, 0.0))
    _show_samples(out, work.files)


def _show_samples(out: Path, files: Path) -> None:
    """Copy the newest samples of a training to the files of its job."""
    for name, path in newest_samples(out).items():
        if not (files / name).exists():
            shutil.copyfile(path, files / name)
