"""The commands do what their help says."""

import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from longtake import __version__
from longtake.cli import fail
from longtake.cli.arguments import on_command_line
from longtake.cli.show import EXTRAS
from longtake.video import VideoWriter, probe, write_image

SMALL = ("plan.height=16", "plan.width=16", "plan.frames=4", "videos=4")

HELP = """
import sys
sys.argv = ["longtake", "--help"]
from longtake.cli import main
try:
    main()
finally:
    print("torch" in sys.modules, "numpy" in sys.modules)
"""


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    *shown, last = done.stdout.splitlines()
    assert last.split() == ["False", "False"]
    for command in ("fit", "generate", "reconstruct", "convert", "inspect", "data", "doctor"):
        assert any(line.strip().startswith(command) for line in shown), command


GARBAGE = """
import gc, sys
usual, callbacks = gc.get_threshold(), [*gc.callbacks]
sys.argv = ["longtake", "--version"]
from longtake.cli import IMPORTED_OBJECTS, main
try:
    main()
except SystemExit:
    later = gc.get_threshold()
made = [[] for _ in range(IMPORTED_OBJECTS)]
print(usual == later, usual == gc.get_threshold(), callbacks == gc.callbacks, gc.isenabled())
"""


def test_garbage_is_collected_as_usual_after_the_imports():
    done = subprocess.run([sys.executable, "-c", GARBAGE], capture_output=True, text=True)
    assert done.stdout.split()[-4:] == ["False", "True", "True", "True"], done


def test_the_version_is_printed(longtake):
    called = longtake("--version")
    assert (called.code, called.out) == (0, f"longtake {__version__}\n")


def test_errors_name_options_instead_of_arguments(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        fail("a.mp4 exists; choose another path\nor set overwrite=True")
    assert capsys.readouterr().err == (
        "longtake: a.mp4 exists; choose another path or pass --overwrite\n"
    )


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "size=50 must be a multiple of 16 for lvdm",
            "--size 50 must be a multiple of 16 for lvdm",
        ),
        ("size=8192 must be at most 4096 for lvdm", "--size 8192 must be at most 4096 for lvdm"),
        ("denoisers=2 must be 1 for pvdm", "--denoisers 2 must be 1 for pvdm"),
        (
            "init_from=a has a volume autoencoder of clips of 8",
            "--from a has a volume autoencoder of clips of 8",
        ),
    ],
)
def test_errors_of_train_name_its_options(message: str, shown: str):
    assert on_command_line(message) == shown


@pytest.mark.parametrize(
    "command", ["fit", "generate", "reconstruct", "inspect", "doctor", "data sheet", "convert lvdm"]
)
def test_every_command_has_a_help(longtake, command: str):
    called = longtake(*command.split(), "--help")
    assert called.code == 0
    assert f"longtake {command}" in called.out


def test_inspect_without_a_name_lists_models_and_presets(longtake):
    called = longtake("inspect")
    assert called.code == 0
    assert "presets:" in called.out
    assert "lvdm_sky_short" in called.out


def test_inspect_shows_a_preset_resolved(longtake):
    called = longtake("inspect", "lvdm_sky_autoencoder")
    assert "kind: autoencoder" in called.out
    assert "save_every: 1000" in called.out


def test_inspect_shows_a_models_networks_and_settings(longtake, tiny_run_folder: Path):
    called = longtake("inspect", tiny_run_folder)
    assert called.code == 0, called.err
    for part in ("autoencoder: volume_autoencoder", "denoiser: volume_unet", "interpolator:"):
        assert part in called.out
    assert "class 1: wind, left" in called.out
    assert "kind: hierarchical" in called.out


def test_doctor_names_versions_codecs_and_extras(longtake):
    called = longtake("doctor")
    assert called.code == 0
    for word in ("longtake", "torch", "libx264", "ffv1", "I3D weights", "[report]"):
        assert word in called.out


@pytest.mark.skipif(torch.cuda.is_available(), reason="doctor names the GPU instead")
def test_doctor_says_how_videos_are_made_faster(longtake, monkeypatch: pytest.MonkeyPatch):
    def backend() -> str:
        lines = longtake("doctor").out.splitlines()
        return next(line for line in lines if line.startswith("backend "))

    if importlib.util.find_spec("openvino"):
        assert "--backend openvino" in backend()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'longtake[fast]'" in backend()


def test_doctor_knows_every_extra():
    project = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS) == set(extras) - {"dev", "agreement"}


def test_a_source_is_reported(longtake):
    called = longtake("data", "index", "sky", *SMALL)
    assert called.code == 0, called.err
    assert called.out.startswith(
        "sky: 4 videos, 0.14 hours\n"
        "frames/s: 8 (4 videos); 8 in a clip\n"
        "height x width: 16x16 (4 videos); 16x16 in a clip\n"
        "clips: 4 of 4 frames in a latent cache by default\n"
        "class 0: "
    )


