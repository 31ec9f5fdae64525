"""One video measured while its frames pass: numbers a frame, features and the world's measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from longtake.drift.curves import feature_distances
from longtake.drift.descriptors import Describer, Descriptors
from longtake.drift.verdicts import Finding, Measures, judge, measure
from longtake.drift.worlds import READERS, WorldName, WorldTrack
from longtake.features.i3d import I3D
from longtake.features.treatment import Treatment
from longtake.progress import ProgressCallback
from longtake.video import VideoInfo, probe, stream_video

LEAST_WINDOW = 9
WORLD_WINDOWS = 128
"""At which a world's measures are taken, at most."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How videos are measured.

    Attributes:
        window: frames of a window.
        chunk: frames from border to border, where they are known; None looks for borders.
        world: whose measures are taken too.
        feature_windows: at how many windows features are computed, at most.
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
                f"chunk={self.chunk} must be at least 2 frames, or None to look for it"
            )

    def starts(self, frames: int, most: int) -> list[int]:
        """First frames of at most so many windows, from the first to the last."""
        whole = frames // self.window
        chosen = np.unique(np.linspace(0, whole - 1, min(most, whole)).round().astype(int))
        return [int(number) * self.window for number in chosen]


@dataclass(frozen=True, kw_only=True)
class VideoDrift:
    """What became of one video.

    Attributes:
        info: of the file.
        numbers: of each frame.
        measures: trends, freezes, loops, seams and cuts.
        findings: what is wrong, the gravest first.
        starts: first frames of the windows with features.
        features: of these windows; None without I3D's weights.
        distances: of these windows' features from the first's; empty without them.
        world: an embedded world's measures, where one was named.
    """

    info: VideoInfo
    numbers: Descriptors
    measures: Measures
    findings: tuple[Finding, ...]
    starts: tuple[int, ...]
    features: Float[Tensor, "k d"] | None
    distances: tuple[float, ...]
    world: WorldTrack | None

    def lines(self) -> list[str]:
        """One a finding; one that says so where there is none."""
        said = [finding.sentence for finding in self.findings]
        if self.world is not None:
            said += [f"{self.world.world}: {sentence}" for sentence in self.world.sentences]
        return said or ["stays what it is: no freeze, loop, seam, cut or drift found"]


def look(
    video: Path,
    plan: Plan,
    report: ProgressCallback,
    network: I3D | None,
    of_features: Sequence[int],
) -> VideoDrift:
    """Measure a video in the memory of one window, and of 0.9 kB a frame.

    Args:
        video: file, or folder of pictures.
        plan: how.
        report: called with frames done and in total.
        network: of features; None leaves them out.
        of_features: first frames of the windows that it sees.

    Raises:
        ValueError: it is shorter than two windows.
        VideoError: it cannot be read.
    """
    info = long_enough(video, plan)
    describer = Describer()
    reader = None if plan.world is None else READERS[plan.world]()
    of_world = plan.starts(info.frames, WORLD_WINDOWS)
    features, done = [], 0
    for frames in stream_video(video, plan.window):
        describer.add(frames)
        if network is not None and done in of_features and len(frames) == plan.window:
            features.append(described(network, frames))
        if reader is not None and done in of_world and len(frames) == plan.window:
            reader.add(done, frames)
        done += len(frames)
        report(done, info.frames)
    numbers = describer.done()
    measures = measure(numbers, plan.chunk)
    every = torch.cat(features) if features else None
    return VideoDrift(
        info=info,
        numbers=numbers,
        measures=measures,
        findings=judge(measures),
        starts=tuple(of_features),
        features=every,
        distances=() if every is None else feature_distances(every),
        world=None if reader is None else reader.done(),
    )


def long_enough(video: Path, plan: Plan) -> VideoInfo:
    """What the video is.

    Raises:
        ValueError: it is shorter than two windows.
        VideoError: it cannot be read.
    """
    info = probe(video)
    if info.frames < 2 * plan.window:
        raise ValueError(
            f"{video}: has {info.frames} frames, drift needs at least {2 * plan.window}, two "
            f"windows of {plan.window}; give a longer video or shorter windows"
        )
    return info


def described(network: I3D, frames: np.ndarray) -> Float[Tensor, "1 d"]:
    """Features of one window, as the protocol ``longtake`` treats clips."""
    device = network.logits.weight.device
    return network(Treatment()(torch.from_numpy(frames).to(device))[None]).float().cpu()
