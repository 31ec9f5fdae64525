"""Measures long videos and writes the drift report."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.checkpoint import CheckpointError, write_text
from longtake.data.index import videos_below
from longtake.drift.curves import Curve, feature_curve, too_few
from longtake.drift.reference import real_findings
from longtake.drift.report import DriftReport
from longtake.drift.video_drift import (
    DriftPlan,
    VideoDrift,
    check_length,
    measure_video,
    window_features,
)
from longtake.features.i3d import I3D, I3DConfig
from longtake.outputs import open_outputs
from longtake.progress import ProgressCallback, no_progress
from longtake.video import VideoError, read_clip
from longtake.video.archive import is_file, is_folder

NAME = "drift"
MISSING = "matplotlib, which draws the report, is not installed: pip install 'longtake[report]'"

REAL_CLIPS = 256  # most real videos whose features are computed


def write_report(
    video: Path,
    out: Path,
    plan: DriftPlan | None = None,
    *,
    device: torch.device | str = "cpu",
    real: Path | None = None,
    overwrite: bool = True,
    report: ProgressCallback = no_progress,
) -> DriftReport:
    """Measure one or more long videos; write ``drift.html``, ``drift.png`` and ``drift.json``.

    Args:
        video: a video file, a folder of one video's image files, or a folder of videos.
        out: folder to write to.
        plan: how videos are measured; None: ``DriftPlan()``.
        device: device on which features are computed.
        real: a real video, or a folder of them, of the same kind, measured at their own size and
            frame rate. Findings of a video are faults only if they are stronger than those of
            equally long stretches of the real videos (``Reference``); FVD and KVD of its windows
            are against the real videos. None: all findings are faults, and windows are compared
            with the videos' own first windows.
        overwrite: replace an existing report.
        report: called with the number of frames done and their total, video by video, then with the
            number of real videos done and their total.

    Raises:
        ValueError: a video is shorter than two windows, a folder has no videos, matplotlib is
            missing, or a report exists and ``overwrite`` is False.
        VideoError: a video cannot be read.
    """
    if find_spec("matplotlib") is None:
        raise ValueError(MISSING)
    plan = plan or DriftPlan()
    paths = [out / f"{NAME}.{suffix}" for suffix in ("html", "png", "json")]
    reals = None if real is None else str(real.resolve())
    request = {"video": str(video.resolve()), "real": reals, "plan": asdict(plan)}
    with open_outputs(out, NAME, request, [paths], overwrite=overwrite) as outputs:
        videos, curve, notes = _measured(video, plan, device, real, report)
        page, picture, numbers = paths
        made = DriftReport(
            videos=videos,
            plan=plan,
            curve=curve,
            notes=notes,
            page=page,
            picture=picture,
            numbers=numbers,
        )
        _write(made, outputs.folder(paths))
        outputs.put(paths)
    return made


def _measured(
    video: Path,
    plan: DriftPlan,
    device: torch.device | str,
    real: Path | None,
    report: ProgressCallback,
) -> tuple[tuple[VideoDrift, ...], Curve | None, tuple[str, ...]]:
    """Measures of the videos, their curve of FVD, and notes on what could not be measured."""
    files, reals = videos_under(video), [] if real is None else videos_under(real)
    shortest = min(check_length(file, plan).frames for file in files)
    network, notes = _network(plan, device)
    starts = plan.starts(shortest, plan.feature_windows) if network else []
    videos = tuple(measure_video(file, plan, report, network, starts) for file in files)
    if real is not None:
        videos, missing = _against(videos, reals, plan, report)
        notes = [*notes, *missing]
    curve, more = _curve(videos, real, plan, network)
    return videos, curve, (*notes, *more)


def _against(
    videos: tuple[VideoDrift, ...], real: Sequence[Path], plan: DriftPlan, report: ProgressCallback
) -> tuple[tuple[VideoDrift, ...], list[str]]:
    """The videos compared with real ones of their length, and notes where real ones are shorter."""
    references = {
        frames: real_findings(real, frames, plan.chunk, report)
        for frames in sorted({len(video.numbers) for video in videos})
    }
    notes = [
        f"findings are not compared with real videos: none has {frames} frames"
        for frames, reference in references.items()
        if reference is None
    ]
    found = ((video, references[len(video.numbers)]) for video in videos)
    return tuple(v if r is None else v.against(r) for v, r in found), notes


def _write(made: DriftReport, folder: Path) -> None:
    from longtake.drift.page import write_page
    from longtake.drift.picture import draw, write_picture

    write_text(folder / made.numbers.name, json.dumps(made.to_json(), indent=1) + "\n")
    figure = draw(made)
    write_picture(figure, folder / made.picture.name)
    write_page(made, figure, folder / made.page.name)


def videos_under(source: Path) -> list[Path]:
    """Return ``source`` itself if it is a video, or the videos in the folder ``source``, by name.

    Raises:
        VideoError: there is no such file or folder.
        ValueError: the folder has no videos.
    """
    if not is_folder(source) and not is_file(source):
        raise VideoError(
            f"{source}: no such file or folder; expected a video or a folder of videos"
        )
    if not is_folder(source):
        return [source]
    found = videos_below(source)
    if not found:
        raise ValueError(f"{source}: no video in it, neither files nor folders of image files")
    return found


def _network(plan: DriftPlan, device: torch.device | str) -> tuple[I3D | None, list[str]]:
    """I3D, or a note that says why it cannot be built; neither if the plan needs no features."""
    if plan.feature_windows < 1:
        return None, []
    try:
        return I3DConfig().build().to(device), []
    except CheckpointError as error:
        return None, [f"no features were computed: {error}"]


def _curve(
    videos: tuple[VideoDrift, ...], real: Path | None, plan: DriftPlan, network: I3D | None
) -> tuple[Curve | None, list[str]]:
    """FVD and KVD of the windows that all videos have, or a note that says why not."""
    if network is None or (len(videos) == 1 and real is None):
        return None, []
    references = None if real is None else _real_features(videos_under(real), plan, network)
    if problem := too_few(len(videos), None if references is None else len(references)):
        return None, [problem]
    rows = [video.features for video in videos if video.features is not None]
    return feature_curve(torch.stack(rows), videos[0].starts, references), []


def _real_features(files: list[Path], plan: DriftPlan, network: I3D) -> Float[Tensor, "m d"]:
    """Features of the first window of each of the real videos ``files``, at most 256 of them."""
    rows = []
    for file in files[:REAL_CLIPS]:
        check_length(file, plan)
        rows.append(window_features(network, read_clip(file, 0, plan.window)))
    return torch.cat(rows)
