"""What is killed before any change of the disk, and repeated, ends as if it had not been."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from disk_kills import Outcome, Trial, function
from killed_commands import without_times, write_film
from report import line
from training.tiny_runs import autoencoder_run, train

from longtake import jobs
from longtake.checkpoint import whole_folder, write_tensors, write_text
from longtake.data import latents
from longtake.data.cache_plan import CachePlan
from longtake.data.clips import ClipPlan
from longtake.data.export import export_world
from longtake.data.latents import build_cache
from longtake.data.prepare import PrepareSettings, prepare
from longtake.data.synthetic.marbles import MarblesWorld
from longtake.distributed import Ranks
from longtake.jobs import Job, open_jobs, write_job
from longtake.model import VideoModel
from longtake.model.index import sampling_with
from longtake.outputs import open_outputs

WORLD = MarblesWorld(plan=ClipPlan(frames=8, height=16, width=16))


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: disks take milliseconds to remove a folder."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def faults(outcomes: list[Outcome]) -> list[Outcome]:
    assert outcomes
    return [outcome for outcome in outcomes if outcome.kind == "fault"]


def nothing(root: Path) -> None:
    pass


def trial(
    root: Path, work: Callable[[], object], prepare: Callable[[Path], None] = nothing
) -> Trial:
    return Trial(root=root / "disk", run=function(work), prepare=prepare)


def write_outputs(place: Path, overwrite: bool = False, text: str = "new") -> None:
    """Two files that appear together, and a folder of frames below."""
    sets = [[place / "a", place / "b"], [place / "under" / "frames"]]
    with open_outputs(place, "made", {"text": text}, sets, overwrite=overwrite) as outputs:
        for files in sets:
            if overwrite and outputs.made(files):
                continue  # otherwise all are made again
            for path in files:
                made = outputs.folder(files) / path.name
                if path.name == "frames":
                    with whole_folder(made, overwrite=True) as partial:
                        for number in range(2):
                            (partial / f"{number}.png").write_text(f"{text} {number}")
                else:
                    write_text(made, f"{text} {path.name}")
            outputs.put(files)


def earlier_files(root: Path) -> None:
    write_outputs(root / "out", text="old")


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_a_request_are_made_once_and_whole(root: Path, overwrite: bool):
    work = partial(write_outputs, root / "disk" / "out", overwrite)
    prepare = earlier_files if overwrite else nothing
    assert faults(trial(root, work, prepare).everywhere()) == []


def write_model(folder: Path) -> None:
    with whole_folder(folder, overwrite=True) as partial:
        write_text(partial / "config.json", "{}")
        write_tensors(partial / "model.safetensors", {"x": torch.ones(2)})


def earlier_model(root: Path) -> None:
    (root / "model" / "denoiser").mkdir(parents=True)
    (root / "model" / "denoiser" / "old.safetensors").touch()


@pytest.mark.parametrize("prepare", [nothing, earlier_model])
def test_a_model_folder_is_whole(root: Path, prepare: Callable[[Path], None]):
    work = partial(write_model, root / "disk" / "model")
    assert faults(trial(root, work, prepare).everywhere()) == []


def test_videos_of_several_jobs_are_all_made(root: Path, tiny_model: VideoModel, monkeypatch):
    def write() -> None:
        with open_jobs(asked, place) as outputs:
            for job in asked:
                write_job(video, job, outputs)

    monkeypatch.setattr(jobs, "SEGMENTS", 2)
    quick = sampling_with(tiny_model.index.sampling, ["sampler.steps=1"])
    video, place = tiny_model.long_video(quick), root / "disk" / "out"
    asked = [
        Job(
            request=tiny_model.request([seed]),
            paths=[place / f"{seed}.mp4"],
            frames=16,
            fps=8.0,
            identity={},
            sheets=True,
        )
        for seed in (0, 1)
    ]
    assert faults(trial(root, write).everywhere(13)) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_export_is_whole(root: Path, overwrite: bool):
    place = root / "disk" / "out"
    export = partial(export_world, WORLD, place, videos=2, overwrite=overwrite)

    def before(root: Path) -> None:
        export_world(WORLD, place, videos=3, frames=4)

    prepare = before if overwrite else nothing
    assert faults(trial(root, partial(export, frames=5), prepare).everywhere(5)) == []


def test_a_latent_cache_is_whole(root: Path, tiny_model: VideoModel, monkeypatch):
    monkeypatch.setattr(latents, "SHARD_ITEMS", 2)
    source = WORLD.model_copy(update={"videos": 3})
    place, autoencoder = root / "disk" / "cache", tiny_model.autoencoder
    build = partial(build_cache, place, source, autoencoder, CachePlan(copies=1), Ranks())
    assert faults(trial(root, build).everywhere()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_prepared_footage_is_whole(root: Path, overwrite: bool):
    """With captions, which are read as soon as their video is."""
    for number in range(2):
        write_film(root / "films" / f"{number}.mkv", number, 6)
        (root / "films" / f"{number}.txt").write_text("a hill\n" * 99)

    def work(form: Any = "mkv") -> None:
        settings = PrepareSettings(size=8, shortest=2, format=form)
        place = root / "disk" / "out"
        prepare(root / "films", place, settings, processes=1, overwrite=overwrite)

    before = (lambda _: work("mp4")) if overwrite else nothing
    assert faults(trial(root, work, before).everywhere(twice=not overwrite)) == []


def test_a_training_is_whole_with_its_log(root: Path):
    run = autoencoder_run(steps=2, save_every=1, keep=1, keep_every=1, workers=0)
    one = trial(root, lambda: train(run, root / "disk" / "run"))
    killed = dataclasses.replace(one, clean=without_times)
    assert faults(killed.everywhere(30, twice=True)) == []


def test_the_table_of_the_page_is_that_of_the_measurement():
    docs = Path(__file__).parents[2] / "docs"
    rows = json.loads((docs / "results" / "kills.json").read_text())["rows"]
    page = (docs / "reliability.md").read_text()
    assert [row["command"] for row in rows if line(row) not in page] == []
    assert page.count("\n| `") >= len(rows) > 10
