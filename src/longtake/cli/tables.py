"""Results of evaluations as tables on the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Column, Table

from longtake.config import plural

if TYPE_CHECKING:
    from longtake.evaluation.result import Result, Score, SourceRecord

SPREAD_IS = "after ±: standard error; of several draws, and of IS, the standard deviation"
"""Explains the numbers of ``spread``."""

WIDEST = 10_000
"""Greatest number of columns of a table in a file or pipe."""


def print_result(result: "Result") -> None:
    """Print the result of an evaluation: protocol, sources, scores and remarks."""
    protocol = result.protocol
    print(f"protocol   {protocol.name} {result.protocol_hash}, n {protocol.n}, seed {result.seed}")
    if result.changed:
        shown = ", ".join(f"{key}={value}" for key, value in result.changed.items())
        print(f"           not {protocol.name}'s own: {shown}; compare only with the same changes")
    if result.real is not None:
        print(f"real       {_side(result.real)}")
    print(f"generated  {_side(result.generated)}")
    limited = any(score.limit is not None for score in result.scores.values())
    columns = ["deviation", "95 % interval", "real against real"]
    columns += ["limit for many clips", "95 % interval of the limit"] * limited
    table = plain_table("metric", "value", *columns)
    for name, score in result.scores.items():
        cells = [title(name), f"{number(score.value)} {score.unit}".strip()]
        cells += [number(score.deviation), _span(score.low, score.high), number(score.floor)]
        limit = [number(score.limit), _span(score.limit_low, score.limit_high)]
        table.add_row(*cells, *limit * limited)
    print_table(table)
    of: dict[str, list[str]] = {}
    for name, score in result.scores.items():
        of.setdefault(score.interval_of, []).append(title(name))
        if score.detectable is not None:
            seen = number(score.detectable)
            print(
                f"smallest {title(name)} that n clips distinguish from 0 in 80 % of cases: {seen}"
            )
    for what, names in of.items():
        if what:
            print(f"95 % interval of {', '.join(names)}: {what}")
    _warn_of_random_features(result)
    reasons = dict.fromkeys(s.no_floor for s in result.scores.values() if s.no_floor)
    if reasons:
        print(f"no real against real: {'; '.join(reasons)}")


def print_comparison(results: Sequence["Result"], names: Sequence[str]) -> None:
    """Print results of one protocol as a table: a row for each, with its name from ``names``."""
    first = results[0]
    print(f"protocol   {first.protocol.name} {first.protocol_hash}, n {first.protocol.n}")
    if first.real is not None:
        print(f"real       {_side(first.real)}")
    metrics = list(dict.fromkeys(name for result in results for name in result.scores))
    table = plain_table("result", "generated", *map(title, metrics))
    floors = {name: "-" for name in metrics}
    for name, result in zip(names, results, strict=True):
        scores = {metric: result.scores.get(metric) for metric in metrics}
        table.add_row(name, result.generated.name, *map(spread, scores.values()))
        floors |= {m: number(s.floor) for m, s in scores.items() if s and s.floor is not None}
    if first.real is not None:
        table.add_row("real against real", first.real.name, *floors.values())
    print_table(table)
    print(SPREAD_IS)
    _warn_of_random_features(first)


def _warn_of_random_features(result: "Result") -> None:
    warning = result.protocol.unit
    if warning and any(score.unit == warning for score in result.scores.values()):
        print("features are random: these distances are not FVD or KVD; compare them with nothing")


def plain_table(first: str, *others: str) -> Table:
    """A table with horizontal lines; all columns but the first are right-aligned."""
    return Table(first, *(Column(name, justify="right") for name in others), box=box.SIMPLE)


def print_table(table: Table) -> None:
    """Print a table: as wide as the terminal, or in a file or pipe as wide as it needs.

    Cells are plain text: rich would read the name ``sky:train:64`` as one with an emoji.
    """
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDEST
    console.print(table, soft_wrap=True)


def title(metric: str) -> str:
    """A metric's name as a table shows it: ``frame_psnr`` as ``FRAME PSNR``."""
    return metric.upper().replace("_", " ")


def _span(low: float | None, high: float | None) -> str:
    return "-" if low is None else f"{number(low)} to {number(high)}"


def _side(side: "SourceRecord") -> str:
    """Describe the real or generated videos of an evaluation in one line."""
    parts = [side.name, plural(side.videos, "video")]
    if side.height:
        parts.append(f"{side.height} x {side.width}")
    if side.skipped:
        parts.append(f"{side.skipped} skipped")
    if "sampling" in side.about:
        sampler = side.about["sampling"]["sampler"]
        first, last = side.about["seeds"]
        parts += [
            f"model {side.about['model']}",
            "averaged weights" if side.about["averaged"] else "raw weights",
            f"{sampler['kind']} {sampler.get('steps', '')}".strip(),
            f"seeds {first} to {last}",
        ]
    return ", ".join(parts)


def spread(score: "Score | None") -> str:
    """Format a score, ``5.1 ± 0.2``, whose second number ``SPREAD_IS`` explains; None: a dash."""
    return "-" if score is None else f"{number(score.value)} ± {number(score.deviation)}"


def number(value: float | None) -> str:
    """Format a number with enough digits to distinguish scores; None becomes a dash."""
    return "-" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"
