"""A studio of tiny models, with a worker process of its own."""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from starlette.testclient import TestClient

from longtake.cli import serve
from longtake.studio import studio
from longtake.studio.app import create_app
from longtake.studio.queueing import Commands
from longtake.studio.settings import Limits
from longtake.studio.studio import Studio

if TYPE_CHECKING:
    from longtake.model import VideoModel

COMMANDS = Commands(repeat=serve.repeat, train=serve.training)
HEADERS = {"X-Longtake": "1"}
ADDRESS = "http://127.0.0.1:8642"
PATIENCE_SECONDS = 180.0
FPS = 120.0  # so that live videos, which keep their pace, take no time


class Page:
    """A client that uses a studio as its page does."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        app: Any = client.app
        self.studio: Studio = app.state.studio
        self.folder = self.studio.folder

    def get(self, path: str) -> Any:
        """JSON data at an address."""
        answer = self.client.get(f"/api/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, data: Any = None, status: int = 200) -> Any:
        """Answer to JSON data."""
        answer = self.client.post(f"/api/{path}", json=data or {}, headers=HEADERS)
        assert answer.status_code == status, answer.text
        return answer.json()

    def submit(self, kind: str, **settings: Any) -> str:
        """Id of a new job."""
        return self.post("jobs", {"kind": kind, "settings": settings}, 202)["id"]

    def ended(self, job: str) -> Any:
        """A job, once it has ended."""
        return self.until(job, lambda found: found["status"] not in ("queued", "running"))

    def until(self, job: str, holds: Callable[[Any], bool]) -> Any:
        """A job, once a condition holds."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not holds(found := self.get(f"jobs/{job}")):
            assert time.monotonic() < end, found
            time.sleep(0.02)
        return found

    def watch(self, job: str, **headers: str) -> Any:
        """A WebSocket with the frames of a job."""
        address = f"ws{ADDRESS.removeprefix('http')}/api/jobs/{job}/frames"
        return self.client.websocket_connect(address, headers=headers)

    def file(self, job: str, name: str) -> bytes:
        """Contents of a job's file."""
        answer = self.client.get(f"/api/jobs/{job}/files/{name}")
        assert answer.status_code == 200, answer.text
        return answer.content

    def frames(self, job: str, name: str = "video.mp4") -> np.ndarray:
        """Frames of a job's video."""
        with av.open(io.BytesIO(self.file(job, name)), "r") as video:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])

    def upload(self, name: str, data: bytes, status: int = 201) -> Any:
        """Answer to an uploaded file."""
        files = {"file": (name, data)}
        answer = self.client.post("/api/uploads", files=files, headers=HEADERS)
        assert answer.status_code == status, answer.text
        return answer.json()


def opened(folder: Path, places: dict[str, str], token: str = "", **limits: Any) -> TestClient:
    """A client of a studio in a folder."""
    app = create_app(
        lambda: Studio(folder, places, Limits(**limits), COMMANDS),
        hosts=["127.0.0.1"],
        token=token,
    )
    return TestClient(app, base_url=ADDRESS)


@pytest.fixture(scope="session")
def places(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: "VideoModel",
    tiny_triplane_model: "VideoModel",
) -> dict[str, str]:
    """Folders of two tiny models by their names."""
    folder = tmp_path_factory.mktemp("models")
    for name, model in (("volume", tiny_model), ("planes", tiny_triplane_model)):
        fast = model.index.model_copy(update={"fps": FPS})
        replace(model, index=fast).save_pretrained(folder / name)
    return {name: str(folder / name) for name in ("volume", "planes")}


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory, places: dict[str, str]) -> Iterator[Page]:
    """A studio that all tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studio, "LOOK_SECONDS", 0.1)
        with opened(tmp_path_factory.mktemp("studio"), places) as client:
            yield Page(client)


Limit = Callable[..., None]


@pytest.fixture
def limits(page: Page, monkeypatch: pytest.MonkeyPatch) -> Limit:
    """Set limits of the shared studio during a test."""
    return lambda **changes: monkeypatch.setattr(page.studio, "limits", Limits(**changes))