def test_a_sound_source_passes_its_check(longtake):
    called = longtake("data", "check", "sky", *SMALL)
    assert (called.code, called.out) == (0, "")
    assert "sky: 4 videos, 0 rejected" in called.err


def test_a_check_reads_every_frame_and_names_what_is_passed_over(longtake, tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "a.mkv", 10) as writer:
        writer.write(pixels)
    for name in ("cut", "small"):
        (tmp_path / name).mkdir()
        for number in range(30):
            write_image(tmp_path / name / f"{number}.png", pixels[number])
    cut, small = tmp_path / "cut" / "29.png", tmp_path / "small" / "17.png"
    cut.write_bytes(cut.read_bytes()[:1000])
    write_image(small, pixels[0, :32], overwrite=True)
    write_image(tmp_path / "cut" / "cover.png", pixels[0])
    called = longtake("data", "check", tmp_path, "plan.frames=2")
    assert called.code == 1
    assert f"{tmp_path}: 3 videos, 2 rejected, 1 file passed over" in called.err
    assert [line.split(": ")[0] for line in called.out.splitlines()] == [
        *(str(tmp_path / name) for name in ("cut/cover.png", "cut/29.png", "small/17.png"))
    ]
    called = longtake("data", "index", tmp_path, "plan.frames=2")
    first, rates = called.out.splitlines()[:2]
    assert first == f"{tmp_path}: 3 videos, 6.4 seconds"
    assert rates.startswith("frames/s: 25 (2 videos), 10 (1 video); ")
    assert "passed over: 1, such as" in called.out
    assert "clips: 97 of 2 frames" in called.out
    assert "cuts: not searched for; longtake data prepare finds them" in called.out


def test_the_scenes_of_prepared_footage_are_counted(longtake, tmp_path: Path):
    (tmp_path / "footage").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "footage" / "a.mkv", 10) as writer:
        writer.write(np.broadcast_to(pixels, (20, 64, 64, 3)))
    prepared = tmp_path / "prepared"
    called = longtake("data", "prepare", tmp_path / "footage", "-o", prepared, "--processes", 1)
    assert called.code == 0, called.err
    called = longtake("data", "index", prepared)
    assert "\ncuts: 1 scene of 1 video\n" in called.out


def test_a_sheet_has_a_row_a_video(longtake, tmp_path: Path):
    place = tmp_path / "sheet.png"
    called = longtake("data", "sheet", "sky", *SMALL, "-o", place, "--columns", 3)
    assert called.code == 0, called.err
    names = [line.split(":")[0] for line in called.out.splitlines()[:-1]]
    assert names == [f"sky/train/{number}" for number in range(4)]
    with Image.open(place) as picture:
        assert picture.width >= 3 * 16
        assert picture.height >= 4 * 16


def test_videos_are_generated_a_file_a_seed(longtake, tiny_run_folder: Path, tmp_path: Path):
    out = tmp_path / "videos"
    asked = ("--frames", 10, "--seed", "0..2", "--batch", 2, "-o", out, "--format", "mkv")
    called = longtake("generate", tiny_run_folder, *asked, "--sheet", "--steps", 1)
    assert called.code == 0, called.err
    names = [f"seed_000{seed}" for seed in range(3)]
    found = sorted(path.name for path in out.iterdir())
    assert found == sorted([f"{n}.mkv" for n in names] + [f"{n}_sheet.png" for n in names])
    assert probe(out / "seed_0001.mkv").frames == 10
    assert all(f"{name}.mkv: 10 frames" in called.out for name in names)


def test_a_label_may_be_words_of_a_class(longtake, tiny_run_folder: Path, tmp_path: Path):
    asked = ("generate", tiny_run_folder, "--frames", 4, "--steps", 1)
    paths = [tmp_path / f"{number}.mkv" for number in range(2)]
    for path, label in zip(paths, ("left", "1"), strict=True):
        called = longtake(*asked, "-o", path, "--label", label)
        assert called.out.rstrip().endswith(": wind, left"), called.err
    assert paths[0].read_bytes()[-400:] == paths[1].read_bytes()[-400:]


def test_settings_of_sampling_can_be_changed(longtake, tiny_run_folder: Path, tmp_path: Path):
    asked = ("generate", tiny_run_folder, "--frames", 4, "-o", tmp_path / "a.mp4")
    called = longtake(
        *asked, "sampler.steps=1", "rollout.kind=autoregressive", "guidance.kind=classifier_free"
    )
    assert called.code == 0, called.err


