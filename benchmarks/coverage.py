"""How often each interval that `longtake evaluate` prints holds what it is of.

    python benchmarks/coverage.py --json docs/results/coverage.json

First table: features are drawn from normal distributions whose FVD is known. Their variances fall
like those of I3D features of sky clips (trace 286, effective dimension 3.6). For each case, many
pairs of sets are drawn. The mean of FVD over these sets is what its interval is of; the FVD of the
distributions is what the limit's interval is of. With 100 trials a coverage of 0.95 is known to
0.02. Second table: intervals of means and shares (`longtake evaluate`) and of `longtake drift`; of
several clips of a video, and of the mean of several draws (`longtake evaluate`); of differences
between models or trainings (``few_steps.py``, ``sampler_sweep.py``, ``objectives.py``). What the
JSON file holds already is not computed again, so a stopped run continues.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from few_steps import CLIPS_PER_VIDEO, difference
from seeds import interval as over_seeds
from torch import Tensor

from longtake.checkpoint import write_text
from longtake.drift.curves import feature_curve
from longtake.drift.seams import seam_score
from longtake.drift.trends import trend
from longtake.evaluation.result import Score
from longtake.metrics.frechet import fvd
from longtake.metrics.uncertainty import NORMAL_95, Interval, fvd_interval, fvd_limit, kvd_interval

TRACE, POWER = 286.0, 1.7
WIDTH = 120  # directions with any variance
REDRAWS = 50
TRIALS: Mapping[int, int] = {64: 100, 128: 50, 256: 50}
"""Number of pairs of sets that are drawn, by number of clips."""
DRAWS = 10  # of real clips, as in the protocol lvdm-10x2048
VIDEOS, VIDEO_WIDTH = 64, 60  # of rows of several clips of a video
VIDEO_TRIALS = 100
CHEAP_TRIALS = 2000  # of intervals that take no bootstrap of features


class Features:
    """Random sets of features, real ones with independent directions of falling variance."""

    def __init__(self, width: int, seed: int) -> None:
        fall = torch.arange(1, width + 1).double() ** -POWER
        self.std = (fall * TRACE / fall.sum()).sqrt()
        self.random = torch.Generator().manual_seed(seed)

    def draw(self, clips: int) -> Tensor:
        shape = (clips, len(self.std))
        return torch.randn(shape, generator=self.random, dtype=torch.float64) * self.std

    def of_videos(self, videos: int, each: int, shared: float) -> Tensor:
        """Features of ``each`` clips of each video, video by video.

        ``shared`` is the share of their variance that is between videos: the correlation of two
        clips of one video.
        """
        whole = self.draw(videos).repeat_interleave(each, 0)
        return shared**0.5 * whole + (1 - shared) ** 0.5 * self.draw(videos * each)


def cases(std: Tensor) -> Mapping[str, tuple[Callable[[Tensor], Tensor], float]]:
    """What makes generated features of real ones, and the FVD of the two distributions."""
    kept = torch.ones_like(std)
    kept[20:] = 0.2
    half = 0.5**0.5
    return {
        "same": (lambda x: x, 0.0),
        "every direction off by 0.5 sd": (lambda x: x + 0.5 * std, 0.25 * TRACE),
        "half the variance": (lambda x: half * x, (1 - half) ** 2 * TRACE),
        "20 directions keep their spread, the rest a fifth": (
            lambda x: kept * x,
            float(((1 - kept) * std).square().sum()),
        ),
    }


def measure(clips: int, trials: int, width: int, redraws: int, seed: int = 0) -> list[dict]:
    """A row for each case and metric."""
    rows = []
    features = Features(width, seed)
    for case, (change, true) in cases(features.std).items():
        found: dict[str, list[Interval]] = {"fvd": [], "kvd": [], "limit": []}
        for trial in range(trials):
            x, y = features.draw(clips), change(features.draw(clips))
            how = {"redraws": redraws, "seed": trial}
            found["fvd"].append(fvd_interval(x, y, **how))
            found["kvd"].append(kvd_interval(x, y, **how))
            found["limit"].append(fvd_limit(x, y, **how))
        for metric, intervals in found.items():
            own = None if metric == "kvd" else true
            rows.append({"n": clips, "case": case, "metric": metric, **row(intervals, own)})
    found = {f"reconstructions off by {off} sd": [] for off in (0.05, 0.5)}
    for trial in range(trials):
        x = features.draw(clips)
        for intervals, off in zip(found.values(), (0.05, 0.5), strict=True):
            y = x + off * features.draw(clips)
            intervals.append(fvd_interval(x, y, paired=True, redraws=redraws, seed=trial))
    for case, intervals in found.items():
        rows.append({"n": clips, "case": case, "metric": "rfvd", **row(intervals, None)})
    return rows


def row(intervals: Sequence[Interval], true: float | None) -> dict[str, float | None]:
    """Means over trials, and shares of intervals that hold a value."""
    values = torch.tensor([interval.value for interval in intervals])
    mean = float(values.mean())

    def holds(value: float) -> float:
        return sum(i.low <= value <= i.high for i in intervals) / len(intervals)

    errors = [interval.standard_error for interval in intervals]
    return {
        "trials": len(intervals),
        "true": true,
        "mean": mean,
        "sd": float(values.std()),
        "mean_standard_error": sum(errors) / len(errors),
        "holds_mean": holds(mean),
        "holds_true": None if true is None else holds(true),
        "above_0": sum(interval.low > 0 for interval in intervals) / len(intervals),
    }


def other_rows(trials: int) -> list[dict]:
    """A row for each case of an interval that is not of two sets of features."""
    kinds = (*_means(), *_shares(), *_slopes(), *_seams())
    rows = [_held(*kind, draw, trials) for *kind, draw in kinds]
    return rows + [_curve_row(videos, max(10, trials // 20)) for videos in (16, 64)]


Draw = Callable[[np.random.Generator], tuple[float, float, float]]
"""Samples data; returns the ends of the interval and the true value."""


def _held(interval: str, case: str, n: str, draw: Draw, trials: int) -> dict:
    random = np.random.default_rng(0)
    drawn = [draw(random) for _ in range(trials)]
    held = sum(low <= true <= high for low, high, true in drawn) / trials
    return {"interval": interval, "case": case, "n": n, "trials": trials, "holds": held}


def _means() -> Iterator[tuple[str, str, str, Draw]]:
    for case in ("normal", "exponential"):
        for clips in (16, 64, 256):

            def draw(random: np.random.Generator, case: str = case, clips: int = clips):
                values = random.normal(1, 1, clips)
                if case == "exponential":
                    values = random.exponential(1, clips)
                score = Score.mean(values.tolist())
                return score.low, score.high, 1.0

            yield "mean over clips (PSNR, SSIM, CLIPSIM)", case, f"{clips} clips", draw


def _shares() -> Iterator[tuple[str, str, str, Draw]]:
    for true in (0.5, 0.9, 0.98):
        for clips in (48, 256):

            def draw(random: np.random.Generator, true: float = true, clips: int = clips):
                right = (random.random(clips) < true).astype(float).tolist()
                score = Score.share(right, clips, what="videos")
                return score.low, score.high, 100 * true

            yield "share (`attributes`)", f"{100 * true:.0f} %", f"{clips} clips", draw


def _slopes() -> Iterator[tuple[str, str, str, Draw]]:
    for memory in (0.0, 0.5, 0.9):
        for frames in (64, 128, 512):

            def draw(random: np.random.Generator, memory: float = memory, frames: int = frames):
                found = trend(_ar1(random, memory, frames), np.arange(frames))
                return found.low, found.high, 0.0

            yield "slope of a drift", f"AR(1) noise, {memory:g}", f"{frames} frames", draw


def _seams() -> Iterator[tuple[str, str, str, Draw]]:
    for borders in (3, 7, 31):

        def draw(random: np.random.Generator, borders: int = borders):
            rise = random.normal(math.log(3), 0.5, borders + 3)
            found = seam_score(rise, range(2, borders + 2))
            return found.low, found.high, 3.0

        yield "ratio of jumps at seams", "log-normal jumps", f"{borders} borders", draw


def _seed_differences() -> Iterator[tuple[str, str, str, Draw]]:
    for case in ("normal", "exponential"):
        for seeds in (3, 5):

            def draw(random: np.random.Generator, case: str = case, seeds: int = seeds):
                values = random.normal(100, 10, seeds)
                if case == "exponential":
                    values = random.exponential(100, seeds)
                found = over_seeds(values.tolist())
                return found["low"], found["high"], 100.0

            yield "difference over seeds (`objectives.py`)", case, f"{seeds} seeds", draw


def _ar1(random: np.random.Generator, memory: float, frames: int) -> np.ndarray:
    """Noise each of whose values is ``memory`` times the one before it plus white noise."""
    values = random.normal(size=frames)
    values[0] /= math.sqrt(1 - memory**2)
    for t in range(1, frames):
        values[t] += memory * values[t - 1]
    return values


def _curve_row(videos: int, trials: int) -> dict:
    """FVD of the second windows of videos against the first; windows of a video are alike."""
    features, found = Features(WIDTH, 1), []
    for _ in range(trials):
        whole = features.draw(videos)
        windows = torch.stack([whole + 0.5 * features.draw(videos) for _ in range(2)], 1)
        found.append(feature_curve(windows, (0, 16)).points[1].fvd)
    return {
        "interval": "FVD of windows against first windows",
        "case": "same",
        "n": f"{videos} videos",
        "trials": trials,
        "holds": row(found, None)["holds_mean"],
    }


def seed_rows(trials: int) -> list[dict]:
    """A row for each case of the interval of a difference over seeds."""
    return [_held(*kind, draw, trials) for *kind, draw in _seed_differences()]


def video_rows(videos: int, trials: int, width: int) -> list[dict]:
    """Rows of intervals of several clips of a video, of means of draws, and of differences."""
    features = Features(width, 2)
    found: dict[tuple[str, str, str], list[Interval]] = {}
    for trial in range(trials):
        for key, interval in (
            *_of_several_clips(features, videos, trial),
            *_of_draws(features, videos, trial),
            *_of_differences(features, videos),
        ):
            found.setdefault(key, []).append(interval)
    names = ("interval", "case", "n")
    return [
        dict(zip(names, key, strict=True))
        | {"trials": trials, "holds": row(each, None)["holds_mean"]}
        for key, each in found.items()
    ]


Sampled = Iterator[tuple[tuple[str, str, str], Interval]]
"""Interval, case and number of clips of rows, each with one sampled interval."""


def _of_several_clips(features: Features, videos: int, seed: int) -> Sampled:
    """Intervals of FVD and KVD that know which clips are of one video, and that do not."""
    clips = videos * CLIPS_PER_VIDEO
    owners = torch.arange(videos).repeat_interleave(CLIPS_PER_VIDEO).tolist()
    n = f"{CLIPS_PER_VIDEO} clips of each of {videos} videos"
    for shared in (0.5, 0.9):
        x = features.draw(clips)
        y = features.of_videos(videos, CLIPS_PER_VIDEO, shared) + 0.5 * features.std
        for metric, interval in (("FVD", fvd_interval), ("KVD", kvd_interval)):
            ways = {"by videos": owners, "as if each clip was of another video": None}
            for way, of in ways.items():
                case = f"clips of a video correlate by {shared}"
                found = interval(x, y, generated_videos=of, redraws=REDRAWS, seed=seed)
                yield (f"{metric}, {way}", case, n), found


def _of_draws(features: Features, videos: int, seed: int) -> Sampled:
    """Mean FVD of ten draws of real clips, with the standard error of the first draw."""
    for times in (1, 4):
        whole = features.draw(times * videos)
        y = features.draw(videos) + 0.5 * features.std
        draws = []
        for _ in range(DRAWS):
            chosen = torch.randperm(len(whole), generator=features.random)[:videos]
            draws.append(0.7**0.5 * whole[chosen] + 0.3**0.5 * features.draw(videos))
        first = fvd_interval(draws[0], y, redraws=REDRAWS, seed=seed)
        mean = sum(fvd(x, y) for x in draws) / DRAWS
        case = f"of {times * videos} videos"
        n = f"{videos} clips a draw"
        yield (f"FVD, mean of {DRAWS} draws", case, n), replace(first, value=mean)


def _of_differences(features: Features, videos: int) -> Sampled:
    """FVD of one model less that of another, whose videos of one seed are alike."""
    how: Any = (videos, CLIPS_PER_VIDEO, 0.7)
    x, teacher = features.draw(videos * CLIPS_PER_VIDEO), features.of_videos(*how)
    alike = {"equal models": 0.0, "one is off by 0.5 sd": 0.5}
    for case, off in alike.items():
        y, z = (teacher + 0.3 * features.of_videos(*how) for _ in range(2))
        found = difference(x, y + off * features.std, z)
        error = (found["high"] - found["low"]) / (2 * NORMAL_95)
        n = f"{CLIPS_PER_VIDEO} clips of each of {videos} videos"
        interval = Interval(value=found["value"], standard_error=error)
        yield ("difference of FVD (`few_steps.py`, `sampler_sweep.py`)", case, n), interval


def show(rows: Sequence[Mapping]) -> None:
    """The table of docs/evaluate.md."""
    print(
        "| n | case | metric | true FVD | mean | sd | mean standard error "
        "| interval holds the mean | holds the true FVD | above 0 |"
    )
    print("| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for r in rows:
        true = "" if r["true"] is None else f"{r['true']:.1f}"
        holds = "" if r["holds_true"] is None else f"{r['holds_true']:.2f}"
        spread = f"{r['sd']:.3g} | {r['mean_standard_error']:.3g} | {r['holds_mean']:.2f}"
        print(
            f"| {r['n']} | {r['case']} | {r['metric'].upper()} | {true} | {r['mean']:.4g} "
            f"| {spread} | {holds} | {r['above_0']:.2f} |"
        )


def show_others(rows: Sequence[Mapping]) -> None:
    """The second table of docs/evaluate.md."""
    print("| interval | data | of | holds the true value |\n| --- | --- | --- | ---: |")
    for r in rows:
        print(f"| {r['interval']} | {r['case']} | {r['n']} | {r['holds']:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    stored = json.loads(path.read_text()) if path and path.exists() else {}
    rows, _ = stored.pop("rows", []), stored.pop("torch", None)

    def put() -> None:
        if path:
            found = {"torch": torch.__version__, "rows": rows, **stored}
            write_text(path, json.dumps(found, indent=1) + "\n")

    for n, trials in TRIALS.items():
        if n not in {row["n"] for row in rows}:
            rows += measure(n, trials, WIDTH, REDRAWS)
            put()
    parts: Mapping[str, Callable[[], list[dict]]] = {
        "others": lambda: other_rows(CHEAP_TRIALS),
        "of_videos": lambda: video_rows(VIDEOS, VIDEO_TRIALS, VIDEO_WIDTH),
        "of_seeds": lambda: seed_rows(CHEAP_TRIALS),
    }
    for name, make in parts.items():
        if name not in stored:
            stored[name] = make()
            put()
    show(rows)
    show_others([row for name in parts for row in stored[name]])
    print(f"{time.process_time():.0f} CPU seconds")


if __name__ == "__main__":
    main()
