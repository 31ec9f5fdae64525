"""Jobs of a studio: made, changed, stopped, continued, repeated."""

import json
import os
import random
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mutations import COUNT, TEXTS, Tally, changed
from studio.conftest import FPS, HEADERS, Limit, Page
from studio.test_uploads import PICTURE
from studio.test_uploads import image as picture

from longtake import cli
from longtake.checkpoint import read_tensors
from longtake.segments import keep_whole, record_of, write_record
from longtake.studio.checks import check_change
from longtake.studio.errors import StateError
from longtake.studio.kinds import MakeJob
from longtake.studio.live import merged
from longtake.studio.places import JOBS, JOINED, PARTS, SINGLE
from longtake.studio.settings import Change, VideoSettings
from longtake.video import VideoWriter, open_video

MODELS = ("volume", "planes")


def grown(frames: int) -> Any:
    """Whether a video has at least this number of frames."""
    return lambda job: job["frames_done"] >= frames or job["status"] == "failed"


def watched(page: Page, changes: list[Any] | None = None, frames: int = 40, **settings: Any) -> str:
    """A live video without end that was stopped when it had some frames."""
    data = {"kind": "live", "settings": settings, "changes": changes or []}
    job = page.post("jobs", data, 202)["id"]
    page.until(job, grown(frames))
    assert page.post(f"jobs/{job}/stop")["status"] == "stopped"
    return job


