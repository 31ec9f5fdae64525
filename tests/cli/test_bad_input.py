"""A user's mistake is answered with one sentence, exit code 2 and no traceback."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from longtake.checkpoint import file_hash
from longtake.video import VideoWriter, write_image

FIT = {
    "kind": "autoencoder",
    "data": {"kind": "folder", "plan": {"frames": 4, "height": 16, "width": 16}},
    "autoencoder": {
        "kind": "volume_autoencoder",
        "clip": [4, 16, 16],
        "factors": [2, 4, 4],
        "hidden": 4,
        "groups": 4,
        "z_channels": 2,
    },
    "loss": {"reduction": "mean"},
    "training": {"steps": 1, "batch": 1, "sample_every": 0},
}


@pytest.fixture
def refused(longtake) -> Callable[..., str]:
    """Call a command that must fail, and return its one sentence."""

    def call(*arguments: object) -> str:
        called = longtake(*arguments)
        assert called.code == 2, called
        lines = [line for line in called.err.splitlines() if line.strip()]
        assert len(lines) == 1, called.err
        assert lines[0].startswith("longtake: ")
        return lines[0].removeprefix("longtake: ")

    return call


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder with one video of 6 frames of 16 x 20 pixels."""
    folder = tmp_path / "videos"
    folder.mkdir()
    frames = torch.randint(256, (6, 16, 20, 3), dtype=torch.uint8).numpy()
    with VideoWriter(folder / "a.mp4", 8.0) as writer:
        writer.write(frames)
    return folder


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(FIT))
    return path


