"""The result of a drift report: sentences, and numbers for JSON."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longtake.drift.curves import Curve
from longtake.drift.video_drift import DriftPlan, VideoDrift
from longtake.training.log import environment

WORST = 8  # most videos of a folder that have a sentence of their own


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """Measures of one or more long videos, and the paths of the files that show them.

    Attributes:
        videos: measures and findings of each video.
        plan: how videos were measured.
        curve: FVD and KVD over time, over all videos; None if there are too few videos or I3D's
            weights are missing.
        notes: what could not be measured, and why.
        page: path of the HTML page.
        picture: path of the figure.
        numbers: path of the JSON file.
    """

    videos: tuple[VideoDrift, ...]
    plan: DriftPlan
    curve: Curve | None
    notes: tuple[str, ...]
    page: Path
    picture: Path
    numbers: Path

    @property
    def name(self) -> str:
        """File name of the video if there is one, otherwise the number of videos, for titles."""
        count = len(self.videos)
        return self.videos[0].info.path.name if count == 1 else f"{count} videos"

    def findings(self) -> list[str]:
        """Sentences about faults of the videos, and about what could not be measured."""
        lines = self.videos[0].lines() if len(self.videos) == 1 else self._of_many()
        return [*lines, *self._of_features(), *self.notes]

    def lines(self) -> list[str]:
        """The findings as lines of text, and the path of the report."""
        return [*self.findings(), f"report: {self.page}"]

    def worst_first(self) -> list[VideoDrift]:
        """The videos, the one with the most severe finding first."""
        return sorted(self.videos, key=lambda video: -video.severity)

    def to_json(self) -> dict[str, Any]:
        """All measures as JSON data; measures of frames are averaged over windows."""
        return {
            "plan": asdict(self.plan),
            "notes": list(self.notes),
            "curve": None if self.curve is None else asdict(self.curve),
            "videos": [_video_json(video, self.plan.window) for video in self.videos],
            "environment": environment(),
        }

    def _of_many(self) -> Iterator[str]:
        kinds = Counter(kind for v in self.videos for kind in {f.kind for f in v.findings})
        clean = sum(not video.findings for video in self.videos)
        yield f"{clean} of {len(self.videos)} videos have no finding" + "".join(
            f", {count} with {kind}" for kind, count in kinds.most_common()
        )
        for video in self.worst_first()[:WORST]:
            if video.findings or (video.world and video.world.sentences):
                yield f"{video.info.path.name}: {'; '.join(video.lines())}"

    def _of_features(self) -> Iterator[str]:
        """Sentences about FVD of windows, or about distances between features of one video."""
        if self.curve is not None:
            first, last = self.curve.points[0], self.curve.points[-1]
            against = "real clips" if self.curve.against == "real" else "first windows"
            yield (
                f"FVD of windows against {against}: {first.fvd.value:.0f} for the window at frame "
                f"{first.start}, {last.fvd.value:.0f} for the one at frame {last.start} "
                f"(95 % interval {last.fvd.low:.0f} to {last.fvd.high:.0f}); "
                f"KVD {first.kvd.value:.2f}, then {last.kvd.value:.2f}"
            )
        elif len(self.videos) == 1 and (distances := self.videos[0].distances):
            yield (
                f"distance between the features of the first and the last window: "
                f"{distances[-1]:.2f} times the median distance between neighbouring windows "
                "(FVD needs more than one video)"
            )


def _video_json(video: VideoDrift, window: int) -> dict[str, Any]:
    numbers = video.numbers
    starts = range(0, len(numbers) - window + 1, window)
    means = {
        name: [round(float(values[start : start + window].mean()), 5) for start in starts]
        for name, values in numbers.series().items()
    }
    return {
        "path": str(video.info.path),
        "frames": video.info.frames,
        "findings": [asdict(finding) for finding in video.findings],
        "usual": [asdict(finding) for finding in video.usual],
        "reference": None if video.reference is None else asdict(video.reference),
        "measures": asdict(video.measures),
        "windows": {"start": list(starts)} | means,
        "features": {"start": video.starts, "distance": video.distances},
        "world": None if video.world is None else asdict(video.world),
    }
