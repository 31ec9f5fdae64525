"""Findings of real videos, with which those of a video are compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import get_args

from longtake.drift.descriptors import Describer, Descriptors
from longtake.drift.findings import Finding, Kind, judge
from longtake.drift.measures import measure
from longtake.progress import ProgressCallback, no_progress
from longtake.video import stream_video

STRETCHES = 256  # most stretches of real videos that are measured
FILES = 49  # fewest files each of which counts as one video: their bound is 1 / 50
BATCH = 16  # frames that are decoded at once


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Strengths of the findings of real videos, with which those of other videos are compared.

    Real videos have findings, too: people who cross the picture change its colours.

    A video's finding is *beyond* the real videos if it is more than ``margin`` times as strong as
    the strongest finding of its kind among them. Here ``margin`` is the largest factor by which
    a real video surpasses all other real videos in this way. So, if a video is of the same
    distribution as n real videos, independently drawn, it has a finding beyond them with a
    probability of at most 1 / (n + 1): it would be the one of n + 1 videos that surpasses the
    others most (full conformal prediction; Vovk et al., Algorithmic Learning in a Random World,
    2005, section 2.2).

    Attributes:
        videos: number of real videos.
        frames: number of frames of each; a video that is compared has as many.
        strengths: strength of the strongest finding of each kind among the real videos; 1, the
            smallest that is reported, where no real video has one.
        margin: factor, at least 1.
    """

    videos: int
    frames: int
    strengths: Mapping[Kind, float]
    margin: float

    @classmethod
    def of(cls, frames: int, videos: Sequence[Sequence[Finding]]) -> "Reference":
        """Summarise the findings of each of the real videos, which all have ``frames`` frames."""
        of_videos = [_strengths(findings) for findings in videos]
        ranked = {
            kind: sorted([1.0, 1.0, *(found.get(kind, 1.0) for found in of_videos)], reverse=True)
            for kind in get_args(Kind)
        }
        return cls(
            videos=len(videos),
            frames=frames,
            strengths={kind: strengths[0] for kind, strengths in ranked.items()},
            margin=max(first / second for first, second, *_ in ranked.values()),
        )

    @property
    def chance(self) -> float:
        """Bound on the probability that ``beyond`` returns a finding of one more real video."""
        return 1 / (self.videos + 1)

    def beyond(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """The findings that are beyond those of the real videos, in the same order."""
        return tuple(f for f in findings if f.strength > self.margin * self.strengths[f.kind])


def _strengths(findings: Sequence[Finding]) -> dict[Kind, float]:
    """Strength of a video's strongest finding of each kind."""
    found: dict[Kind, float] = {}
    for finding in findings:
        found[finding.kind] = max(finding.strength, found.get(finding.kind, 1.0))
    return found


def real_findings(
    files: Sequence[Path],
    frames: int,
    chunk: int | None = None,
    report: ProgressCallback = no_progress,
) -> Reference | None:
    """Measure real videos, each cut into stretches of ``frames`` frames.

    Of n files, the first 256 / n stretches of each are measured, at least one. Stretches of one
    file are alike, not independent: from 49 files on they count together as one video. With fewer
    files each stretch counts as one, and ``Reference.chance`` is that of a stretch of these files.

    Args:
        files: real videos.
        frames: number of frames of a stretch, that of the videos to compare.
        chunk: number of frames between borders at which seams are measured, as in the videos to
            compare; None: borders are searched for.
        report: called with the number of files done and their total.

    Returns:
        the strength of their findings; None if each video has fewer than ``frames`` frames.

    Raises:
        VideoError: a video cannot be read.
    """
    most = max(1, STRETCHES // len(files))
    found: list[list[Sequence[Finding]]] = []
    for done, file in enumerate(files, 1):
        stretches = zip(range(most), _stretches(file, frames), strict=False)
        found.append([judge(measure(numbers, chunk)) for _, numbers in stretches])
        report(done, len(files))
    found = [stretches for stretches in found if stretches]
    if len(found) >= FILES:
        found = [[list(chain(*stretches))] for stretches in found]
    videos = list(chain(*found))
    return Reference.of(frames, videos) if videos else None


def _stretches(file: Path, frames: int) -> Iterator[Descriptors]:
    """Descriptors of consecutive stretches of ``frames`` frames; frames left over are dropped."""
    describer, done = Describer(), 0
    for batch in stream_video(file, BATCH):
        rest = batch
        while len(rest):
            part, rest = rest[: frames - done], rest[frames - done :]
            describer.add(part)
            done += len(part)
            if done == frames:
                yield describer.done()
                describer, done = Describer(), 0