@pytest.fixture
def model(tiny_run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be spoilt."""
    return shutil.copytree(tiny_run_folder / "model", tmp_path / "model")


def test_a_missing_video_is_named(refused, model: Path, tmp_path: Path):
    missing = tmp_path / "missing.mp4"
    said = refused("reconstruct", model, missing)
    assert said == f"{missing}: no such file or folder; expected a video or a folder of videos"


def test_a_missing_folder_of_videos_is_named(refused, preset: Path, tmp_path: Path):
    message = refused("fit", preset, f"data.path={tmp_path}/none", "-o", tmp_path / "run")
    assert message == f"{tmp_path}/none: no such folder"


@pytest.mark.parametrize("command", ["fit", "reconstruct", "data index"])
def test_an_empty_folder_is_reported_with_what_was_looked_for(
    refused, preset: Path, model: Path, tmp_path: Path, command: str
):
    (tmp_path / "empty").mkdir()
    arguments = {
        "fit": ("fit", preset, f"data.path={tmp_path}/empty", "-o", tmp_path / "run"),
        "reconstruct": ("reconstruct", model, tmp_path / "empty", "-o", tmp_path / "out"),
        "data index": ("data", "index", tmp_path / "empty"),
    }
    message = refused(*arguments[command])
    assert "empty" in message
    assert ".mp4" in message


@pytest.mark.parametrize("kept", [0, 60, 700])
def test_a_truncated_video_is_named(refused, model: Path, videos: Path, kept: int):
    path = videos / "a.mp4"
    path.write_bytes(path.read_bytes()[:kept])
    message = refused("reconstruct", model, path, "-o", videos.parent / "out")
    assert str(path) in message
    assert any(word in message for word in ("empty", "truncated", "broken", "decoded"))


def test_a_clip_longer_than_every_video_is_reported_with_the_longest(
    refused, preset: Path, videos: Path, tmp_path: Path
):
    longer = ("data.plan.frames=4", "data.plan.stride=3")
    message = refused("fit", preset, f"data.path={videos}", *longer, "-o", tmp_path / "run")
    assert "10 frames, more than every video has" in message
    assert "a.mp4, has 6" in message


def test_a_preset_with_an_unknown_key_is_answered_with_the_nearest(
    refused, preset: Path, tmp_path: Path
):
    message = refused("fit", preset, "data.path=x", "training.stesp=3", "-o", tmp_path / "run")
    assert message.endswith("there is no field 'stesp'; did you mean 'steps'?")


def test_an_unknown_preset_is_answered_with_the_nearest(refused):
    message = refused("fit", "lvdm_sky_shrt")
    assert message == "there is no preset 'lvdm_sky_shrt'; did you mean 'lvdm_sky_short'?"


def test_a_size_that_the_factors_do_not_divide_is_answered_with_valid_ones(
    refused, model: Path, videos: Path, tmp_path: Path
):
    message = refused("reconstruct", model, videos, "--size", "18x20", "-o", tmp_path / "out")
    assert message == "height 18 is not divisible by 4; the nearest valid heights are 16 and 20"


def test_a_preset_of_an_indivisible_size_is_answered_with_valid_ones(
    refused, preset: Path, videos: Path, tmp_path: Path
):
    odd = "autoencoder.clip=[4,16,18]"
    message = refused("fit", preset, f"data.path={videos}", odd, "-o", tmp_path / "run")
    assert message.endswith(
        "width 18 is not divisible by 4; the nearest valid widths are 16 and 20"
    )


def test_a_config_that_does_not_fit_the_weights_is_named(refused, model: Path):
    path = model / "denoiser" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_channels": 12}))
    message = refused("generate", model)
    assert "denoiser/model.safetensors: does not fit its config:" in message


def test_a_pickle_in_place_of_weights_is_answered_with_how_to_bring_it_in(refused, model: Path):
    path = model / "autoencoder" / "model.safetensors"
    torch.save({"weight": torch.ones(1)}, path)
    index = model / "model_index.json"
    settings = json.loads(index.read_text())
    settings["weights"]["autoencoder"] = file_hash(path)
    index.write_text(json.dumps(settings))
    message = refused("generate", model)
    assert message == (
        f"{path}: is a pickle, expected safetensors; convert it with longtake.convert first"
    )


@pytest.mark.parametrize("command", ["generate", "reconstruct", "evaluate", "join", "fit"])
def test_weights_that_are_not_finite_are_refused(
    refused, model: Path, videos: Path, tmp_path: Path, command: str
):
    path = model / "autoencoder" / "model.safetensors"
    weights = load_file(path)
    weights["decoder.conv_out.weight"].view(-1)[3] = float("nan")
    save_file(weights, path)
    index = model / "model_index.json"
    settings = json.loads(index.read_text())
    settings["weights"]["autoencoder"] = file_hash(path)
    index.write_text(json.dumps(settings))
    out = ("-o", tmp_path / "out")
    arguments = {
        "generate": ("generate", model, *out),
        "reconstruct": ("reconstruct", model, videos, *out),
        "evaluate": ("evaluate", "videos", "sky", model, "--n", 4),
        "join": ("convert", "join", model, *out),
        "fit": ("fit", "lvdm_laptop_short", f"model={model}", *out),
    }
    message = refused(*arguments[command])
    assert message.startswith(f"{path}: 'decoder.conv_out.weight' has values that are not finite")
    assert not (tmp_path / "out" / "model").exists()


def test_weights_that_were_exchanged_are_named(refused, model: Path):
    shutil.copy(
        model / "interpolator" / "model.safetensors", model / "denoiser" / "model.safetensors"
    )
    assert "has another SHA-256 than its model_index.json records" in refused("generate", model)


@pytest.mark.parametrize(
    ("command", "inner"),
    [
        *product(("generate", "reconstruct", "data export", "fit"), ("", "inner")),
        ("train", ""),
    ],
)
def test_a_file_in_place_of_a_folder_is_reported(
    refused, model: Path, preset: Path, videos: Path, tmp_path: Path, command: str, inner: str
):
    file = tmp_path / "file"
    file.write_text("precious")
    arguments = {
        "generate": ("generate", model),
        "reconstruct": ("reconstruct", model, videos),
        "data export": ("data", "export", "sky", "--videos", 1, "--frames", 1),
        "fit": ("fit", preset, f"data.path={videos}"),
        "train": ("train", videos, "--budget", "60s"),
    }
    message = refused(*arguments[command], "-o", file / inner)
    assert message == f"{file}: is a file, where a folder is needed; choose another path"
    assert file.read_text() == "precious"


def test_a_folder_in_place_of_a_file_is_reported(refused, model: Path, tmp_path: Path):
    message = refused("generate", model, "--prompts", tmp_path)
    assert message == f"{tmp_path}: is a folder, where a file is needed; choose another path"


@pytest.mark.parametrize(
    "command", ["generate", "reconstruct", "data sheet", "convert join", "fit"]
)
def test_what_exists_is_kept_without_overwrite(
    refused, model: Path, preset: Path, videos: Path, tmp_path: Path, command: str
):
    (tmp_path / "out").mkdir()
    precious = tmp_path / "out" / "a.mp4"
    precious.write_text("precious")
    small = ("plan.height=16", "plan.width=16", "videos=1")
    arguments = {
        "generate": ("generate", model, "-o", precious),
        "reconstruct": ("reconstruct", model, videos, "-o", tmp_path / "out"),
        "data sheet": ("data", "sheet", "sky", *small, "-o", precious),
        "convert join": ("convert", "join", model, "-o", tmp_path / "out"),
        "fit": ("fit", preset, f"data.path={videos}", "-o", tmp_path / "out"),
    }
    message = refused(*arguments[command])
    assert f"{tmp_path / 'out'}" in message
    assert "exists" in message
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--label", "storm"),
            "label 'storm' is not a class of this model; valid are calm; wind, left;",
        ),
        (("--label", "wind"), "label 'wind' fits 2 classes of this model"),
        (("--device", "cuda:99"), "--device cuda:99: no such device here ("),
        (
            ("--device", "toaster"),
            "--device toaster: no such device here (Expected one of cpu, cuda, ",
        ),
        (
            ("--seed", "one"),
            "--seed 'one': expected whole numbers from 0 on, such as 7, 0,3,5 or 0..3",
        ),
        (("--seed", "0..1", "-o", "x.mp4"), "-o x.mp4 names one file for 2 seeds; name a folder"),
        (("--seed", "0,3,0"), "--seed '0,3,0': 0 is given twice; give each seed once"),
        (("--format", "avi"), "--format 'avi': valid are mp4"),
        (("--format", "gif", "-o", "x.mp4"), "--format gif: -o x.mp4 has another format; leave"),
        (("--fps", "0"), "fps=0.0 of a .mp4 file must be from 0.01 to 1000"),
        (
            ("--frames", "8", "--label", "0: calm; 8: left"),
            "from frame 8 on has no effect, as the last clip of 8 frames of video begins at "
            "frame 0; leave it out, or ask for more frames",
        ),
        (("sampler.stpes=3",), "there is no field 'stpes'; did you mean 'steps'?"),
        (("rollout.kind=hierarchic",), "no kind 'hierarchic'; did you mean 'hierarchical'?"),
        (("sampler.steps",), "override 'sampler.steps' must have the form a.b=value"),
    ],
)
def test_an_unfit_option_of_generate_is_reported(
    refused, tiny_run_folder: Path, tmp_path: Path, monkeypatch, arguments, message: str
):
    monkeypatch.chdir(tmp_path)
    assert message in refused("generate", tiny_run_folder, *arguments)


def test_a_size_of_another_form_is_reported(refused, model: Path, videos: Path, tmp_path: Path):
    message = refused("reconstruct", model, videos, "--size", "4,4", "-o", tmp_path / "out")
    assert message.startswith("size '4,4': expected a number such as 64")


def test_an_unknown_model_is_reported(refused, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused("generate", "lvdm-ski")
    assert message.startswith("lvdm-ski: no such folder or shipped model")
    assert "did you mean 'lvdm-sky'?" in message


def test_a_folder_that_is_not_a_model_is_reported(refused, videos: Path):
    assert f"{videos}: not a model folder, as it has no model_index.json" in refused(
        "generate", videos
    )


def test_an_autoencoder_alone_generates_nothing(refused, tiny_autoencoder_folder: Path):
    message = refused("generate", tiny_autoencoder_folder)
    assert "no network that samples clips" in message


def test_a_picture_on_a_full_disk_is_reported(refused, tmp_path: Path):
    place = tmp_path / "sheet.png"
    (tmp_path / "sheet.partial.png").symlink_to("/dev/full")
    small = ("plan.height=16", "plan.width=16", "videos=1")
    message = refused("data", "sheet", "sky", *small, "-o", place)
    assert message == f"{place}: the disk is full"
    assert not place.exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare of util-linux")
@pytest.mark.parametrize("command", ["generate", "fit"])
def test_a_full_disk_is_reported_and_no_half_of_a_result_is_left(
    model: Path, preset: Path, videos: Path, tmp_path: Path, command: str
):
    disk = tmp_path / "disk"
    disk.mkdir()
    line = {
        "generate": f"generate {model} --frames 60 --steps 1 --format mkv -o {disk}",
        "fit": f"fit {preset} data.path={videos} -o {disk}/run",
    }[command]
    entry = f"{sys.executable} -c 'from longtake.cli import main; main()'"
    script = f"mount -t tmpfs -o size=32k disk {disk} || exit 77; {entry} {line}; code=$?; "
    script += f"ls -AR {disk}; exit $code"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode in (1, 77):
        pytest.skip("this machine lets no one mount a small disk")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("longtake: ")
    assert "the disk is full" in done.stderr
    assert "seed_0000.mkv" not in done.stdout.split()
    assert "model" not in done.stdout.split()


def test_overwrite_removes_runs_only(refused, preset: Path, tmp_path: Path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    message = refused("fit", preset, "data.path=x", "-o", precious, "--overwrite")
    assert message == f"{precious} exists and holds no run; choose another folder"
    assert (precious / "thesis.txt").exists()


def test_a_mistyped_folder_is_not_looked_for_on_the_hub(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert refused("generate", "runs/typo").startswith("runs/typo: no such folder")


def test_an_interruption_says_how_to_continue(
    longtake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(name: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("longtake.model.folder.find_model", interrupt)
    called = longtake("generate", "lvdm-sky", "-o", tmp_path / "out")
    assert called.code == 130
    assert "stopped; the same command continues from here" in called.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--students",), "--students: {model} has no students; leave it out"),
        (("--decoder", "lage"), "decoder 'lage': this model has no such decoder; "),
        (("--between", "{image}", "{image}", "--frames", 99), "--frames 99"),
    ],
)
def test_a_message_names_the_option_and_not_the_argument(
    refused, model: Path, tmp_path: Path, options: tuple[object, ...], message: str
):
    image = tmp_path / "a.png"
    write_image(image, np.zeros((16, 16, 3), np.uint8))
    given = [str(option).format(image=image) for option in options]
    found = refused("generate", model, *given, "-o", tmp_path / "out")
    assert found.startswith(message.format(model=model)), found
