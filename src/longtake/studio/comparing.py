"""Compares the videos of two jobs, frame by frame, and each with itself over time."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from longtake.drift.descriptors import Describer
from longtake.metrics.pairs import pair_scores
from longtake.studio.places import FILES, JOBS
from longtake.studio.settings import CompareSettings
from longtake.studio.work import Work
from longtake.video import VideoError, VideoWriter, probe, stream_video

PROTOCOL = "paired frames: PSNR and SSIM between two videos, frame by frame; at most 512 frames"
TWO_SIZES = (
    "each video by itself, at most 512 frames; frames of two sizes have no PSNR or SSIM, and for "
    "the difference the pixels of the smaller ones are repeated"
)
MOST_FRAMES = 512
DIFFERENCE = "difference.mp4"


def run_compare(settings: CompareSettings, work: Work) -> dict[str, Any]:
    """Compare the videos of two jobs; write their difference as a video.

    Only the first frames count, as many as the shorter video has and at most 512. Returns JSON
    data: ``frames``, their number; ``between``, the ``pair_scores`` (PSNR of equal videos is None),
    empty for frames of two sizes; ``a`` and ``b``, job, file and median ``contrast``, ``sharpness``
    and ``motion`` of each; ``protocol``, what was measured.

    Raises:
        ValueError: a job has no video, or the frames differ in shape.
    """
    paths = [video_of(work.root, job) for job in (settings.a, settings.b)]
    a, b = map(_frames, paths)
    sizes = [x.shape[1:3] for x in (a, b)]
    if sizes[0][0] * sizes[1][1] != sizes[1][0] * sizes[0][1]:
        named = " and ".join(f"{height} x {width}" for height, width in sizes)
        raise ValueError(
            f"the videos have frames of {named} pixels; compare videos whose frames have one shape"
        )
    work.check()
    count = min(len(a), len(b))
    a, b = a[:count], b[:count]
    same = sizes[0] == sizes[1]
    scores = pair_scores(a, b, torch.device("cpu")) if same else {}
    shown = [enlarged(x, max(sizes)) for x in (a, b)]
    difference = np.abs(shown[0].astype(np.int16) - shown[1]).astype(np.uint8)
    with VideoWriter(work.files / DIFFERENCE, probe(paths[0]).fps, overwrite=True) as writer:
        writer.write(difference)
    return {
        "protocol": PROTOCOL if same else TWO_SIZES,
        "frames": count,
        "between": {k: _finite(v) for k, v in scores.items()},
        "a": {"job": settings.a, "file": paths[0].name, **_means(a)},
        "b": {"job": settings.b, "file": paths[1].name, **_means(b)},
    }


def enlarged(
    frames: UInt8[np.ndarray, "t h w 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "t h w 3"]:
    """Frames at a larger ``size``, (height, width), by repeated pixels."""
    rows, columns = (
        np.arange(n) * old // n for n, old in zip(size, frames.shape[1:3], strict=True)
    )
    return frames[:, rows[:, None], columns]


def video_of(root: Path, job: str) -> Path:
    """Path of the first video among the files of a job.

    ``root`` is the studio's folder, ``job`` the job's id.

    Raises:
        ValueError: the job has no video.
    """
    found = sorted((root / JOBS / job / FILES).glob("*.mp4"))
    if not found:
        raise ValueError(f"job {job} has no video; choose one that is done or stopped")
    return found[0]


def _frames(path: Path) -> UInt8[np.ndarray, "t h w 3"]:
    """The first 512 frames of a video, or all if it has fewer."""
    chunks: list[np.ndarray] = []
    for chunk in stream_video(path):
        chunks.append(chunk)
        if sum(map(len, chunks)) >= MOST_FRAMES:
            break
    if not chunks:
        raise VideoError(f"{path}: no frames")
    return np.concatenate(chunks)[:MOST_FRAMES]


def _means(frames: UInt8[np.ndarray, "t h w 3"]) -> dict[str, float]:
    """Median contrast, sharpness and motion over a video."""
    describer = Describer()
    describer.add(frames)
    series = describer.done().series()
    return {k: float(np.median(series[k])) for k in ("contrast", "sharpness", "motion")}


def _finite(value: float) -> float | None:
    """A number that JSON has; None for the infinite PSNR of equal videos."""
    return value if np.isfinite(value) else None
