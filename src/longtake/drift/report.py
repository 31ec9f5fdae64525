"""The report on one long video or on a folder of them."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.checkpoint import CheckpointError, write_text
from longtake.data.index import videos_below
from longtake.drift.curves import Curve, feature_curve, too_few
from longtake.drift.video_drift import Plan, VideoDrift, described, long_enough, look
from longtake.drift.worlds import WorldName
from longtake.features.i3d import I3D, I3DConfig
from longtake.progress import ProgressCallback, no_progress
from longtake.training.log import environment
from longtake.video import read_clip

NAME = "drift"
WORST = 8
MISSING = "the report is drawn by matplotlib: pip install 'longtake[report]'"
REAL_CLIPS = 256


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """What was measured, and where it is written.

    Attributes:
        videos: each on its own, in order of their names.
        plan: how they were measured.
        curve: FVD and KVD of windows against time, over all videos; None for too few, or without
            I3D's weights.
        notes: what could not be measured, and why.
        page: the report as one HTML file.
        picture: as one PNG.
        numbers: as JSON.
    """

    videos: tuple[VideoDrift, ...]
    plan: Plan
    curve: Curve | None
    notes: tuple[str, ...]
    page: Path
    picture: Path
    numbers: Path

    def lines(self) -> list[str]:
        """The findings, what could not be measured, and where the report is."""
        said = self.videos[0].lines() if len(self.videos) == 1 else list(self._of_many())
        return [*said, *self._of_features(), *self.notes, f"report: {self.page}"]

    def _of_many(self) -> Iterator[str]:
        kinds = Counter(kind for v in self.videos for kind in {f.kind for f in v.findings})
        clean = sum(not video.findings for video in self.videos)
        yield f"{clean} of {len(self.videos)} videos stay what they are" + "".join(
            f", {count} with {kind}" for kind, count in kinds.most_common()
        )
        for video in ranked(self.videos)[:WORST]:
            if video.findings or (video.world and video.world.sentences):
                yield f"{video.info.path.name}: {'; '.join(video.lines())}"

    def _of_features(self) -> Iterator[str]:
        if self.curve is not None:
            first, last = self.curve.points[0], self.curve.points[-1]
            against = "real clips" if self.curve.against == "real" else "first windows"
            yield (
                f"FVD of windows against {against}: {first.fvd.value:.0f} at frame "
                f"{first.start}, {last.fvd.value:.0f} at frame {last.start} "
                f"(95 % {last.fvd.low:.0f} to {last.fvd.high:.0f}); "
                f"KVD {first.kvd.value:.2f}, then {last.kvd.value:.2f}"
            )
        elif len(self.videos) == 1 and self.videos[0].distances:
            far = self.videos[0].distances
            yield (
                f"features: the last window is {far[-1]:.2f} steps from the first (a step: the "
                "median between neighbours); one video has no FVD"
            )


def write_report(  # noqa: PLR0913
    video: Path,
    out: Path,
    *,
    window: int = 16,
    device: torch.device | str = "cpu",
    chunk: int | None = None,
    world: WorldName | None = None,
    real: Path | None = None,
    feature_windows: int = 16,
    overwrite: bool = True,
    report: ProgressCallback = no_progress,
) -> DriftReport:
    """Measure a long video, or all below a folder, and write ``drift.html``, ``.png``, ``.json``.

    Args:
        video: a file, a folder of pictures that are one, or a folder of files.
        out: folder to write to.
        window: frames of a window; at least 9.
        device: where features are computed.
        chunk: frames from one joint of the rollout to the next; None looks for joints.
        world: ``sky`` or ``marbles``, to take the embedded world's own measures too.
        real: folder of real videos that windows are held against; the videos' own first windows
            where None.
        feature_windows: windows a video that I3D sees, at most; 0 leaves features out.
        overwrite: replace a report that stands there.
        report: called with frames done and in total, for each video.

    Raises:
        ValueError: a video shorter than two windows, a folder without videos, no matplotlib, or a
            report that stands there and shall stay.
        VideoError: a video cannot be read.
    """
    if find_spec("matplotlib") is None:
        raise ValueError(MISSING)
    page = out / f"{NAME}.html"
    if page.exists() and not overwrite:
        raise ValueError(f"{page} exists; choose another place or pass --overwrite")
    from longtake.drift.page import write_page
    from longtake.drift.picture import draw, write_picture

    plan = Plan(window=window, chunk=chunk, world=world, feature_windows=feature_windows)
    files = videos_under(video)
    shortest = min(long_enough(file, plan).frames for file in files)
    network, notes = _network(plan, device)
    shown = plan.starts(shortest, feature_windows) if network else []
    videos = tuple(look(file, plan, report, network, shown) for file in files)
    curve, more = _curve(videos, real, plan, network)
    out.mkdir(parents=True, exist_ok=True)
    made = DriftReport(
        videos=videos,
        plan=plan,
        curve=curve,
        notes=(*notes, *more),
        page=page,
        picture=out / f"{NAME}.png",
        numbers=out / f"{NAME}.json",
    )
    write_text(made.numbers, json.dumps(to_numbers(made), indent=1) + "\n")
    figure = draw(made)
    write_picture(figure, made.picture)
    write_page(made, figure, made.page)
    return made


def videos_under(source: Path) -> list[Path]:
    """The video, or the videos in a folder, by name.

    Raises:
        ValueError: there is none.
    """
    if not source.is_dir():
        return [source]
    found = videos_below(source)
    if not found:
        raise ValueError(f"{source}: no video in it, neither files nor folders of pictures")
    return found


def ranked(videos: tuple[VideoDrift, ...]) -> list[VideoDrift]:
    """The worst first."""
    return sorted(videos, key=lambda v: -max((f.gravity for f in v.findings), default=0.0))


def to_numbers(made: DriftReport) -> dict[str, Any]:
    """All that was measured, as JSON takes it; frames by window, not one by one."""
    return {
        "plan": asdict(made.plan),
        "notes": list(made.notes),
        "curve": None if made.curve is None else asdict(made.curve),
        "videos": [_numbers(video, made.plan.window) for video in made.videos],
        "environment": environment(),
    }


def _numbers(video: VideoDrift, window: int) -> dict[str, Any]:
    numbers = video.numbers
    series = {
        "red": numbers.colour[:, 0],
        "green": numbers.colour[:, 1],
        "blue": numbers.colour[:, 2],
        "contrast": numbers.contrast,
        "sharpness": numbers.sharpness,
        "motion": numbers.motion,
    }
    starts = range(0, len(numbers) - window + 1, window)
    means = {
        name: [round(float(values[start : start + window].mean()), 5) for start in starts]
        for name, values in series.items()
    }
    return {
        "path": str(video.info.path),
        "frames": video.info.frames,
        "findings": [asdict(finding) for finding in video.findings],
        "measures": asdict(video.measures),
        "windows": {"start": list(starts)} | means,
        "features": {"start": video.starts, "distance": video.distances},
        "world": None if video.world is None else asdict(video.world),
    }


def _network(plan: Plan, device: torch.device | str) -> tuple[I3D | None, list[str]]:
    """I3D, or a note that says why there is none: all else needs no weights."""
    if plan.feature_windows < 1:
        return None, []
    try:
        return I3DConfig().build().to(device), []
    except CheckpointError as error:
        return None, [f"no features were computed: {error}"]


def _curve(
    videos: tuple[VideoDrift, ...], real: Path | None, plan: Plan, network: I3D | None
) -> tuple[Curve | None, list[str]]:
    """FVD and KVD over the windows that all videos have."""
    if network is None:
        return None, []
    against = None if real is None else _clips(videos_under(real), plan, network)
    if len(videos) == 1 and real is None:
        return None, []
    if (lack := too_few(len(videos), None if against is None else len(against))) is not None:
        return None, [lack]
    rows = [video.features for video in videos if video.features is not None]
    return feature_curve(torch.stack(rows), videos[0].starts, against), []


def _clips(files: list[Path], plan: Plan, network: I3D) -> Float[Tensor, "m d"]:
    """Features of the first window of each real video, at most 256 of them."""
    rows = []
    for file in files[:REAL_CLIPS]:
        long_enough(file, plan)
        rows.append(described(network, read_clip(file, 0, plan.window)))
    return torch.cat(rows)
