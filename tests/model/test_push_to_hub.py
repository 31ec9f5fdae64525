"""Uploads, to a local server that answers as the Hugging Face hub does."""

import base64
import json
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard, constants
from typer.testing import CliRunner

from longtake.checkpoint import CheckpointError
from longtake.cli import app
from longtake.model import VideoModel


@dataclass
class Hub:
    """What was uploaded: files by repository and name, and whether repositories are private."""

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self, data: Any) -> None:
            body = json.dumps(data).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer({"id": self.path, "siblings": [], "sha": "0" * 40})

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            place = self.path.split("?")[0]
            if place == "/api/repos/create":
                asked = json.loads(text)
                name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
                hub.private[name] = asked.get("visibility") == "private" or bool(
                    asked.get("private")
                )
                self.answer({"url": f"{hub.url}/{name}", "name": name, "id": name})
            elif "/preupload/" in place:
                names = [each["path"] for each in json.loads(text)["files"]]
                modes = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]
                self.answer({"files": modes})
            elif "/commit/" in place:
                name = place.removeprefix("/api/models/").split("/commit/")[0]
                lines = [json.loads(line) for line in text.splitlines()]
                files = [line["value"] for line in lines if line["key"] == "file"]
                found = {each["path"]: base64.b64decode(each["content"]) for each in files}
                hub.files.setdefault(name, {}).update(found)
                about = {"commitUrl": f"{hub.url}/{name}/commit/1", "commitOid": "1" * 40}
                self.answer({**about, "hookOutput": "", "success": True})
            else:  # such as the check of a card's metadata
                self.answer({"errors": [], "warnings": []})

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    return Handler


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[Hub]:
    found = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(found))
    found.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", found.url)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def written(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_an_uploaded_model_comes_back_with_a_card(hub: Hub, tiny_model: VideoModel, tmp_path: Path):
    assert tiny_model.push_to_hub("me/clouds", private=True).startswith(f"{hub.url}/me/clouds")
    assert hub.private == {"me/clouds": True}
    again = VideoModel.from_pretrained(written(hub.files["me/clouds"], tmp_path / "model"))
    for name, part in tiny_model.components.items():
        for key, weight in part.state_dict().items():
            assert torch.equal(again.components[name].state_dict()[key], weight)
    card = ModelCard(hub.files["me/clouds"]["README.md"].decode())
    assert card.data.to_dict()["library_name"] == "longtake"
    assert 'VideoModel.from_pretrained("me/clouds")' in card.text


def test_python_on_a_card_runs(tiny_model: VideoModel, tiny_text_folder: Path, tmp_path: Path):
    tiny_model.save_pretrained(tmp_path / "mine")
    for folder in (tmp_path / "mine", tiny_text_folder):
        card = VideoModel.from_pretrained(folder).card(str(folder))
        code = card.split("```python\n")[1].split("```")[0]
        exec(code.replace('Prompt("...")', 'Prompt("calm sea")'), {})


def test_the_card_of_an_autoencoder_reconstructs(tiny_autoencoder_folder: Path):
    card = VideoModel.from_pretrained(tiny_autoencoder_folder).card("me/coder")
    assert "longtake reconstruct me/coder" in card
    assert "generate" not in card


def test_a_model_is_pushed_by_the_command_with_its_own_card(
    hub: Hub, tiny_model: VideoModel, tmp_path: Path
):
    tiny_model.save_pretrained(tmp_path / "mine")
    (tmp_path / "mine" / "README.md").write_text("# Mine\n")
    (tmp_path / "mine" / "secret.txt").write_text("not for others")
    called = CliRunner().invoke(app, ["push", str(tmp_path / "mine"), "me/mine"])
    assert called.exit_code == 0, called.output
    assert hub.private == {"me/mine": False}
    assert hub.files["me/mine"]["README.md"] == b"# Mine\n"
    assert "model_index.json" in hub.files["me/mine"]
    assert "secret.txt" not in hub.files["me/mine"]


def test_a_name_that_the_hub_does_not_take_is_refused_in_a_sentence(
    hub: Hub, tiny_model: VideoModel
):
    with pytest.raises(CheckpointError, match=r"not a name: .* the model \(HFVal\w+: Repo id must"):
        tiny_model.push_to_hub("not a name")
    assert hub.files == {}
