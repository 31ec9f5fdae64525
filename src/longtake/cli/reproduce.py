"""The command that reproduces a paper's table."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from longtake.cli import arguments, make

if TYPE_CHECKING:
    from longtake.distributed import Ranks
    from longtake.reproduce.measure import Outcome, RowOutcome
    from longtake.reproduce.requirements import Folders
    from longtake.reproduce.table import Published, Table

UNTRAINED = (
    "features are of a small random network, because the weights of I3D are missing "
    "(longtake convert i3d): all numbers are meaningless"
)
TINY = "a trial of tiny networks on few clips: all numbers are meaningless"

Tiny = Annotated[bool, Option("--tiny", help="try all steps in minutes, with tiny networks")]
Models = Annotated[Path, Option(help="folder of runs and models named as presets, or one model")]
Out = Annotated[
    Path | None, Option("--out", "-o", help="folder of results; default: reproduced/TABLE")
]
Train = Annotated[bool, Option("--train", help="train missing models, which takes GPU-weeks")]


def reproduce(  # noqa: PLR0913
    table: Annotated[str | None, Argument(help="name of a table; omit it to list all")] = None,
    tiny: Tiny = False,
    rows: Annotated[str, Option(help="comma-separated rows to measure; default: all")] = "",
    data: Annotated[Path, Option(help="folder that holds ucf101, sky_timelapse, taichi")] = Path(
        "data"
    ),
    models: Models = Path("runs"),
    out: Out = None,
    train: Train = False,
    n: arguments.Clips = None,
    seed: arguments.Seed = 0,
    batch: arguments.Batch = 8,
    weights: arguments.Weights = None,
    cache: arguments.Cache = None,
    device: arguments.Device = "auto",
) -> None:
    """Measure a paper's table again, beside its numbers.

    Each row is measured under the protocol of the paper. Nothing is trained without --train. After
    a stop the same command continues.
    """
    if table is None:
        _list()
        return

    from longtake.cli.progress import stages
    from longtake.distributed import join
    from longtake.evaluation.extraction import FeatureCache, default_cache
    from longtake.evaluation.feature_sets import EvaluationSettings
    from longtake.reproduce.measure import measure_table
    from longtake.reproduce.requirements import Folders
    from longtake.reproduce.table import table as ready

    chosen = ready(table).chosen([name.strip() for name in rows.split(",") if name.strip()])
    chosen = chosen.shrunk() if tiny else chosen
    out = out or Path("reproduced") / (f"{table}-tiny" if tiny else table)
    folders = Folders(data=data, models=out / "models" if tiny else models, out=out)
    with join() as ranks:
        ranks = arguments.placed(ranks, device)
        if train or tiny:
            _train(chosen, folders, ranks)
        with stages(ranks.main) as report:
            work = EvaluationSettings(
                ranks=ranks,
                cache=FeatureCache(folder=cache or (out / "features" if tiny else default_cache())),
                batch=batch,
                weights=weights and str(weights),
                seed=seed,
                report=report,
            )
            found = measure_table(chosen, folders, work, n=n, tiny=tiny)
    if ranks.main:
        _print(found, out)
    if not found.measured:
        raise typer.Exit(2)


def _list() -> None:
    from longtake.reproduce.table import table, tables

    for name in tables():
        found = table(name)
        print(f"{name:<20} {found.title}")
        print(f"{'':<20} rows: {', '.join(row.name for row in found.rows)}")


def _train(table: "Table", folders: "Folders", ranks: "Ranks") -> None:
    """Carry out the trainings that a table's models still need, each with a progress bar."""
    from longtake.reproduce.measure import pending_training
    from longtake.reproduce.requirements import training_run

    for needed in pending_training(table, folders):
        if ranks.main:
            print(f"training {folders.run(needed)}", file=sys.stderr)
        make.carry_out(training_run(needed, folders), folders.run(needed), ranks)
        ranks.barrier()


def _print(found: "Outcome", out: Path) -> None:
    """Print the table of an outcome, and where its rows come from."""
    from longtake.cli.tables import SPREAD_IS, number, plain_table, print_table, spread, title
    from longtake.features.random_features import RandomFeaturesConfig

    print(f"{found.title}\n{found.paper}")
    ours = "tiny trial" if found.tiny else "ours"
    table = plain_table("row", "metric", "paper", ours, "real against real")
    table.columns[0].no_wrap = True
    for row in found.rows:
        for metric, published in row.published.items():
            random = RandomFeaturesConfig.metrics.get(metric)
            name = random if random in row.scores else metric
            score = row.scores.get(name)
            floor = number(score.floor if score else None)
            table.add_row(row.name, title(name), _paper(published), spread(score), floor)
    print_table(table)
    warning = UNTRAINED if found.untrained else TINY if found.tiny else ""
    notes = (note for row in found.rows for note in _notes(row))
    of_ours = f"{ours}, {SPREAD_IS}" if found.measured else ""
    for line in (of_ours, found.about, warning, *_origins(found), *notes):
        if line:
            print(line)
    print(f"results in {out / 'table.json'}")


def _origins(found: "Outcome") -> Iterator[str]:
    """Lines on each protocol: hash, changes and rows; then on sources of the paper's numbers."""
    of: dict[str, list[str]] = {}
    for row in found.rows:
        changes = ", ".join(f"{key}={value}" for key, value in row.changed.items())
        title = f"{row.protocol} {row.protocol_hash}{f' with {changes}' if changes else ''}"
        of.setdefault(title, []).append(row.name)
    yield from (f"protocol {title}: {', '.join(rows)}" for title, rows in of.items())
    numbers = [number for row in found.rows for number in row.published.values() if number.source]
    for source, quoted in {number.source: number.quoted for number in numbers}.items():
        yield f"{'* quoted, ' if quoted else ''}from {source}"


def _notes(row: "RowOutcome") -> Iterator[str]:
    if row.remark:
        yield f"{row.name}: {row.remark}"
    if row.lacks.data:
        yield f"{row.name}: not measured, data is missing: {row.lacks.data}"
    if row.lacks.fault:
        yield f"{row.name}: not measured: {' '.join(row.lacks.fault.split())}"
    if row.lacks.model:
        yield f"{row.name}: not measured, no model in {row.lacks.model}; train it (or --train):"
        yield from (f"    {line}" for line in row.lacks.commands)


def _paper(published: "Published") -> str:
    if published.value is None:
        return str(published.absent)
    std = "" if published.std is None else f" ± {published.std}"
    return f"{published.value}{std}{'*' if published.quoted else ''}"