def test_a_video_is_reconstructed_beside_itself(longtake, tiny_run_folder: Path, tmp_path: Path):
    video = tmp_path / "a.mkv"
    longtake("generate", tiny_run_folder, "--frames", 11, "--steps", 1, "-o", video)
    called = longtake("reconstruct", tiny_run_folder, video, "-o", tmp_path / "out")
    assert called.code == 0, called.err
    assert "a.mp4: 11 frames, PSNR" in called.out
    info = probe(tmp_path / "out" / "a.mp4")
    assert (info.frames, info.height, info.width) == (11, 16, 32)


def test_a_damaged_video_of_a_folder_costs_only_itself(
    longtake, tiny_run_folder: Path, tmp_path: Path
):
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    for name, width in (("a", 16), ("c", 18), ("d", 16)):
        with VideoWriter(films / f"{name}.mkv", 8.0) as writer:
            writer.write(np.zeros((9, 16, width, 3), np.uint8))
    whole = (films / "d.mkv").read_bytes()
    (films / "b.mkv").write_bytes(whole[:60])
    command = ("reconstruct", tiny_run_folder, films, "-o", out)
    called = longtake(*command)
    assert called.code == 1
    assert called.err.strip().endswith(f"{films}: 2 of 4 videos were not reconstructed")
    broken, unfit = called.out.splitlines()[-2:]
    assert broken.startswith(f"{films / 'b.mkv'}: ")
    assert unfit.startswith(f"{films / 'c.mkv'}: width 18 is not divisible by 4")
    assert {path.name for path in out.glob("*.mp4")} == {"a.mp4", "d.mp4"}
    before = (out / "a.mp4").stat().st_mtime_ns

    (films / "b.mkv").write_bytes(whole)
    (films / "c.mkv").unlink()
    called = longtake(*command)
    assert called.code == 0, called.err
    assert "b.mp4: 9 frames" in called.out
    assert (out / "a.mp4").stat().st_mtime_ns == before
    assert sorted(path.name for path in out.iterdir()) == ["a.mp4", "b.mp4", "d.mp4"]


def test_models_of_one_autoencoder_are_joined(
    longtake, tiny_run_folder: Path, tiny_autoencoder_folder: Path, tmp_path: Path
):
    out = tmp_path / "joined"
    called = longtake(
        "convert", "join", tiny_autoencoder_folder, tiny_run_folder, "-o", out, "--half"
    )
    assert called.code == 0, called.err
    shown = longtake("inspect", out).out
    assert "F16" in shown
    assert "interpolator: volume_unet" in shown


def test_a_fault_of_a_video_is_printed_once(longtake, tmp_path: Path):
    with VideoWriter(tmp_path / "a.mkv", 8.0) as writer:
        writer.write(np.zeros((16, 16, 16, 3), np.uint8))
    (tmp_path / "b.mp4").write_bytes(b"no video")
    called = longtake("data", "check", tmp_path)
    assert (called.out.count("b.mp4: "), called.err.count("b.mp4")) == (1, 0), called


def test_a_folder_is_checked_in_a_sandbox(longtake, tmp_path: Path):
    with VideoWriter(tmp_path / "a.mkv", 8.0) as writer:
        writer.write(np.zeros((3, 16, 16, 3), np.uint8))
    (tmp_path / "b.mp4").write_bytes(b"no video")
    called = longtake("data", "check", tmp_path, "--sandbox", "--damaged", "keep")
    assert called.code == 1
    assert "b.mp4: not a video" in called.out
    assert called.err.endswith("2 videos, 1 rejected, 0 damaged\n")


def test_to_keep_concealed_damage_needs_a_sandbox(longtake, tmp_path: Path):
    for command in (("prepare", tmp_path, "-o", tmp_path / "data"), ("check", tmp_path)):
        called = longtake("data", *command, "--damaged", "keep")
        assert called.code == 2
        assert "--damaged keep needs --sandbox" in called.err


def test_threads_wait_briefly_unless_the_user_has_said_how(
    longtake, monkeypatch: pytest.MonkeyPatch
):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    longtake("--version")
    assert os.environ.pop("GOMP_SPINCOUNT") == "10000"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    longtake("--version")
    assert "GOMP_SPINCOUNT" not in os.environ


def test_footage_without_a_scene_to_prepare_is_refused(longtake, tmp_path: Path):
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    called = longtake("data", "prepare", tmp_path / "broken.mp4", "-o", tmp_path / "data")
    assert called.code == 2
    assert "no scene was written; expected a readable video with a scene of 16" in called.err


def test_a_missing_start_image_is_named(longtake, tmp_path: Path):
    called = longtake("generate", "lvdm-sky", "--start-image", tmp_path / "a.png")
    assert called.code == 2
    assert called.err == f"longtake: {tmp_path}/a.png: no such file\n"
