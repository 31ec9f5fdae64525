"""Models that ship with the package."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from longtake.checkpoint import file_hash
from longtake.cli.serve import model_places
from longtake.hub import INDEX, find_model, shipped_models
from longtake.model import VideoModel
from longtake.model.index import read_model_files
from longtake.reconstruct import reconstruct_frames

AUTOENCODERS = ["lvdm-general"]
WRONG_LEVELS = 6  # of the mean colour; lvdm-sky is off by 25
COLOURS = {
    **{"black": (30, 30, 30), "asphalt": (90, 90, 90), "concrete": (180, 175, 165)},
    **{"snow": (220, 220, 220), "soil": (120, 105, 85), "leaves": (70, 75, 60)},
    **{"brick": (150, 90, 70), "dusk": (60, 90, 140)},
}


@pytest.mark.parametrize("name", shipped_models())
def test_weights_have_the_hashes_of_the_index(name: str):
    folder = shipped_models()[name]
    index, _ = read_model_files(folder)
    found = {part: file_hash(folder / part / "model.safetensors") for part in index.weights}
    assert found == index.weights


def test_all_shipped_models_together_are_small():
    files = [p for folder in shipped_models().values() for p in folder.rglob("*.safetensors")]
    sizes = [path.stat().st_size for path in files]
    assert sum(sizes) < 60e6
    assert max(sizes) < 16e6


def test_autoencoders_without_denoisers_are_small_and_have_a_card():
    folders = [shipped_models()[name] for name in AUTOENCODERS]
    assert sum(p.stat().st_size for f in folders for p in f.rglob("*")) < 12e6
    for folder in folders:
        assert "licence" in (folder / "README.md").read_text()


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_an_autoencoder_for_any_footage_keeps_the_colours_of_streets(name: str):
    autoencoder = VideoModel.from_pretrained(name).autoencoder
    grain = np.random.default_rng(0).normal(0, 20, (16, 8, 8, 1)).repeat(4, 1).repeat(4, 2)
    for colour, levels in COLOURS.items():
        frames = (np.array(levels) + grain).clip(0, 255).astype(np.uint8)
        again = reconstruct_frames(autoencoder, frames)
        assert np.abs(again.mean((0, 1, 2)) - frames.mean((0, 1, 2))).max() < WRONG_LEVELS, colour


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_an_autoencoder_generates_nothing(name: str):
    with pytest.raises(ValueError, match="no network that samples clips, only autoencoder"):
        VideoModel.from_pretrained(name).long_video()


def test_the_name_of_a_shipped_model_is_that_model_whatever_the_folder_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.chdir(tmp_path)
    name, shipped = "lvdm-sky", shipped_models()["lvdm-sky"]
    (tmp_path / name).mkdir()
    assert find_model(name) == shipped
    assert not caplog.text
    shutil.copy(shipped / INDEX, tmp_path / name)
    assert find_model(name) == shipped
    assert "the folder is ./lvdm-sky" in caplog.text
    assert find_model(f"./{name}") == find_model(Path(name)) == Path(name)
    assert model_places([name, "pvdm-sky"])[name] == str(shipped)
