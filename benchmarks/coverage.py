"""How often each interval that `longtake evaluate` prints holds what it is of.

    python benchmarks/coverage.py --json docs/results/coverage.json

Features are drawn from normal distributions whose FVD is known. Their variances fall like those of
I3D features of sky clips (trace 286, effective dimension 3.6). For each case, many pairs of sets
are drawn. The mean of FVD over these sets is what its interval is of; the FVD of the distributions
is what the limit's interval is of. With 100 trials a coverage of 0.95 is known to 0.02.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from longtake.metrics.uncertainty import Interval, fvd_interval, fvd_limit, kvd_interval

TRACE, POWER = 286.0, 1.7


class Features:
    """Random sets of features, real ones with independent directions of falling variance."""

    def __init__(self, width: int, seed: int) -> None:
        fall = torch.arange(1, width + 1).double() ** -POWER
        self.std = (fall * TRACE / fall.sum()).sqrt()
        self.random = torch.Generator().manual_seed(seed)

    def draw(self, clips: int) -> Tensor:
        shape = (clips, len(self.std))
        return torch.randn(shape, generator=self.random, dtype=torch.float64) * self.std


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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[64])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--width", type=int, default=120, help="directions with any variance")
    parser.add_argument("--redraws", type=int, default=50)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    began = time.perf_counter()
    rows = [r for n in args.n for r in measure(n, args.trials, args.width, args.redraws)]
    show(rows)
    print(f"{time.perf_counter() - began:.0f} s")
    if args.json:
        args.json.write_text(
            json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
