"""Measures one video, frame by frame: descriptors, features, measures of a synthetic data set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from longtake.config import plural
from longtake.drift.curves import feature_distances
from longtake.drift.descriptors import Describer, Descriptors
from longtake.drift.findings import Finding, judge
from longtake.drift.measures import Measures, measure
from longtake.drift.reference import Reference
from longtake.drift.world_measures import READERS, WorldMeasures, WorldName
from longtake.features.i3d import I3D
from longtake.features.treatment import Treatment
from longtake.progress import ProgressCallback, no_progress
from longtake.video import VideoInfo, probe, stream_video

LEAST_WINDOW = 9  # fewest frames that I3D takes
WORLD_WINDOWS = 128  # most windows at which a data set's measures are taken


@dataclass(frozen=True, kw_only=True)
class DriftPlan:
    """Settings for measuring the drift of long videos.

    Attributes:
        window: number of frames of a window, at least 9.
        chunk: number of frames, at least 2, that each clip adds to the video; seams are measured at
            the borders between clips. None: search for evenly spaced borders.
        world: name of the synthetic data set, ``sky`` or ``marbles``, that the videos imitate, to
            measure what such videos show, such as time of day or marbles; None for other videos.
        feature_windows: greatest number of windows per video whose I3D features are computed; 0:
            none.

    Raises:
        ValueError: ``window`` or ``chunk`` is too small.
    """

    window: int = 16
    chunk: int | None = None
    world: WorldName | None = None
    feature_windows: int = 16

    def __post_init__(self) -> None:
        if self.window < LEAST_WINDOW:
            raise ValueError(
                f"window={self.window} must be at least {LEAST_WINDOW} frames, for I3D"
            )
        if self.chunk is not None and self.chunk < 2:
            raise ValueError(
                f"chunk={self.chunk} must be at least 2 frames, or None to search for it"
            )

    def starts(self, frames: int, most: int) -> list[int]:
        """First frame of each of at most ``most`` windows, spaced evenly over ``frames`` frames."""
        whole = frames // self.window
        chosen = np.unique(np.linspace(0, whole - 1, min(most, whole)).round().astype(int))
        return [int(number) * self.window for number in chosen]


@dataclass(frozen=True, kw_only=True)
class VideoDrift:
    """Measures and findings of one video.

    Attributes:
        info: size, length and frame rate.
        numbers: measures of each frame.
        measures: measures of the whole video.
        findings: faults, the most severe first; with a reference, those beyond its real videos.
        usual: findings that are not beyond those of the real videos; empty without a reference.
        reference: findings of real videos of the same length; None: there are no real videos, or
            they are shorter.
        starts: first frame of each window that has features.
        features: I3D features of these windows; None without I3D's weights.
        distances: distance of each window's features from those of the first, over the median
            distance between neighbouring windows; empty without features.
        world: how the video differs from what the synthetic data set that ``DriftPlan.world``
            names can show; None if that is None.
    """

    info: VideoInfo
    numbers: Descriptors
    measures: Measures
    findings: tuple[Finding, ...]
    usual: tuple[Finding, ...] = ()
    reference: Reference | None = None
    starts: tuple[int, ...]
    features: Float[Tensor, "k d"] | None
    distances: tuple[float, ...]
    world: WorldMeasures | None

    def lines(self) -> list[str]:
        """Sentences on findings, the synthetic data set, and the comparison with real videos.

        The last two are there if there is such a data set or ``reference``. Without any finding a
        sentence says so.
        """
        lines = [finding.sentence for finding in self.findings]
        if self.world is not None:
            lines += [f"{self.world.world}: {sentence}" for sentence in self.world.sentences]
        if self.reference is not None:
            return [*lines, *_compared(self.reference, lines, self.usual)]
        return lines or ["stays what it is: no freeze, loop, seam, cut or drift found"]

    def against(self, reference: Reference) -> "VideoDrift":
        """The same video, whose ``findings`` are only those beyond ``reference``'s real videos."""
        beyond = reference.beyond(self.findings)
        usual = tuple(finding for finding in self.findings if finding not in beyond)
        return replace(self, findings=beyond, usual=usual, reference=reference)

    @property
    def severity(self) -> float:
        """Severity of the most severe finding; 0 without findings."""
        return max((finding.severity for finding in self.findings), default=0.0)