def test_a_made_video_is_that_of_the_command_to_the_last_byte(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = {"model": "volume", "frames": 24, "seed": 3, "label": "wind, left", "steps": 3}
    job = page.ended(page.submit("make", **settings, guidance_scale=2, sheet=True))
    assert (job["status"], job["frames_done"]) == ("done", 24)
    assert [each["name"] for each in job["files"]] == ["seed_0003.mp4", "seed_0003_sheet.png"]
    command = shlex.split(job["command"])
    assert command[:2] == ["longtake", "generate"]
    monkeypatch.setattr("sys.argv", [*command, "-o", str(tmp_path)])
    with pytest.raises(SystemExit, match="0"):
        cli.app()
    for each in job["files"]:
        assert (tmp_path / each["name"]).read_bytes() == page.file(job["id"], each["name"])


@pytest.mark.parametrize("model", MODELS)
def test_a_change_takes_effect_at_the_frame_that_is_answered(page: Page, model: str):
    job = page.submit("live", model=model, seed=1, label="calm")
    page.until(job, grown(1))
    answer = page.post(f"jobs/{job}/change", {"label": "wind, left", "guidance_scale": 3.0})
    first = answer["from_frame"]
    page.until(job, grown(first + 30))
    page.post(f"jobs/{job}/stop")
    plain = page.frames(watched(page, frames=first + 30, model=model, seed=1, label="calm"))
    changed = page.frames(job)
    count = min(len(plain), len(changed))
    differs = (plain[:count] != changed[:count]).reshape(count, -1).any(1)
    assert not differs[:first].any()
    assert differs[first : first + 12].any()
    found = page.get(f"jobs/{job}")
    assert found["changes"] == [answer]
    assert found["command"] == ""  # none says from which frame on guidance changes


@pytest.mark.parametrize("model", MODELS)
def test_a_start_image_is_the_next_frame_and_the_log_repeats_it(page: Page, model: str):
    image = page.upload("a.png", picture(pixels=PICTURE[:16, :16]))["id"]
    job = page.submit("live", model=model, seed=8, label="calm")
    page.until(job, grown(1))
    answer = page.post(f"jobs/{job}/change", {"start_image": image, "label": "wind, left"})
    first = answer["from_frame"]
    page.until(job, grown(first + 30))
    page.post(f"jobs/{job}/stop")
    page.post(f"jobs/{job}/continue")  # in the piece that the image begins
    page.until(job, grown(page.get(f"jobs/{job}")["frames_done"] + 20))
    later = page.post(f"jobs/{job}/change", {"label": "wind, right"})
    page.until(job, grown(later["from_frame"] + 30))
    page.post(f"jobs/{job}/stop")
    frames = page.frames(job)
    assert abs(frames[first].astype(int) - PICTURE[:16, :16]).mean() < 8  # H.264
    plain = page.frames(watched(page, frames=first + 8, model=model, seed=8, label="calm"))
    assert np.array_equal(frames[:first], plain[:first])
    again = watched(page, [answer, later], len(frames), model=model, seed=8, label="calm")
    assert np.array_equal(page.frames(again)[: len(frames)], frames)


@pytest.mark.parametrize("model", MODELS)
def test_the_command_of_a_live_video_makes_its_length_and_all_clips_but_the_last(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
):
    job = watched(page, frames=60, model=model, seed=1, label="calm")
    command = shlex.split(page.get(f"jobs/{job}")["command"])
    monkeypatch.setattr("sys.argv", [*command, "-o", str(tmp_path), "--format", "mkv"])
    with pytest.raises(SystemExit, match="0"):
        cli.app()
    whole, _ = open_video(tmp_path / "seed_0001.mkv")  # without loss
    assert len(whole) == len(page.frames(job))
    parts = sorted((page.folder / JOBS / job / PARTS).glob("000_*.mp4"))
    assert len(parts) > 2
    for path in parts[:-1]:  # a clip that is known to be the last may be sampled otherwise
        first, (live, _) = int(path.stem[4:]), open_video(path)
        with VideoWriter(tmp_path / path.name, FPS) as writer:
            writer.write(whole[first : first + len(live)])
        assert np.array_equal(open_video(tmp_path / path.name)[0], live), (path.name, len(whole))


@pytest.mark.parametrize("model", MODELS)
def test_settings_and_log_of_changes_repeat_a_live_video_exactly(page: Page, model: str):
    job = page.submit("live", model=model, seed=2, label="calm")
    for label in ("wind, left", "wind, right"):
        page.until(job, grown(page.get(f"jobs/{job}")["frames_done"] + 1))
        page.post(f"jobs/{job}/change", {"label": label})
    page.until(job, grown(page.get(f"jobs/{job}")["frames_done"] + 30))
    page.post(f"jobs/{job}/stop")
    frames, log = page.frames(job), page.get(f"jobs/{job}")["changes"]
    again = watched(page, log, len(frames), model=model, seed=2, label="calm")
    assert np.array_equal(page.frames(again)[: len(frames)], frames)


@pytest.mark.parametrize("model", MODELS)
def test_a_stopped_video_continues_as_if_it_had_not_been_stopped(page: Page, model: str):
    job = watched(page, frames=20, model=model, seed=4)
    before = page.frames(job)
    page.post(f"jobs/{job}/continue")
    page.until(job, grown(len(before) + 30))
    page.post(f"jobs/{job}/stop")
    after = page.frames(job)
    assert len(after) >= len(before) + 30
    whole = page.frames(watched(page, frames=len(after), model=model, seed=4))
    assert np.array_equal(after, whole[: len(after)])


def test_parts_are_joined_to_one_that_has_the_state_of_the_last(tmp_path: Path):
    segments, frames = [], np.random.default_rng(0).integers(0, 255, (12, 16, 16, 3), np.uint8)
    for start in range(0, 12, 3):
        path = tmp_path / SINGLE.format(start)
        with VideoWriter(path, 8) as writer:
            writer.write(frames[start : start + 3])
        state = {"step": torch.tensor(start)}
        segments.append(write_record(tmp_path, start, start + 3, [path], state))
    before = np.concatenate([open_video(tmp_path / SINGLE.format(i))[0] for i in range(0, 12, 3)])
    merged(tmp_path, segments, 3)
    first, rest = keep_whole(tmp_path)
    assert ((first.start, first.end), (rest.start, rest.end)) == ((0, 3), (3, 12))
    assert read_tensors(record_of(tmp_path, 3))["step"] == 9
    assert np.array_equal(open_video(tmp_path / JOINED.format(3))[0], before[3:])
    assert len(list(tmp_path.iterdir())) == 4


def test_a_video_that_is_made_stops_and_continues(page: Page):
    settings = {"model": "volume", "frames": 120, "seed": 5}
    job = page.submit("make", **settings)
    page.until(job, grown(20))
    stopped = page.post(f"jobs/{job}/stop")
    assert stopped["status"] == "stopped"
    assert [each["name"] for each in stopped["files"]] == ["so_far.mp4"]
    assert len(page.frames(job, "so_far.mp4")) == stopped["frames_done"]
    page.post(f"jobs/{job}/continue")
    done = page.ended(job)
    assert (done["status"], [each["name"] for each in done["files"]]) == ("done", ["seed_0005.mp4"])
    assert page.post(f"jobs/{job}/continue") == done  # nothing is left to do
    other = page.ended(page.submit("make", **settings))
    assert page.file(job, "seed_0005.mp4") == page.file(other["id"], "seed_0005.mp4")


@pytest.mark.parametrize("kind", ["make", "video"])
@pytest.mark.parametrize("model", MODELS)
def test_a_video_that_is_done_gets_longer_as_if_it_had_been_asked_for_at_first(
    page: Page, kind: str, model: str
):
    name = "seed_0007.mp4" if kind == "make" else "video.mp4"
    job = page.ended(page.submit(kind, model=model, frames=50, seed=7))["id"]
    shorter = page.frames(job, name)
    assert page.post(f"jobs/{job}/continue", {"frames": 110})["frames"] == 110
    longer = page.ended(job)
    assert (longer["status"], longer["frames_done"]) == ("done", 110), longer
    at_once = page.ended(page.submit(kind, model=model, frames=110, seed=7))["id"]
    assert page.file(job, name) == page.file(at_once, name)
    assert len(shorter) == 50
    drift = page.get(f"jobs/{job}/drift")
    assert [frame for frame, _ in drift] == sorted({frame for frame, _ in drift})
    assert drift[-1][0] >= 80


def test_what_cannot_get_longer_says_so(page: Page):
    a, b = (page.ended(page.submit("make", model="planes", frames=8, seed=s))["id"] for s in (1, 2))
    compared = page.ended(page.post("compare", {"a": a, "b": b}, 202)["id"])["id"]
    refused = page.post(f"jobs/{compared}/continue", {"frames": 16}, 409)
    assert "makes no video that could get longer" in refused["error"]
    clip = page.ended(page.submit("make", model="planes", frames=8, rollout="one_clip"))["id"]
    refused = page.post(f"jobs/{clip}/continue", {"frames": 80}, 422)
    assert "makes single clips of" in refused["error"]
    with pytest.raises(StateError, match="leads to its beginning, or to an image"):
        MakeJob(settings=VideoSettings(model="volume", frames=99, loop=True)).check_longer()


def test_jobs_are_listed_page_after_page(page: Page):
    every = [job["id"] for job in page.get("jobs")]
    assert [job["id"] for job in page.get(f"jobs?after={every[1]}&limit=3")] == every[2:5]
    assert page.get(f"jobs?after={every[-1]}") == []
    assert page.client.get("/api/jobs?after=nothing").status_code == 404


def test_no_models_are_searched_for_where_nothing_is_trained(
    page: Page, monkeypatch: pytest.MonkeyPatch
):
    page.ended(page.submit("make", model="planes", frames=8))
    searched, glob = [], Path.glob

    def noted(folder: Path, pattern: str) -> Iterator[Path]:
        searched.append(folder)
        return glob(folder, pattern)

    monkeypatch.setattr(Path, "glob", noted)
    assert page.get("jobs")
    assert [folder for folder in searched if not folder.is_dir()] == []


def test_a_crash_costs_the_job_and_not_the_server(page: Page):
    job = page.submit("live", model="planes", seed=6)
    page.until(job, grown(16))
    worker = page.studio.queue.lanes["worker"].pid
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    found = page.ended(job)
    assert found["status"] == "failed"
    assert "signal 9" in found["error"]
    assert page.ended(page.submit("make", model="planes", frames=8))["status"] == "done"
    page.until(job, lambda found: found["files"])
    kept = page.frames(job)
    page.post(f"jobs/{job}/continue")
    page.until(job, grown(len(kept) + 16))
    page.post(f"jobs/{job}/stop")
    whole = page.frames(job)
    assert np.array_equal(
        whole, page.frames(watched(page, frames=len(whole), model="planes", seed=6))[: len(whole)]
    )


def test_a_job_ends_whose_model_is_removed_while_it_runs(
    page: Page, monkeypatch: pytest.MonkeyPatch
):
    job = page.submit("make", model="planes", frames=400, seed=9)
    page.until(job, grown(8))
    monkeypatch.delitem(page.studio.catalogue.models, "planes")  # as with the training it is of
    assert page.ended(job)["status"] == "done"


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("make", {"model": "volum"}, "there is no model 'volum'; did you mean 'volume'?"),
        ("make", {"model": "volume", "frame": 3}, "did you mean 'frames'?"),
        ("mak", {"model": "volume"}, "there is no kind 'mak'; did you mean 'make'?"),
        ("make", {"model": "volume", "prompt": "sea"}, "reads no prompt"),
        ("make", {"model": "volume", "label": "storm"}, "label 'storm' is not a class"),
        ("live", {"model": "planes", "label": "wind, lfet"}, "did you mean 'wind, left'"),
        ("make", {"model": "planes", "rollout": "fifo"}, "no network for the rollout 'fifo'"),
        ("make", {"model": "planes", "rollout": "one_clip", "frames": 99}, "ask for at most"),
        ("make", {"model": "planes", "loop": True}, "planes cannot use loop"),
        ("make", {"model": "volume", "frames": 10**7}, "more than the limit of"),
        ("make", {"model": "volume", "frames": 10**6, "steps": 1000}, "over the limit of"),
        ("make", {"model": "volume", "end_image": "a" * 12}, "needs a start_image"),
        (
            "make",
            {"model": "volume", "start_image": "a" * 12, "end_image": "b" * 12, "loop": True},
            "end_image and loop cannot be combined",
        ),
        ("make", {"model": "volume", "start_image": "../../etc"}, "start_image"),
        ("make", {"model": "volume", "start_image": "a" * 12}, "there is no upload"),
        ("live", {"model": "volume", "sheet": True}, "is for videos of a given length"),
        ("compare", {"a": "a" * 12, "b": "a" * 12}, "choose two"),
        ("train", {}, "give folder_name or upload"),
        ("train", {"folder_name": "../data"}, "folder_name"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(
    page: Page, limits: Limit, kind: str, settings: dict[str, Any], expected: str
):
    limits(pixel_steps=1e10)
    found = page.post("jobs", {"kind": kind, "settings": settings}, 422)
    assert expected in found["error"]


MAKE = {
    "model": "volume", "frames": 8, "seed": 3, "steps": 2, "label": "calm", "guidance_scale": 1.5,
    "sheet": True, "decoder": "full", "start_image": None, "loop": False,
}  # fmt: skip
BODIES: list[tuple[str, Any]] = [
    ("/api/jobs", {"kind": "make", "settings": MAKE}),
    ("/api/jobs", {"kind": "live", "settings": {"model": "planes"}, "changes": [{"frame": 8}]}),
    ("/api/jobs", {"kind": "reconstruct", "settings": {"model": "volume", "upload": "a" * 12}}),
    ("/api/jobs", {"kind": "compare", "settings": {"a": "a" * 12, "b": "b" * 12}}),
    ("/api/jobs", {"kind": "train", "settings": {"folder_name": "x", "minutes": 9}}),
    ("/api/compare", {"a": "a" * 12, "b": "b" * 12}),
    ("/api/estimate", MAKE),
    ("/api/jobs/JOB/change", {"label": "calm", "guidance_scale": 2.0}),
    ("/api/jobs/JOB/continue", {"frames": 16}),
    ("/v1/videos", {"model": "volume", "prompt": "calm", "seconds": "1", "seed": 2}),
]


def test_broken_bodies_are_answered_in_a_sentence(page: Page, limits: Limit, tally: Tally):
    job = page.ended(page.submit("make", model="planes", frames=8))["id"]
    limits(disk_bytes=1)  # so that no job begins
    draw = random.Random(12)
    for _ in range(2 * COUNT):
        path, whole = draw.choice(BODIES)
        text = json.dumps(changed(whole, draw)) if draw.randrange(4) else draw.choice(TEXTS)

        def ask(path: str = path, text: str = text) -> Any:
            headers = {**HEADERS, "content-type": "application/json"}
            answer = page.client.post(path.replace("JOB", job), content=text, headers=headers)
            if answer.status_code == 200:
                return answer.json()
            assert answer.status_code in (404, 409, 422, 429), (path, text, answer.text)
            error = answer.json()["error"]
            sentence = error if isinstance(error, str) else error["message"]
            assert sentence
            assert "\n" not in sentence
            return None

        tally(ask)
    assert page.get(f"jobs/{job}")["status"] == "done"


def test_a_change_that_the_model_does_not_read_is_refused_at_once(page: Page):
    job = page.submit("live", model="volume")
    page.until(job, grown(1))
    refused = page.post(f"jobs/{job}/change", {"label": "storm"}, 422)
    assert "label 'storm' is not a class" in refused["error"]
    assert "nothing is changed" in page.post(f"jobs/{job}/change", {}, 422)["error"]
    missing = page.post(f"jobs/{job}/change", {"start_image": "a" * 12}, 422)
    assert "there is no upload" in missing["error"]
    noise = {**page.studio.catalogue.models["volume"], "can": ["make", "live"]}
    with pytest.raises(ValueError, match="volume cannot use start_image: it begins videos from"):
        check_change(Change(start_image="a" * 12), noise)
    page.post(f"jobs/{job}/stop")
    assert "only a live video" in page.post(f"jobs/{job}/change", {"label": "calm"}, 409)["error"]


def test_a_full_queue_refuses_in_words_and_says_places(page: Page, limits: Limit):
    limits(jobs=2)
    jobs = [page.submit("live", model="planes") for _ in range(3)]
    assert [page.get(f"jobs/{job}")["place"] for job in jobs] == [0, 1, 2]
    refused = page.post("jobs", {"kind": "live", "settings": {"model": "planes"}}, 429)
    assert "2 jobs wait already" in refused["error"]
    assert page.post(f"jobs/{jobs[1]}/stop")["status"] == "stopped"
    assert page.get(f"jobs/{jobs[2]}")["place"] == 1
    assert page.client.delete(f"/api/jobs/{jobs[0]}", headers=HEADERS).status_code == 204
    assert not (page.folder / "jobs" / jobs[0]).exists()
    page.until(jobs[2], grown(8))
    assert [job["id"] for job in page.get("jobs?kind=live&limit=2")] == [jobs[2], jobs[1]]
    page.post(f"jobs/{jobs[2]}/stop")


def test_an_endless_video_that_nobody_watches_is_stopped(page: Page, limits: Limit):
    limits(idle_seconds=0.2)
    job = page.ended(page.submit("live", model="planes"))
    assert job["status"] == "stopped"
    page.until(job["id"], lambda found: "nobody watched it" in (found["error"] or ""))


def test_a_folder_that_is_too_large_stops_work(page: Page, limits: Limit):
    job = page.submit("live", model="planes")
    page.until(job, grown(8))
    limits(disk_bytes=1)
    page.until(job, lambda found: "over its limit" in (found["error"] or ""))
    refused = page.post(f"jobs/{job}/continue", status=429)
    assert "delete jobs or uploads" in refused["error"]


def test_what_a_video_takes_is_estimated(page: Page):
    found = page.post("estimate", {"model": "planes", "frames": 240, "steps": 4})
    assert found["seconds"] > 0
    assert found["memory_mb"] > 50
    assert (found["frames"], found["duration_seconds"]) == (240, 2.0)
    assert "sampler.steps=4" in found["command"]
    refused = page.post("estimate", {"model": "planes", "frames": 10**9}, 422)
    assert "limit" in refused["error"]
    refused = page.post("estimate", {"model": "planes", "frames": 0}, 422)
    assert refused["error"].startswith("frames:")
