"""The command that measures a paper's table again."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from longtake.cli import arguments

if TYPE_CHECKING:
    from longtake.distributed import Ranks
    from longtake.reproduce.needs import Places
    from longtake.reproduce.outcome import Outcome, RowOutcome
    from longtake.reproduce.table import Published, Table

UNTRAINED = (
    "features are those of a small untrained network, since the weights of I3D are not there "
    "(longtake convert i3d): no number here means anything"
)
TINY = "tiny networks, few clips: the path was tried out, and no number here means anything"


def reproduce(  # noqa: PLR0913
    table: Annotated[
        str | None, typer.Argument(help="name of a table; without it all are listed")
    ] = None,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="the whole path in minutes, on an embedded world")
    ] = False,
    rows: Annotated[str, typer.Option(help="some rows only: names with commas")] = "",
    data: Annotated[Path, typer.Option(help="folder that has ucf101, sky_timelapse, taichi")] = (
        Path("data")
    ),
    models: Annotated[
        Path, typer.Option(help="folder of runs and models named as presets, or one model")
    ] = Path("runs"),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="folder of results; reproduced/TABLE")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="train the models that are missing: GPU-weeks")
    ] = False,
    n: Annotated[
        int | None, typer.Option("--n", min=4, help="clips a side; another protocol")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of clips, starts and samples")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="clips at once")] = 8,
    weights: Annotated[Path | None, typer.Option(help="file of the feature network")] = None,
    cache: Annotated[Path | None, typer.Option(help="folder of kept features")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto")] = "auto",
) -> None:
    """Measure a paper's table again: its numbers beside ours, under its protocol.

    Rows whose data or model is missing are named, with the commands that would train the model;
    nothing is trained without --train. Stopped, the same command goes on.
    """
    if table is None:
        _list()
        return

    from dataclasses import replace

    from longtake.cli.progress import stages
    from longtake.distributed import join
    from longtake.evaluation.extraction import FeatureCache, default_cache
    from longtake.evaluation.feature_sets import EvaluationSettings
    from longtake.reproduce.course import Settings, carry_out
    from longtake.reproduce.needs import Places
    from longtake.reproduce.table import table as ready

    chosen = ready(table).chosen([name.strip() for name in rows.split(",") if name.strip()])
    chosen = chosen.shrunk() if tiny else chosen
    out = out or Path("reproduced") / (f"{table}-tiny" if tiny else table)
    places = Places(data=data, models=out / "models" if tiny else models, out=out)
    with join() as ranks:
        if device != "auto":
            ranks = replace(ranks, device=arguments.device(device))
        if train or tiny:
            _train(chosen, places, ranks)
        with stages(ranks.main) as report:
            work = EvaluationSettings(
                ranks=ranks,
                cache=FeatureCache(folder=cache or (out / "features" if tiny else default_cache())),
                batch=batch,
                weights=None if weights is None else str(weights),
                seed=seed,
                report=report,
            )
            settings = Settings(n=n, batch=batch, tiny=tiny)
            found = carry_out(chosen, places, settings, work)
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


def _train(table: "Table", places: "Places", ranks: "Ranks") -> None:
    """Carry out what is missing, each training with its own bar."""
    from longtake import run_folder, runs
    from longtake.cli.progress import training
    from longtake.reproduce.course import to_train
    from longtake.reproduce.needs import run_of
    from longtake.training.trainer import Interrupted

    for fit in to_train(table, places):
        if ranks.main:
            print(f"training {places.run(fit)}", file=sys.stderr)
        try:
            with training(ranks.main) as (report, cached):
                callbacks = runs.Callbacks(training=report, encoding=cached)
                run_folder.start(run_of(fit, places), places.run(fit), ranks, callbacks)
        except Interrupted as stopped:
            print(stopped, file=sys.stderr)
            raise typer.Exit(130) from stopped
        ranks.barrier()


def _print(found: "Outcome", out: Path) -> None:
    from rich.console import Console

    from longtake.cli.tables import number, plain_table, spread

    print(f"{found.title}\n{found.paper}")
    ours = "tiny twin" if found.tiny else "ours"
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
    """Each protocol with its hash, its changes and its rows."""
    of: dict[str, list[str]] = {}
    for row in found.rows:
        changes = ", ".join(f"{key}={value}" for key, value in row.changed.items())
        title = f"{row.protocol} {row.protocol_hash}{f' with {changes}' if changes else ''}"
        of.setdefault(title, []).append(row.name)
    return (f"protocol {title}: {', '.join(rows)}" for title, rows in of.items())


def _sources(found: "Outcome") -> Iterator[str]:
    """Where the paper's numbers were read."""
    numbers = [number for row in found.rows for number in row.published.values() if number.source]
    sources = {number.source: number.second_hand for number in numbers}
    return (
        f"{'* second-hand, ' if second_hand else ''}from {source}"
        for source, second_hand in sources.items()
    )


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
    deviation = "" if published.deviation is None else f" ± {published.deviation}"
    return f"{published.value}{deviation}{'*' if published.second_hand else ''}"
