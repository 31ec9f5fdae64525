"""Uploads: decoded in a sandbox with limits, and used as given frames."""

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from studio.conftest import COMMANDS, HEADERS, Limit, Page

from longtake.studio import decoding
from longtake.studio.app import BODY_BYTES, FIELD_BYTES
from longtake.studio.settings import Limits
from longtake.studio.showing import size_of
from longtake.studio.store import new_id
from longtake.studio.studio import Studio
from longtake.video import VideoError, VideoWriter, sandbox
from longtake.video.sandbox import Sandbox

PICTURE = np.stack(np.broadcast_arrays(*np.ogrid[0:200:20j, 0:250:30j], 90), -1).astype(np.uint8)
CHUNK = 1 << 15


def image(kind: str = "PNG", pixels: np.ndarray = PICTURE) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def film(folder: Path, frames: int, suffix: str = ".mp4") -> bytes:
    path = folder / f"film{suffix}"
    with VideoWriter(path, 8, overwrite=True) as writer:
        writer.write(np.random.default_rng(1).integers(0, 255, (frames, 20, 30, 3), np.uint8))
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_image_is_taken_by_its_contents(page: Page, kind: str):
    found = page.upload("../../name.txt", image(kind))
    assert (found["kind"], found["width"], found["height"]) == ("image", 30, 20)
    preview = page.client.get(found["preview"])
    assert np.asarray(Image.open(io.BytesIO(preview.content))).shape == (20, 30, 3)


def test_a_video_begins_with_the_frames_of_an_upload(page: Page, tmp_path: Path):
    found = page.upload("film.mp4", film(tmp_path, 10))
    assert (found["kind"], found["frames"], found["fps"]) == ("video", 10, 8.0)
    given = page.upload("first.png", image(pixels=PICTURE[:16, :16]))
    job = page.ended(page.submit("make", model="planes", frames=16, start_image=given["id"]))
    assert job["status"] == "done", job
    first = page.frames(job["id"], "seed_0000.mp4")[0].astype(int)
    assert abs(first - PICTURE[:16, :16]).mean() < 8  # H.264
    assert f"--start-image {page.folder}/uploads/{given['id']}/given.png" in job["command"]
    job = page.ended(page.submit("live", model="planes", frames=170, continue_video=found["id"]))
    assert (job["status"], job["frames_done"]) == ("done", 170), job


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "the upload is empty"),
        (b"MZ" + bytes(100), "not a video or an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a video or an image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an image, or broken"),
        (bytes(4) + b"ftypisom" + bytes(100), ""),
        (image()[:-60], "the upload"),
    ],
)
def test_what_is_neither_video_nor_image_is_refused_in_words(
    page: Page, data: bytes, expected: str
):
    before = set((page.folder / "uploads").iterdir())
    refused = page.upload("film.mp4", data, 422)
    assert expected in refused["error"]
    assert str(page.folder) not in refused["error"]
    assert "upload.p" not in refused["error"]  # a name that the user has not given
    assert set((page.folder / "uploads").iterdir()) == before


def test_uploads_are_listed_and_deleted_when_no_unfinished_job_needs_them(page: Page):
    name = page.upload("a.png", image(pixels=PICTURE[:16, :16]))["id"]
    settings = {"model": "planes", "frames": 8, "start_image": name}
    first = page.submit("live", model="planes")  # so that the next job waits
    job = page.submit("make", **settings)
    (found,) = (each for each in page.get("uploads") if each["id"] == name)
    assert (found["kind"], found["jobs"]) == ("image", 1)
    assert found["bytes"] > 50
    refused = page.client.delete(f"/api/uploads/{name}", headers=HEADERS)
    assert refused.status_code == 409
    assert "1 job that may still be carried out would lack this upload" in refused.text
    page.post(f"jobs/{first}/stop")
    assert page.ended(job)["status"] == "done"
    assert page.client.delete(f"/api/uploads/{name}", headers=HEADERS).status_code == 204
    assert name not in [each["id"] for each in page.get("uploads")]
    assert not (page.folder / "uploads" / name).exists()
    for missing in (name, "..", "notes.txt"):
        gone = page.client.delete(f"/api/uploads/{missing}", headers=HEADERS)
        assert gone.status_code in (404, 405), missing


