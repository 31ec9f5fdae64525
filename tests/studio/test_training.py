"""A training that a studio starts, watches, stops and whose model it offers."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pipeline.test_train import TINY
from starlette.testclient import TestClient
from studio.conftest import ADDRESS, COMMANDS, PATIENCE_SECONDS, Page

from longtake.cli import serve
from longtake.data.clips import ClipPlan
from longtake.data.export import export_world
from longtake.data.synthetic import SkyWorld
from longtake.studio.app import create_app
from longtake.studio.kinds import TRAINING, JobKind
from longtake.studio.places import JOBS, TRAINED
from longtake.studio.settings import Limits
from longtake.studio.studio import Studio
from longtake.studio.trainings import exports, is_training, log_rows


def tiny(job: JobKind, own: Path, folder: Path, places: Mapping[str, str]) -> list[str]:
    """The command of a training, with settings of tiny networks."""
    words = COMMANDS.train(job, own, folder, places)
    return [*words, *TINY] if words else []


@pytest.fixture
def steps() -> list[str]:
    """Settings of the length of a training, after those of tiny networks."""
    return []


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[str]) -> Iterator[Page]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def train(*given: Any) -> list[str]:
        return [*words, *steps] if (words := tiny(*given)) else []

    commands = COMMANDS._replace(train=train)
    app = create_app(lambda: Studio(tmp_path, {}, Limits(), commands), hosts=["127.0.0.1"])
    with TestClient(app, base_url=ADDRESS) as client:
        yield Page(client)


@pytest.mark.slow
def test_a_model_is_trained_on_a_folder_and_then_used(page: Page):
    world = SkyWorld(plan=ClipPlan(height=16, width=16))
    export_world(world, page.folder / "footage" / "sky", videos=3, frames=80)
    assert page.get("footage")["found"][0]["name"] == "sky"
    settings = {"folder_name": "sky", "system": "pvdm", "size": 16, "budget_minutes": 1}
    job = page.submit("train", **settings)
    done = page.ended(job)
    assert done["status"] == "done", done
    assert (done["stage"], done["progress"]) == ("done", 1.0)
    rows = page.get(f"jobs/{job}/log")
    assert {row["stage"] for row in rows} == {"autoencoder", "denoiser"}
    assert page.get(f"jobs/{job}/log?after={len(rows) - 1}") == rows[-1:]
    assert any(each["name"].endswith(".mp4") for each in done["files"])
    name = f"train-{job}"
    page.until(job, lambda found: name in [model["name"] for model in page.get("models")])
    made = page.ended(page.submit("make", model=name, frames=16, steps=1))
    assert made["status"] == "done", made


def processes(*words: str) -> set[int]:
    """Ids of the processes whose command line has all these words."""
    found = set[int]()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if {*words} <= {*path.read_text(errors="replace").split("\0")}:
                found.add(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal at a parent's death")
@pytest.mark.parametrize("steps", [["autoencoder.training.steps=100000"]])
def test_a_training_ends_with_its_worker_and_continues(page: Page):
    export_world(
        SkyWorld(plan=ClipPlan(height=16, width=16)),
        page.folder / "footage" / "sky",
        videos=3,
        frames=80,
    )
    job = page.submit("train", folder_name="sky", system="pvdm", size=16, budget_minutes=60)
    page.until(job, lambda _: page.get(f"jobs/{job}/log"))
    worker = page.studio.queue.lanes[TRAINING].pid
    out = str(page.folder / JOBS / job / TRAINED)
    assert worker is not None
    assert len(processes("train", out)) == 1
    os.kill(worker, signal.SIGKILL)
    found = page.ended(job)
    assert found["status"] == "failed"
    assert "signal 9" in found["error"]
    end = time.monotonic() + PATIENCE_SECONDS
    while processes("train", out):
        assert time.monotonic() < end
        time.sleep(0.1)
    before = page.get(f"jobs/{job}/log")
    page.post(f"jobs/{job}/continue")
    page.until(job, lambda _: len(page.get(f"jobs/{job}/log")) > len(before))
    assert page.get(f"jobs/{job}/log")[: len(before)] == before  # nothing is lost or made again
    stopped = page.post(f"jobs/{job}/stop")
    assert stopped["status"] in ("running", "stopped")


def test_the_models_of_a_training_are_named_by_stage_and_step(tmp_path: Path):
    for number, (place, roles) in enumerate(
        [
            ("runs/autoencoder/model", {}),
            ("runs/denoiser/models/step_00000100", {"first": "denoiser"}),
            ("runs/denoiser/models/best", {"first": "denoiser"}),
            ("runs/denoiser/model", {"first": "denoiser"}),
            ("model", {"first": "denoiser"}),
        ]
    ):
        (tmp_path / place).mkdir(parents=True)
        path = tmp_path / place / "model_index.json"
        path.write_text(json.dumps({"roles": roles}))
        os.utime(path, (number, number))
    found = ["model", "denoiser_model", "denoiser_best", "denoiser_step_00000100"]
    assert [each.name for each in exports(tmp_path)] == found
    assert exports(tmp_path)[-1].folder == tmp_path / "runs/denoiser/models/step_00000100"
    assert not is_training(tmp_path)
    (tmp_path / "runs" / "denoiser" / "log.jsonl").write_text('{"step": 1}\n')
    assert is_training(tmp_path)
    assert [*log_rows(tmp_path)] == [{"stage": "denoiser", "step": 1}]
    assert serve.training_places([str(tmp_path), "lvdm-sky"]) == {tmp_path.name: tmp_path}


def test_a_training_of_nothing_is_refused(page: Page):
    data = {"kind": "train", "settings": {"folder_name": "missing"}}
    assert "there is no folder 'missing' in" in page.post("jobs", data, 422)["error"]
