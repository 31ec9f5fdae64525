"""Reconstructions, latents as pictures, comparisons."""

import io
import math
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studio.conftest import Page
from studio.test_uploads import film

from longtake.hub import shipped_models
from longtake.studio.comparing import enlarged, run_compare
from longtake.studio.inside import run_reconstruct
from longtake.studio.loaded import Loaded
from longtake.studio.settings import CompareSettings, ReconstructSettings
from longtake.studio.work import Work
from longtake.video import VideoWriter, open_video


@pytest.mark.parametrize(
    ("model", "pictures"),
    [
        ("volume", ["channel_0", "channel_1"]),
        ("planes", ["content", "motion_height", "motion_width"]),
    ],
)
def test_a_clip_is_reconstructed_and_its_latents_are_shown(
    page: Page, tmp_path: Path, model: str, pictures: list[str]
):
    upload = page.upload("film.mkv", film(tmp_path, 12, ".mkv"))["id"]
    settings = {"model": model, "upload": upload, "times": [0, 0.2, 1]}
    job = page.ended(page.submit("reconstruct", **settings))
    assert job["status"] == "done", job
    result, names = job["result"], [each["name"] for each in job["files"]]
    assert result["latents"] == pictures
    assert [each["time"] for each in result["noise"]] == [0, 0.2, 1]
    expected = ["original.mp4", "reconstruction.mp4", *(f"latents_{p}.png" for p in pictures)]
    expected += [row[k] for row in result["noise"] for k in ("noisy", "estimate")]
    assert sorted(names) == sorted(expected)
    assert len(page.frames(job["id"], "original.mp4")) == result["frames"]
    assert 0 < result["psnr"] < 60
    for name in names:
        if name.endswith(".png"):
            assert np.asarray(Image.open(io.BytesIO(page.file(job["id"], name)))).ndim == 3


def test_two_videos_are_compared(page: Page):
    a, b = (page.ended(page.submit("make", model="planes", frames=9, seed=s))["id"] for s in (1, 2))
    same = page.ended(page.submit("make", model="planes", frames=12, seed=1))["id"]
    different = page.ended(page.post("compare", {"a": a, "b": b}, 202)["id"])
    assert different["status"] == "done", different
    result = different["result"]
    assert result["frames"] == 9
    assert 0 < result["between"]["psnr"] < 40
    assert result["between"]["ssim"] < 1
    assert result["a"]["motion"] != result["b"]["motion"]
    assert len(page.frames(different["id"], "difference.mp4")) == 9
    equal = page.ended(page.post("compare", {"a": a, "b": same}, 202)["id"])["result"]["between"]
    assert equal["psnr"] is None or equal["psnr"] > 25  # the last clip is encoded otherwise
    assert math.isclose(equal["ssim"], 1, abs_tol=0.1)
    refused = page.ended(page.post("compare", {"a": a, "b": "b" * 12}, 202)["id"])
    assert "has no video" in refused["error"]


def test_videos_of_two_sizes_are_shown_by_larger_pixels_and_measured_each_by_itself(tmp_path: Path):
    rng, ids = np.random.default_rng(0), ("a" * 12, "b" * 12)
    for job, size in zip(ids, (16, 32), strict=True):
        folder = tmp_path / "jobs" / job / "files"
        folder.mkdir(parents=True)
        blocks = rng.integers(0, 200, (1, size // 8, size // 8, 1), np.uint8)
        grey = (blocks + np.arange(0, 54, 6, dtype=np.uint8)[:, None, None, None]).repeat(3, 3)
        with VideoWriter(folder / "video.mp4", 8) as writer:
            writer.write(grey.repeat(8, 1).repeat(8, 2))
    ours, theirs = Pipe()
    with ours, theirs:
        work = Work(id="x", root=tmp_path, connection=ours, loaded=Loaded())
        result = run_compare(CompareSettings(a=ids[0], b=ids[1]), work)
    a, b = (open_video(tmp_path / "jobs" / job / "files" / "video.mp4")[0] for job in ids)
    shown, _ = open_video(work.files / "difference.mp4")
    expected = np.abs(a.repeat(2, 1).repeat(2, 2).astype(int) - b)
    assert np.abs(shown.astype(int) - expected).mean() < 8  # H.264
    assert np.array_equal(enlarged(a, (32, 32)), a.repeat(2, 1).repeat(2, 2))
    assert (result["frames"], result["between"]) == (9, {})
    assert "frames of two sizes have no PSNR" in result["protocol"]
    assert result["a"]["motion"] > 0 < result["b"]["motion"]


@pytest.mark.parametrize("model", ["lvdm-sky", "text"])
def test_a_denoiser_of_longer_clips_or_of_text_shows_its_estimates(
    tmp_path: Path, tiny_text_folder: Path, model: str
):
    loaded, upload = Loaded(), "a" * 12
    folders = {**shipped_models(), "text": tiny_text_folder}
    loaded.places = {name: str(folder) for name, folder in folders.items()}
    folder = tmp_path / "uploads" / upload
    folder.mkdir(parents=True)
    with VideoWriter(folder / "given.mkv", 8) as writer:
        writer.write(np.random.default_rng(0).integers(0, 255, (6, 64, 64, 3), np.uint8))
    ours, theirs = Pipe()
    with ours, theirs:
        work = Work(id="x", root=tmp_path, connection=ours, loaded=loaded)
        settings = ReconstructSettings(model=model, upload=upload, times=(0.5,))
        result = run_reconstruct(settings, work)
    assert [each["time"] for each in result["noise"]] == [0.5]
