"""The command that reproduces a paper's table."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longtake.cli import arguments

if TYPE_CHECKING:
    from longtake.distributed import Ranks
    from longtake.evaluation.feature_sets import EvaluationSettings
    from longtake.reproduce.measure import Outcome, RowOutcome
    from longtake.reproduce.requirements import Folders
    from longtake.reproduce.table import Published, Table

UNTRAINED = (
    "features are of a small random network, because the weights of I3D are missing "
    "(longtake convert i3d): all numbers are meaningless"
)
Tiny = Annotated[
    bool,
    typer.Option(
        "--tiny", help="try all steps in minutes, with tiny networks on a synthetic world"
    ),
]
Data = Annotated[Path, typer.Option(help="folder with ucf101, sky_timelapse, taichi")]
Models = Annotated[
    Path, typer.Option(help="folder of runs and models named as presets, or one model")
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="folder of results; default: reproduced/TABLE")
]
Train = Annotated[bool, typer.Option("--train", help="train missing models, which takes GPU-weeks")]

TINY = "a trial of tiny networks on few clips: all numbers are meaningless"


def reproduce(  # noqa: PLR0913
    table: Annotated[
        str | None, typer.Argument(help="name of a table; omit it to list all")
    ] = None,
    tiny: Tiny = False,
    rows: Annotated[str, typer.Option(help="comma-separated rows to measure; default: all")] = "",
    data: Data = Path("data"),
    models: Models = Path("runs"),
    out: Out = None,
    train: Train = False,
    n: Annotated[
        int | None, typer.Option("--n", min=4, help="clips of each source; changes the protocol")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of clips and samples")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="number of videos sampled at once")] = 8,
    weights: Annotated[Path | None, typer.Option(help="weights of the feature network")] = None,
    cache: Annotated[Path | None, typer.Option(help="folder of cached features")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto")] = "auto",
) -> None:
    """Reproduce a paper's table: print its numbers beside ours, under its protocol.

    Nothing is trained without --train. An interrupted command continues if it is repeated.
    """
    if table is None:
        _list()
        return

    from longtake.evaluation.extraction import FeatureCache, default_cache
    from longtake.evaluation.feature_sets import EvaluationSettings
    from longtake.reproduce.requirements import Folders
    from longtake.reproduce.table import table as ready

    chosen = ready(table).chosen([name.strip() for name in rows.split(",") if name.strip()])
    chosen = chosen.shrunk() if tiny else chosen
    out = out or Path("reproduced") / (f"{table}-tiny" if tiny else table)
    work = EvaluationSettings(
        cache=FeatureCache(folder=cache or (out / "features" if tiny else default_cache())),
        batch=batch,
        weights=None if weights is None else str(weights),
        seed=seed,
    )
    folders = Folders(data=data, models=out / "models" if tiny else models, out=out)
    _measure(chosen, folders, work, device, n=n, tiny=tiny, train=train or tiny)


def _measure(
    table: "Table",
    folders: "Folders",
    work: "EvaluationSettings",
    device: str,
    *,
    n: int | None,
    tiny: bool,
    train: bool,
) -> None:
    from dataclasses import replace

    from longtake.cli.progress import stages
    from longtake.distributed import join
    from longtake.reproduce.measure import measure_table

    with join() as ranks:
        ranks = arguments.placed(ranks, device)
        if train:
            _train(table, folders, ranks)
        with stages(ranks.main) as report:
            work = replace(work, ranks=ranks, report=report)
            found = measure_table(table, folders, work, n=n, tiny=tiny)
    if ranks.main:
        _print(found, folders.out)
    if not found.measured:
        raise typer.Exit(2)


def _list() -> None:
    from longtake.reproduce.table import table, tables

    for name in tables():
        found = table(name)
        print(f"{name:<20} {found.title}")
        print(f"{'':<20} rows: {', '.join(row.name for row in found.rows)}")


def _train(table: "Table", folders: "Folders", ranks: "Ranks") -> None:
    """Carry out missing trainings, each with its own progress bar."""
    from longtake import run_folder, runs
    from longtake.cli.progress import training
    from longtake.reproduce.measure import pending_training
    from longtake.reproduce.requirements import training_run
    from longtake.training.trainer import Interrupted

    for needed in pending_training(table, folders):
        if ranks.main:
            print(f"training {folders.run(needed)}", file=sys.stderr)
        try:
            with training(ranks.main) as (report, cached):
                callbacks = runs.Callbacks(training=report, encoding=cached)
                run_folder.start(
                    training_run(needed, folders), folders.run(needed), ranks, callbacks
                )
        except Interrupted as stopped:
            print(stopped, file=sys.stderr)
            raise typer.Exit(130) from stopped
        ranks.barrier()


def _print(found: "Outcome", out: Path) -> None:
    from rich.console import Console

    from longtake.cli.tables import number, plain_table, spread

    print(f"{found.title}\n{found.paper}")
    ours = "tiny trial" if found.tiny else "ours"
    table = plain_table("row", "metric", "paper", ours, "real against real")
    table.columns[0].no_wrap = True
    for row in found.rows:
        for metric, published in row.published.items():
            score = row.scores.get(metric)
            floor = number(score.floor if score else None)
            table.add_row(row.name, metric.upper(), _paper(published), spread(score), floor)
    Console(soft_wrap=True).print(table)
    for line in (found.about, UNTRAINED if found.untrained else TINY if found.tiny else ""):
        if line:
            print(line)
    for line in (*_protocols(found), *_sources(found)):
        print(line)
    for row in found.rows:
        _notes(row)
    print(f"results in {out / 'table.json'}")


def _protocols(found: "Outcome") -> Iterator[str]:
    """Each protocol with its hash, changes and rows."""
    of: dict[str, list[str]] = {}
    for row in found.rows:
        changes = ", ".join(f"{key}={value}" for key, value in row.changed.items())
        title = f"{row.protocol} {row.protocol_hash}{f' with {changes}' if changes else ''}"
        of.setdefault(title, []).append(row.name)
    return (f"protocol {title}: {', '.join(rows)}" for title, rows in of.items())


def _sources(found: "Outcome") -> Iterator[str]:
    """Sources of the paper's numbers."""
    numbers = [number for row in found.rows for number in row.published.values() if number.source]
    sources = {number.source: number.quoted for number in numbers}
    return (f"{'* quoted, ' if quoted else ''}from {source}" for source, quoted in sources.items())


def _notes(row: "RowOutcome") -> None:
    if row.remark:
        print(f"{row.name}: {row.remark}")
    if row.lacks.data:
        print(f"{row.name}: not measured, data is missing: {row.lacks.data}")
    if row.lacks.fault:
        print(f"{row.name}: not measured: {' '.join(row.lacks.fault.split())}")
    if row.lacks.model:
        print(f"{row.name}: not measured, no model in {row.lacks.model}; train it (or --train):")
        for line in row.lacks.commands:
            print(f"    {line}")


def _paper(published: "Published") -> str:
    if published.value is None:
        return str(published.absent)
    std = "" if published.std is None else f" ± {published.std}"
    return f"{published.value}{std}{'*' if published.quoted else ''}"
