"""Broken inputs, drawn from a seed: each is refused with an error of ours, or is valid."""

import io
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from convert import official_lvdm, official_pvdm
from mutations import COUNT, TEXTS, VALUES, Tally, changed, opens, torn
from tiny_decoder import LARGE
from torch import nn

from longtake.checkpoint import file_hash
from longtake.config import to_dict
from longtake.convert.from_c3d import _mean, convert_c3d
from longtake.convert.from_i3d import convert_i3d
from longtake.convert.from_pvdm import read_pvdm
from longtake.convert.official_config import read_official
from longtake.convert.torch_file import read_state_dict
from longtake.data.captions import read_prompts
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.diffusion import DDIM
from longtake.evaluation.opening import open_videos
from longtake.evaluation.result import Result
from longtake.losses.lpips import LPIPS
from longtake.model import Sampling, VideoModel
from longtake.model.students import save_with_students
from longtake.runs import presets, read_run
from longtake.training.log import read_log
from longtake.video import open_video

ROLES = ["autoencoder", "short", "keys", "between", "text"]


def check_clip(model: VideoModel) -> None:
    """An accepted model makes clips of its size, or says why it cannot."""
    if not model.denoisers:
        return
    quick = Sampling(sampler=DDIM(steps=1))
    part = opens(lambda: next(model.long_video(quick)(model.request(seeds=[0]), frames=1)))
    if part is not None:
        assert part.frames.shape[2:] == (*model.autoencoder.spec.clip[1:], 3)
        assert bool(part.pixels.isfinite().all())


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", ["run.yaml", "model_index.json", "autoencoder/config.json"])
def test_a_text_that_is_not_a_config_is_refused(
    name: str, text: str, tiny_run_folder: Path, tmp_path: Path
):
    folder = shutil.copytree(tiny_run_folder / "model", tmp_path / "model")
    (folder / name).write_text(text)
    if name == "run.yaml":
        assert opens(lambda: read_run(str(folder / name))) is None
        assert opens(lambda: read_official(folder / name)) is None
    else:
        assert opens(lambda: VideoModel.from_pretrained(folder)) is None


def test_runs_and_overrides_with_broken_values_are_refused(tmp_path: Path, tally: Tally):
    draw, path = random.Random(0), tmp_path / "run.yaml"
    whole = [(name, yaml.safe_load(path.read_text())) for name, path in presets().items()]
    for _ in range(COUNT):
        name, data = draw.choice(whole)
        path.write_text(yaml.safe_dump(changed(data, draw)))
        if (run := tally(lambda: read_run(str(path)))) is not None:
            assert opens(lambda run=run: type(run).model_validate(to_dict(run))) == run
        keys = [draw.choice(["training", "data", "autoencoder", "denoiser", "sampling", "x", ""])]
        keys += draw.choices(["kind", "steps", "plan", "sampler", "guidance", "next", ""], k=2)
        value = draw.choice([*TEXTS, *map(json.dumps, VALUES)])
        tally(lambda n=name, k=keys, v=value: read_run(n, [f"{'.'.join(k)}={v}"]))


def damage(path: Path, index_file: Path, number: int, draw: random.Random) -> None:
    """Change a file of a model folder; every second file of weights keeps a hash that fits."""
    if path.suffix == ".json" and number % 3:
        path.write_text(json.dumps(changed(json.loads(path.read_text()), draw)))
    else:
        path.write_bytes(torn(path.read_bytes(), draw))
    if path.suffix == ".safetensors" and number % 2:
        index = json.loads(index_file.read_text())
        index["weights"][path.parent.name] = file_hash(path)
        index_file.write_text(json.dumps(index))


def test_model_folders_with_broken_files_are_refused(
    longtake: Callable[..., Any], tiny_run_folder: Path, tmp_path: Path, tally: Tally
):
    draw, folder = random.Random(1), tmp_path / "model"
    for number in range(COUNT):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tiny_run_folder / "model", folder)
        path = draw.choice(sorted(p for p in folder.rglob("*") if p.is_file()))
        damage(path, folder / "model_index.json", number, draw)
        shown = longtake("inspect", folder)
        assert shown.code in (0, 2), shown
        if (model := tally(lambda: VideoModel.from_pretrained(folder))) is not None:
            assert shown.code == 0, shown
            states = [part.state_dict().values() for part in model.components.values()]
            assert all(bool(tensor.isfinite().all()) for state in states for tensor in state)
            check_clip(model)


