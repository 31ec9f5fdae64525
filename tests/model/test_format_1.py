"""Model folders and run folders of format 1 still open, and are written as format 2."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from longtake import config
from longtake.checkpoint import file_hash, write_tensors
from longtake.hub import shipped_models
from longtake.model import VideoModel
from longtake.model.index import read_model_files
from longtake.runs import AnyRun, read_run

FORMAT_1 = Path(__file__).parent / "format_1"
TODAY = {
    "autoencoder": "autoencoder",
    "denoiser": "denoiser",
    "between": "interpolator",
}


@pytest.fixture(params=["lvdm-sky", "pvdm-sky"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder as format 1 had it, with the weights of today's shipped model.

    Those of layers for text, which were trained beside them later, are left out.
    """
    folder = shutil.copytree(FORMAT_1 / request.param, tmp_path / request.param)
    shipped = shipped_models()[request.param]
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    _, components = read_model_files(folder)
    for name in index["weights"]:
        settings: Any = components[name]
        today = with_table(load_file(shipped / TODAY[name] / "model.safetensors"))
        path = folder / name / "model.safetensors"
        write_tensors(path, {weight: today[weight] for weight in settings.build().state_dict()})
        index["weights"][name] = file_hash(path)
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def with_table(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights, with embeddings of classes as a table, as format 1 had them, not as sums."""
    parts = [weights[name] for name in sorted(weights) if name.startswith("label_embed.tables.")]
    for i, rows in enumerate(parts):
        table = weights["label_embed.weight"] if i else rows.new_zeros(1, rows.shape[1])
        weights["label_embed.weight"] = (table[:, None] + rows).flatten(0, 1)
    return weights


def test_a_folder_of_format_1_is_the_model_that_ships_today(folder: Path):
    old, new = VideoModel.from_pretrained(folder), VideoModel.from_pretrained(folder.name)
    assert old.denoisers.keys() == new.denoisers.keys()
    assert old.index.sampling == new.index.sampling
    assert old.index.diffusion is not None
    assert new.index.diffusion is not None
    assert old.index.diffusion.samples_as(new.index.diffusion)
    assert old.index.latent_scaling == new.index.latent_scaling
    for role, network in old.denoisers.items():
        assert network.spec == new.denoisers[role].spec


def test_a_folder_of_format_1_is_written_as_format_2(folder: Path, tmp_path: Path):
    model = VideoModel.from_pretrained(folder)
    model.save_pretrained(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "model_index.json").read_text())
    assert written["format"] == 2
    assert config.parse(type(model.index), written).roles == written["roles"]
    again = VideoModel.from_pretrained(tmp_path / "again")
    assert again.index.sampling == model.index.sampling
    specs = [{role: net.spec for role, net in m.denoisers.items()} for m in (model, again)]
    assert specs[0] == specs[1]


def test_the_overlap_of_clips_moves_to_the_denoiser():
    index, components = read_model_files(FORMAT_1 / "pvdm-sky")
    assert config.to_dict(components["denoiser"])["clip_overlap_frames"] == 4
    assert index.roles == {"first": "denoiser"}
    index, _ = read_model_files(FORMAT_1 / "lvdm-sky")
    assert index.roles["interpolator"] == "between"


@pytest.mark.parametrize("name", sorted(path.stem for path in FORMAT_1.glob("*.yaml")))
def test_the_config_of_a_run_of_format_1_is_that_of_the_preset_today(name: str):
    stored = config.parse(AnyRun, config.read(FORMAT_1 / f"{name}.yaml"), upgrade=True)
    assert stored == read_run(name)


def test_a_former_name_in_a_preset_is_answered_with_the_present_one(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text((FORMAT_1 / "lvdm_laptop_interp.yaml").read_text())
    with pytest.raises(config.ConfigError, match="'component' is now called 'roles'"):
        read_run(str(path))


def test_one_network_may_fill_every_role(folder: Path, tmp_path: Path):
    model = VideoModel.from_pretrained(folder)
    network = model.denoisers["first"]
    whole = VideoModel(
        index=model.index,
        autoencoder=model.autoencoder,
        denoisers={"first": network, "next": network, "interpolator": network},
    )
    whole.save_pretrained(tmp_path / "one")
    again = VideoModel.from_pretrained(tmp_path / "one")
    assert again.index.roles == dict.fromkeys(("first", "next", "interpolator"), "denoiser")
    assert again.denoisers["first"] is again.denoisers["interpolator"]
    assert again.components.keys() == {"autoencoder", "denoiser"}
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "autoencoder",
        "denoiser",
        "model_index.json",
    ]


def test_half_the_size_comes_back_in_full_precision(folder: Path, tmp_path: Path):
    VideoModel.from_pretrained(folder).save_pretrained(tmp_path / "half", dtype=torch.float16)
    again = VideoModel.from_pretrained(tmp_path / "half")
    assert next(again.autoencoder.parameters()).dtype == torch.float32