def test_damage_that_the_decoder_conceals_is_refused(page: Page, tmp_path: Path):
    refused = page.upload("film.mkv", film(tmp_path, 12, ".mkv")[:-20], 422)
    assert "the upload is damaged (" in refused["error"]
    assert str(page.folder) not in refused["error"]


def test_an_upload_has_limits(page: Page, limits: Limit, tmp_path: Path):
    limits(upload_bytes=1000, upload_frames=8, upload_pixels=700)
    assert "larger than the limit" in page.upload("a.png", bytes(2000), 422)["error"]
    limits(upload_frames=8, upload_pixels=700)
    assert "over 8 frames" in page.upload("a.mp4", film(tmp_path, 9), 422)["error"]
    large = image(pixels=np.zeros((30, 30, 3), np.uint8))
    assert "30 x 30 pixels are over the limit" in page.upload("a.png", large, 422)["error"]
    assert page.client.post("/api/uploads", headers={"X-Longtake": "1"}).status_code == 422


@pytest.mark.parametrize(
    ("kind", "path", "most"),
    [
        ("multipart/form-data; boundary=x", "/api/uploads", 1000 + FIELD_BYTES),
        ("multipart/form-data; boundary=x", "/v1/videos", 1000 + FIELD_BYTES),
        ("application/json", "/v1/videos", BODY_BYTES),
    ],
)
def test_a_body_without_end_is_read_up_to_the_limit(
    page: Page, limits: Limit, kind: str, path: str, most: int
):
    limits(upload_bytes=1000)
    head = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    read, sent = [], []

    async def receive() -> dict[str, Any]:
        read.append(bytes(CHUNK) if read else head)
        return {"type": "http.request", "body": read[-1], "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    names = {"host": "127.0.0.1", "x-longtake": "1", "content-type": kind}
    headers = [(name.encode(), value.encode()) for name, value in names.items()]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b""}
    assert page.client.portal is not None
    page.client.portal.call(page.client.app, {**scope, "headers": headers}, receive, send)
    assert sent[0]["status"] == 413
    assert b"is larger than the limit" in sent[1]["body"]
    assert most < sum(map(len, read)) <= most + CHUNK


def test_an_upload_needs_room_in_the_folder(page: Page, limits: Limit):
    page.upload("a.png", image())
    before = set((page.folder / "uploads").iterdir())
    limits(disk_bytes=size_of(page.folder) + (1 << 20))
    error = page.upload("a.png", bytes(3 << 20), 429)["error"]
    assert "3.1 MB more do not fit into the studio's folder" in error
    assert "delete jobs or uploads" in error
    assert set((page.folder / "uploads").iterdir()) == before


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        (["given.png"], True),
        (["given.mkv", "preview.png"], True),
        ([], False),
        (["original"], False),
        (["original.d/upload.mp4", "given.mkv"], False),
    ],
)
def test_an_upload_that_a_kill_has_cut_short_is_removed(
    tmp_path: Path, files: list[str], kept: bool
):
    folder = tmp_path / "uploads" / new_id()
    folder.mkdir(parents=True)
    (tmp_path / "uploads" / "notes.txt").touch()
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()

    async def open_and_close() -> None:
        async with Studio(tmp_path, {}, Limits(), COMMANDS):
            pass

    asyncio.run(open_and_close())
    assert folder.exists() == kept
    assert (tmp_path / "uploads" / "notes.txt").exists()


@pytest.mark.parametrize("name", ["a.png", "a.mp4"])
def test_a_message_does_not_tell_where_the_studio_keeps_uploads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    data = image() if name == "a.png" else film(tmp_path, 3)
    (tmp_path / "original").write_bytes(data)
    with Sandbox(sandbox.Limits(seconds=0.0)) as impatient:
        monkeypatch.setattr(decoding, "_sandbox", lambda: impatient)
        with pytest.raises(VideoError, match=r"^(the upload|upload\.mp4): decoding it takes more"):
            decoding.decode_upload(tmp_path, Limits())
