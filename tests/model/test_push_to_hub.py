"""Uploads, against a local stand-in for the Hugging Face hub."""

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from longtake.model import VideoModel


class LocalHub:
    """HfApi whose repositories are folders."""

    root = Path()

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        (self.root / repository).mkdir(parents=True, exist_ok=exist_ok)
        (self.root / repository / ".private").write_text(str(private))

    def upload_folder(self, *, repo_id: str, folder_path: Path) -> str:
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)
        return f"https://hub/{repo_id}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(LocalHub, "root", tmp_path)
    monkeypatch.setattr(huggingface_hub, "HfApi", LocalHub)

    def download(repository: str, **_: Any) -> str:
        return str(tmp_path / repository)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return tmp_path


def test_an_uploaded_model_comes_back(hub: Path, tiny_model: VideoModel):
    assert tiny_model.push_to_hub("me/clouds", private=True) == "https://hub/me/clouds"
    assert (hub / "me/clouds/.private").read_text() == "True"
    again = VideoModel.from_pretrained("me/clouds")
    for name, part in tiny_model.components.items():
        for key, weight in part.state_dict().items():
            assert torch.equal(again.components[name].state_dict()[key], weight)


def test_a_model_is_public_unless_said_otherwise(hub: Path, tiny_triplane_model: VideoModel):
    tiny_triplane_model.push_to_hub("me/planes")
    assert (hub / "me/planes/.private").read_text() == "False"
