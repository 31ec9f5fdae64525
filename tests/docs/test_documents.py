"""Every ``bash`` and ``python`` block of the documents runs, with networks made small.

Commands of other blocks and of sentences are those of ``test_commands_of_pages.py``.
"""

import re
import shlex
from pathlib import Path

import pytest
from page_commands import PAGES, ROOT, WHOLE, fenced
from typer.testing import CliRunner

from longtake.cli import app

ADD = sorted((ROOT / "docs" / "add").glob("*.md"))
ELSEWHERE = (
    "docs/serve.md",
    "docs/convert.md",
)  # tests of the studio and of diffusers run their Python
PYTHON = [page for page in PAGES if fenced(page, "python") and page not in ELSEWHERE]

TRAINING = "training.steps=2 training.batch=2 training.cooldown_steps=0 training.sample_every=2"
STAGES = (
    "autoencoder.training.steps=2 autoencoder.training.batch=2 autoencoder.num_previews=1 "
    "autoencoder.loss.perceptual=null results.frames=16 results.clips=4 results.videos=1 "
)
DENOISER = (
    "{0}.training.steps=2 {0}.training.batch=2 {0}.num_previews=1 {0}.preview_frames=4 "
    "{0}.denoiser.model_channels=16 {0}.sampling.sampler.steps=1 "
)
SMALLER = {
    "train footage -o mymodel": f"--size 16 {STAGES} autoencoder_whole.training.steps=2 "
    "autoencoder_whole.loss.perceptual=null autoencoder_whole.num_previews=1 "
    + DENOISER.format("prediction")
    + DENOISER.format("interpolation"),
    "train footage -o myplanes": f"--size 16 {STAGES} {DENOISER.format('denoiser')}",
    "fit lvdm_laptop_autoencoder": f"{TRAINING} num_previews=1 loss.perceptual=null",
    "fit lvdm_laptop_pred": f"{TRAINING} denoiser.model_channels=16 "
    "num_previews=1 preview_frames=4 sampling.sampler.steps=1",
    "fit lvdm_laptop_interp": f"{TRAINING} denoiser.model_channels=16 "
    "num_previews=1 preview_frames=4 sampling.sampler.steps=1",
    "fit lvdm_laptop_short": f"{TRAINING} denoiser.model_channels=16 "
    "num_previews=1 preview_frames=4 sampling.sampler.steps=1",
    "fit pvdm_laptop_autoencoder": f"{TRAINING} num_previews=1 loss.perceptual=null",
    "fit pvdm_laptop ": f"{TRAINING} denoiser.model_channels=16 num_previews=1 preview_frames=16 "
    "sampling.sampler.steps=1",
    "generate": "sampler.steps=2",
    "evaluate lvdm-sky": "sampler.steps=1 frames=4 --n 4",
    "evaluate footage": "sampler.steps=1 frames=4 clips_per_video=2 --n 4",
    "drift out": "--window 9",
    "evaluate sky:": "frames=4 treatment.size=32 --n 4",
    "reproduce lvdm --tiny": "--rows sky",
    "data export": "--videos 2 --frames 96",
    "data prepare": "--processes 1",
}
LENGTHS = re.compile(r"--frames \d+")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def commands(page: str) -> list[str]:
    return "".join(fenced(page, "bash")).strip().splitlines()


def run(command: str) -> None:
    words = shlex.split(command)
    assert words[0] == "longtake", command
    if words[1] == "generate":
        command = LENGTHS.sub("--frames 20", command)
    for start, smaller in SMALLER.items():
        if command.startswith(f"longtake {start}"):
            command += f" {smaller}"
    result = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
    assert result.exit_code == 0, f"{command}\n{result.output}"


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which every command of the tutorial has run."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        for command in commands("docs/tutorial.md"):
            run(command)
    return folder


def test_the_tutorial_goes_from_footage_to_a_long_video(tutorial: Path):
    assert len(list((tutorial / "out").glob("seed_*.mp4"))) == 3
    assert len(list((tutorial / "long").glob("seed_*.mp4"))) == 2


def test_every_command_of_the_readme_runs(tutorial: Path, tmp_path, monkeypatch):
    """It trains as the tutorial does, word for word, so that training is there already."""
    monkeypatch.chdir(tmp_path)
    for name in ("footage", "mymodel"):
        (tmp_path / name).symlink_to(tutorial / name)
    (training,) = (each for each in commands("README.md") if " train " in each)
    assert training in commands("docs/tutorial.md")
    for command in commands("README.md"):
        run(command)


@pytest.mark.parametrize(
    "page", [page for page in WHOLE if "tutorial" not in page and "README" not in page]
)
def test_every_command_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert commands(page)
    for command in commands(page):
        run(command)


@pytest.mark.parametrize("page", PYTHON)
def test_python_of_the_documents_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(fenced(page, "python")), page, "exec"), {"__name__": "document"})


def test_every_kind_of_extension_has_a_page():
    kinds = {"sampler", "autoencoder", "denoiser", "signal", "source", "metric", "method"}
    assert {path.stem for path in ADD} >= kinds
    nav = (ROOT / "mkdocs.yml").read_text()
    assert all(f"add/{path.name}" in nav for path in ADD)
