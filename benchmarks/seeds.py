"""Means over seeds, and paired differences, of the rows of ``objectives.py``."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

METRICS = ("fvd", "kvd")
STUDENT_95 = (12.706, 4.303, 3.182, 2.776)
"""Two-sided 95 % quantiles of Student's distribution with 1, 2, 3 and 4 degrees of freedom."""

Rows = Iterable[Mapping[str, Any]]


def summary(rows: Rows, first: str) -> dict[str, dict[str, Any]]:
    """Of each objective: seeds, mean and standard deviation, and mean difference to ``first``.

    Differences are of the seeds that both have; with their 95 % interval if there are several.
    """
    found: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["objective"], {})[row["seed"]] = row
    others = found.get(first, {})
    result: dict[str, dict[str, Any]] = {}
    for name, by_seed in found.items():
        result[name] = {"seeds": sorted(by_seed)}
        for metric in METRICS:
            values = {seed: row[metric]["value"] for seed, row in by_seed.items()}
            paired = sorted(by_seed.keys() & others.keys()) if name != first else []
            less = [values[seed] - others[seed][metric]["value"] for seed in paired]
            stated: dict[str, Any] = {"mean": round(statistics.fmean(values.values()), 2)}
            if len(values) > 1:
                stated["std"] = round(statistics.stdev(values.values()), 2)
            if less:
                stated["difference"] = interval(less)
            result[name][metric] = stated
    return result


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean and, of several values, its 95 % interval by Student's distribution."""
    ends = {"value": statistics.fmean(values)}
    if len(values) > 1:
        reach = STUDENT_95[len(values) - 2] * statistics.stdev(values) / len(values) ** 0.5
        ends |= {"low": ends["value"] - reach, "high": ends["value"] + reach}
    return {name: round(end, 2) for name, end in ends.items()}


def print_table(rows: Rows, first: str) -> None:
    """As Markdown, the least mean FVD first; differences are to ``first``."""
    less = f"less that of {first}"
    print(f"| objective | seeds | FVD | {less} | KVD | {less} | CPU s a step |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    every = list(rows)
    means = summary(every, first)
    for name, mean in sorted(means.items(), key=lambda item: item[1]["fvd"]["mean"]):
        cost = statistics.fmean(x["cpu_seconds_a_step"] for x in every if x["objective"] == name)
        cells = [cell for metric in METRICS for cell in cells_of(mean[metric])]
        print(f"| {name} | {len(mean['seeds'])} | {' | '.join(cells)} | {cost:.3f} |")


def cells_of(stated: Mapping[str, Any]) -> tuple[str, str]:
    """Mean with standard deviation, and difference with its interval, as cells of a table."""
    mean = f"{stated['mean']:.1f}" + (f" ± {stated['std']:.1f}" if "std" in stated else "")
    less = stated.get("difference", {})
    ends = f" ({less['low']:.1f} to {less['high']:.1f})" if "low" in less else ""
    return mean, f"{less['value']:+.1f}{ends}" if less else ""
