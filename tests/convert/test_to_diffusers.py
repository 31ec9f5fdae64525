"""A folder that plain diffusers opens gives the samples of longtake."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from longtake.checkpoint import ExistsError
from longtake.convert.to_diffusers import convert_to_diffusers
from longtake.model import VideoModel, sampling_with

PAGE = Path(__file__).parents[2] / "docs" / "convert.md"
PLAIN = """
import sys
import numpy as np
import torch
from diffusers import DiffusionPipeline

folder, out = sys.argv[1:]
try:
    DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder)
except ValueError as error:
    assert "trust_remote_code=True" in str(error), error
options = {"label": "wind, left", "num_frames": 21, "num_inference_steps": 3}
seeds = [torch.Generator().manual_seed(seed) for seed in (3, 5)]
for choice in ({"custom_pipeline": folder}, {}):
    pipe = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True, **choice).to("cpu")
    frames = pipe(**options, generator=seeds, guidance_scale=2.0).frames
    np.save(f"{out}/{len(choice)}.npy", frames)
images = pipe(**options, generator=seeds[0], output_type="pil").frames
assert (len(images), len(images[0]), images[0][0].size) == (1, 21, (16, 16))
assert pipe(num_frames=4).frames.shape == (1, 4, 16, 16, 3)
"""


def code_of_the_page(folder: str) -> str:
    """The example of docs/convert.md, with another folder, label and length."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for text, ours in (
        ("models/sky-pipeline", folder),
        ("day, clear, left", "wind, left"),
        ("num_frames=64", "num_frames=4"),
    ):
        assert text in code
        code = code.replace(text, ours)
    return code


def test_plain_diffusers_samples_as_longtake_does(tiny_model: VideoModel, tmp_path: Path):
    tiny_model.save_pretrained(tmp_path / "model")
    convert_to_diffusers(tmp_path / "model", tmp_path / "pipe")
    program = PLAIN + code_of_the_page(str(tmp_path / "pipe")) + "assert len(frames) == 1"
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", program, str(tmp_path / "pipe"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    changes = ["sampler.steps=3", "guidance.kind=classifier_free", "guidance.scale=2"]
    video = tiny_model.long_video(sampling_with(tiny_model.index.sampling, changes))
    request = tiny_model.request([3, 5], "wind, left")
    parts = [part.pixels.movedim(1, -1).numpy() for part in video(request, 21)]
    expected = np.clip(np.concatenate(parts, 1)[:, :21] / 2 + 0.5, 0, 1)
    for name in ("0", "1"):
        frames = np.load(tmp_path / f"{name}.npy")
        assert frames.shape == (2, 21, 16, 16, 3)
        np.testing.assert_allclose(frames, expected, rtol=0, atol=1e-5)


def test_a_folder_that_exists_is_not_replaced_unasked(tiny_run_folder: Path, tmp_path: Path):
    with pytest.raises(ExistsError):
        convert_to_diffusers(tiny_run_folder, tmp_path)
