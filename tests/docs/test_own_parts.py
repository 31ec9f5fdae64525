"""What the pages say makes a class a part of longtake: a file, and a line in ``registry.py``."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from page_commands import ROOT, fenced

SOURCE = ROOT / "src" / "longtake"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of longtake, whose shipped weights are links."""
    copy = tmp_path / "own" / "longtake"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("models", "__pycache__"))
    (copy / "models").symlink_to(SOURCE / "models")
    return copy


def register(package: Path, union: str, module: str, name: str) -> None:
    """Add a config class to a union of ``registry.py``."""
    path = package / "registry.py"
    begins = rf"^({union} = Annotated\[\s*)"
    text = re.sub(begins, rf"\1{name} | ", path.read_text(), flags=re.MULTILINE)
    path.write_text(text.replace('"""\n\nfrom', f'"""\n\nfrom {module} import {name}\nfrom', 1))


def longtake(package: Path, folder: Path, *words: object) -> None:
    places = {**os.environ, "PYTHONPATH": str(package.parent)}
    command = [sys.executable, "-m", "longtake.cli", *map(str, words)]
    ran = subprocess.run(
        command, cwd=folder, env=places, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_an_autoencoder_in_the_registry_is_trained(package: Path, tmp_path: Path):
    code, _ = fenced("docs/add/autoencoder.md", "python")
    (package / "autoencoders" / "block.py").write_text(code)
    register(package, "AnyAutoencoder", "longtake.autoencoders.block", "BlockAutoencoderConfig")
    few = ("training.steps=1", "training.batch=1", "training.sample_every=0", "data.videos=2")
    fit = ("fit", "lvdm_demo_autoencoder", "autoencoder.kind=block_autoencoder")
    longtake(package, tmp_path, *fit, *few, "training.cooldown_steps=0", "-o", "run")
    text = (tmp_path / "run" / "model" / "autoencoder" / "config.json").read_text()
    assert "block_autoencoder" in text


def test_a_sampler_in_the_registry_makes_videos(
    package: Path, tmp_path: Path, tiny_run_folder: Path
):
    code = fenced("docs/add/sampler.md", "python")[0]
    (package / "diffusion" / "multistep.py").write_text(code)
    register(package, "AnySampler", "longtake.diffusion.multistep", "Multistep")
    asked = ("generate", tiny_run_folder, "sampler.kind=multistep", "--frames", 8)
    longtake(package, tmp_path, *asked, "-o", "a.mkv")
    assert (tmp_path / "a.mkv").exists()