def _compared(
    reference: Reference, lines: Sequence[str], usual: Sequence[Finding]
) -> Iterator[str]:
    """Sentences on the comparison with real videos, and on findings as strong as theirs.

    ``lines`` are the sentences on findings beyond the real videos, ``usual`` the other findings.
    """
    real = (
        f"{reference.videos} real videos (a real video has one in at most "
        f"{100 * reference.chance:.1f} % of cases)"
    )
    if not lines:
        yield f"stays what it is: no finding beyond those of {real}"
    else:
        yield f"findings are beyond those of {real}"
    for finding in usual:
        yield f"as in real videos: {finding.sentence}"


def measure_video(
    video: Path,
    plan: DriftPlan,
    report: ProgressCallback = no_progress,
    network: I3D | None = None,
    feature_starts: Sequence[int] = (),
) -> VideoDrift:
    """Measure one video, in the memory of one window and 1.8 kB per frame.

    Args:
        video: video file, or folder of image files.
        plan: how it is measured.
        report: called with the number of frames done and their total.
        network: I3D, to compute features; None: no features.
        feature_starts: first frame of each window whose features are computed, multiples of
            ``plan.window``; ``plan.starts(frames, plan.feature_windows)`` gives those of the plan.
            If empty, no features are computed.

    Raises:
        ValueError: the video is shorter than two windows, or a start begins no window.
        VideoError: the video cannot be read.
    """
    info = check_length(video, plan)
    if wrong := [start for start in feature_starts if start % plan.window]:
        raise ValueError(
            f"feature_starts={wrong[0]} is not the first frame of a window; expected a multiple of "
            f"{plan.window}"
        )
    describer = Describer()
    reader = None if plan.world is None else READERS[plan.world]()
    world_starts = plan.starts(info.frames, WORLD_WINDOWS)
    features, done = [], 0
    for frames in stream_video(video, plan.window):
        describer.add(frames)
        if network is not None and done in feature_starts and len(frames) == plan.window:
            features.append(window_features(network, frames))
        if reader is not None and done in world_starts and len(frames) == plan.window:
            reader.add(done, frames)
        done += len(frames)
        report(done, info.frames)
    numbers = describer.done()
    measures = measure(numbers, plan.chunk)
    rows = torch.cat(features) if features else None
    return VideoDrift(
        info=info,
        numbers=numbers,
        measures=measures,
        findings=judge(measures),
        starts=tuple(feature_starts),
        features=rows,
        distances=() if rows is None else feature_distances(rows),
        world=None if reader is None else reader.done(),
    )


def check_length(video: Path, plan: DriftPlan) -> VideoInfo:
    """Read a video's size, length and frame rate.

    Raises:
        ValueError: the video is shorter than two windows of ``plan``.
        VideoError: the video cannot be read.
    """
    info = probe(video)
    if info.frames < 2 * plan.window:
        raise ValueError(
            f"{video}: has {plural(info.frames, 'frame')}, drift needs at least "
            f"{2 * plan.window}, two windows of {plan.window}; give a longer video or shorter "
            "windows"
        )
    return info


def window_features(network: I3D, frames: np.ndarray) -> Float[Tensor, "1 d"]:
    """I3D features of a window of uint8 frames ``(T, H, W, 3)``.

    The frames are prepared as in the evaluation protocol ``longtake``.
    """
    device = network.logits.weight.device
    return network(Treatment()(torch.from_numpy(frames).to(device))[None]).float().cpu()
