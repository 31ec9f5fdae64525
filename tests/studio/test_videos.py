"""The API for programs: create, poll, download, stream, list, delete."""

import io
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from starlette.testclient import TestClient
from studio.conftest import FPS, PATIENCE_SECONDS, Page, opened
from studio.test_uploads import PICTURE, image

WAITING = ("queued", "in_progress")


def create(client: TestClient, status: int = 200, **fields: Any) -> Any:
    answer = client.post("/v1/videos", json=fields)
    assert answer.status_code == status, answer.text
    return answer.json()


def completed(client: TestClient, video: str) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while (found := client.get(f"/v1/videos/{video}").json())["status"] in (
        "queued",
        "in_progress",
    ):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def decoded(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data), "r") as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


def test_a_video_is_created_polled_downloaded_listed_and_deleted(page: Page):
    client = page.client
    made = create(client, model="planes", prompt="wind, left", seconds="0.2", size="16x16", seed=3)
    assert (made["object"], made["model"], made["prompt"]) == ("video", "planes", "wind, left")
    assert (made["seconds"], made["size"], made["error"]) == ("0.2", "16x16", None)
    found = completed(client, made["id"])
    assert (found["status"], found["progress"]) == ("completed", 100)
    answer = client.get(f"/v1/videos/{made['id']}/content")
    assert answer.headers["content-type"] == "video/mp4"
    assert decoded(answer.content).shape == (24, 16, 16, 3)
    sheet = client.get(f"/v1/videos/{made['id']}/content?variant=spritesheet")
    assert sheet.headers["content-type"] == "image/png"
    listed = client.get("/v1/videos?limit=1").json()
    assert (listed["object"], listed["data"][0]["id"]) == ("list", made["id"])
    deleted = client.delete(f"/v1/videos/{made['id']}").json()
    assert deleted == {"id": made["id"], "object": "video.deleted", "deleted": True}
    assert client.get(f"/v1/videos/{made['id']}").status_code == 404


def test_a_video_streams_while_it_is_made_and_has_the_frames_of_the_file(page: Page):
    made = create(page.client, model="volume", frames=60)
    with page.client.stream("GET", f"/v1/videos/{made['id']}/content?stream=true") as answer:
        chunks = list(answer.iter_bytes())
    streamed = b"".join(chunks)
    assert streamed[4:8] == b"ftyp"
    assert streamed.count(b"moof") == 60
    completed(page.client, made["id"])
    whole = page.client.get(f"/v1/videos/{made['id']}/content").content
    assert np.array_equal(decoded(streamed), decoded(whole))
    for data in (streamed, whole):
        with av.open(io.BytesIO(data), "r") as video:
            times = [frame.time for frame in video.decode(video=0)]
        assert times == pytest.approx([i / FPS for i in range(60)], abs=1e-3)


def test_a_form_with_a_first_image_makes_a_video(page: Page):
    fields = {"model": "planes", "seconds": "0.1"}
    files = {"input_reference": ("a.png", image(pixels=PICTURE[:16, :16]))}
    answer = page.client.post("/v1/videos", data=fields, files=files)
    assert answer.status_code == 200, answer.text
    made = completed(page.client, answer.json()["id"])
    assert made["status"] == "completed", made
    uploads = page.folder / "uploads"
    before = set(uploads.iterdir())
    refused = page.client.post("/v1/videos", data={**fields, "fps": "24"}, files=files)
    assert refused.status_code == 422
    assert set(uploads.iterdir()) == before  # the image of a refused request is not kept
    page.client.delete(f"/v1/videos/{made['id']}")
    assert len(before - set(uploads.iterdir())) == 1  # nor that of a deleted video


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "none"}, "there is no model 'none'"),
        ({"size": "720x1280"}, "makes videos of 16x16"),
        ({"prompt": "wind, lfet"}, "did you mean 'wind, left'"),
        ({"seconds": "1e9"}, "limit"),
        ({"seconds": "x"}, "seconds"),
        ({"colour": "red"}, "there is no field 'colour'"),
        ({"frames": 8, "num_frames": 8}, "frames and num_frames are two names of one setting"),
        ({"steps": 1, "num_inference_steps": 2}, "steps and num_inference_steps are two names"),
        ({"num_frames": 0}, "num_frames"),
        ({"fps": 24}, "fps=24: planes makes 120 frames a second; leave fps out"),
        ({"negative_prompt": "rain"}, "planes reads no text; leave negative_prompt out"),
    ],
)
def test_a_mistake_has_the_shape_of_an_openai_error(page: Page, fields: Any, expected: str):
    error = create(page.client, 422, **{"model": "planes", **fields})["error"]
    assert expected in error["message"]
    assert error["type"] == "invalid_request_error"


def test_names_of_fastvideo_set_the_same_as_our_own(page: Page):
    ours = {"frames": 24, "steps": 2, "guidance_scale": 2.0, "seed": 3}
    theirs = {"num_frames": 24, "num_inference_steps": 2, "guidance_scale": 2.0, "seed": 3}
    jobs = []
    for fields in (ours, {**theirs, "fps": 120, "negative_prompt": ""}):
        made = create(page.client, model="planes", **fields)
        jobs.append(page.studio.queue.job(made["id"].removeprefix("video_")).settings)
        page.client.delete(f"/v1/videos/{made['id']}")
    assert jobs[0] == jobs[1]
    settings = jobs[1]["settings"]
    assert (settings["frames"], settings["steps"], settings["guidance_scale"]) == (24, 2, 2.0)


def test_a_negative_prompt_is_taken_by_a_model_that_reads_text(
    tmp_path: Path, tiny_text_folder: Path
):
    with opened(tmp_path, {"text": str(tiny_text_folder)}) as client:
        create(client, 422, negative_prompt="rain")
        made = create(client, prompt="calm sea", negative_prompt=" rain ", num_frames=8)
        found = completed(client, made["id"])
        app: Any = client.app
        job = app.state.studio.queue.job(made["id"].removeprefix("video_"))
    assert found["status"] == "completed", found
    assert job.settings["settings"]["negative"] == "rain"


def test_what_is_not_ready_or_not_there_is_said(page: Page):
    client = page.client
    made = create(client, model="planes", frames=4000)
    early = client.get(f"/v1/videos/{made['id']}/content")
    assert (early.status_code, "poll it" in early.text) == (409, True)
    client.delete(f"/v1/videos/{made['id']}")
    assert "limit=x: expected a whole number" in client.get("/v1/videos?limit=x").text
    for path in ("video_aaaaaaaaaaaa", "aaaaaaaaaaaa"):
        assert client.get(f"/v1/videos/{path}").json()["error"]["code"] == "not_found"


def test_health_and_numbers_are_shown(page: Page):
    assert page.client.get("/health").json() == {"status": "ok"}
    lines = page.client.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values["longtake_frames_total"]) > 0
    assert float(values['longtake_resident_bytes{process="server"}']) > 1e7
    assert 'longtake_jobs{status="done"}' in values
    assert [m["id"] for m in page.client.get("/v1/models").json()["data"]] == ["volume", "planes"]