def test_decoders_and_students_with_broken_files_are_refused(
    tiny_model: VideoModel, tmp_path: Path, tally: Tally
):
    config: Any = tiny_model.denoisers["first"].config
    student = config.build().eval()
    students = {**tiny_model.denoisers, "first": student}
    replace(tiny_model, decoders={"large": LARGE.build()}).save_pretrained(tmp_path / "teacher")
    replace(tiny_model, denoisers=students).save_pretrained(tmp_path / "student")
    whole, folder = tmp_path / "whole", tmp_path / "model"
    save_with_students(tmp_path / "teacher", [tmp_path / "student"], whole)
    own = [whole / "model_index.json", *whole.glob("*decoder/*"), *whole.glob("student*/*")]
    draw = random.Random(8)

    def read() -> tuple[VideoModel, nn.Module]:
        model = VideoModel.from_pretrained(folder, students=True)
        return model, model.decoder("large")

    for number in range(COUNT):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        path = folder / draw.choice(sorted(own)).relative_to(whole)
        damage(path, folder / "model_index.json", number, draw)
        if (found := tally(read)) is not None:
            model, decoder = found
            states = [part.state_dict().values() for part in (*model.denoisers.values(), decoder)]
            assert all(bool(tensor.isfinite().all()) for state in states for tensor in state)
            check_clip(model)


@pytest.mark.parametrize("zipped", [True, False])
def test_official_files_with_broken_bytes_are_refused(zipped: bool, tmp_path: Path, tally: Tally):
    draw, path, file = random.Random(2), tmp_path / "model_last.pth", io.BytesIO()
    torch.save(official_pvdm.autoencoder(), file, _use_new_zipfile_serialization=zipped)
    for _ in range(COUNT // 8):  # unpickling is slow where types are checked
        path.write_bytes(torn(file.getvalue(), draw))
        tally(lambda: read_pvdm(autoencoder=path))


def test_official_configs_with_broken_values_are_refused(tmp_path: Path, tally: Tally):
    draw, path = random.Random(3), tmp_path / "model.yaml"
    for _ in range(COUNT):
        path.write_text(yaml.safe_dump(changed(official_lvdm.config(draw.choice(ROLES)), draw)))
        tally(lambda: read_official(path))


def test_a_layer_number_without_the_layers_below_ends_at_once(tmp_path: Path):
    state = official_pvdm.autoencoder()
    state["encoder.layers.99999999.0.norm.weight"] = torch.ones(1)
    torch.save(state, tmp_path / "model_last.pth")
    with pytest.raises(ValueError, match=r"encoder"):
        read_pvdm(autoencoder=tmp_path / "model_last.pth")


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path):
    torch.save({"x": torch.ones(1).expand(1 << 40)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="larger than its storage"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["model_index.json", "denoiser/config.json"])
def test_a_pipe_is_not_waited_for(name: str, tiny_run_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_run_folder / "model", tmp_path / "model")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ValueError, match="not a regular file"):
        VideoModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("prompts.txt", read_prompts),
        ("log.jsonl", read_log),
        ("c3d.npz", lambda path: convert_c3d(path, path, path.with_name("out"))),
        ("c3d.pth", lambda path: convert_c3d(path, path, path.with_name("out"))),
        ("mean.npy", _mean),
        ("i3d.tar.gz", lambda path: convert_i3d(path, path.with_name("out"))),
        ("i3d.pt", lambda path: convert_i3d(path, path.with_name("out"))),
        ("vgg.pth", lambda path: LPIPS(files=(str(path),)).build()),
        ("clip.mp4", open_video),
        ("clips.npy", lambda path: open_videos(str(path))),
        ("clips.npz", lambda path: open_videos(str(path))),
        ("clips.safetensors", lambda path: open_videos(str(path))),
        ("clips.tar", lambda path: VideoFolder(path=path.parent, plan=ClipPlan(frames=1)).infos()),
        ("run.yaml", lambda path: read_run(str(path))),
        ("result.json", Result.read),
    ],
)
def test_no_reader_waits_for_a_pipe(name: str, read: Callable[[Path], Any], tmp_path: Path):
    os.mkfifo(tmp_path / name)
    with pytest.raises((ValueError, OSError), match=r"regular|no such file|no videos"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["../other", "/tmp/other", "a/b", "..", ""])
def test_a_component_has_a_plain_name(name: str, tiny_run_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_run_folder / "model", tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    index["weights"][name] = index["weights"].pop("denoiser")
    index["roles"]["first"] = name
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="string should match pattern"):
        VideoModel.from_pretrained(folder)


def test_a_link_out_of_the_folder_is_not_followed(tiny_run_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_run_folder / "model", tmp_path / "model")
    shutil.move(folder / "denoiser", tmp_path / "elsewhere")
    (folder / "denoiser").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="leads out of the model's folder"):
        VideoModel.from_pretrained(folder)


def test_sizes_that_do_not_fit_the_weights_take_no_memory(tiny_run_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_run_folder / "model", tmp_path / "model")
    path = folder / "denoiser" / "config.json"
    config = json.loads(path.read_text())
    for field, value in [("model_channels", 1 << 22), ("num_res_blocks", 1 << 40)]:
        path.write_text(json.dumps({**config, field: value}))
        with pytest.raises(ValueError, match=r"does not fit its config|no network has these sizes"):
            VideoModel.from_pretrained(folder)
