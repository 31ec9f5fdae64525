"""The command ``drift``."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from longtake.cli import arguments


def drift(
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="[REAL] VIDEO",
            help="a long video or a folder of them; before it, real videos or a synthetic world",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder of the report")] = Path("drift"),
    window: Annotated[int, typer.Option(min=9, help="frames of a window")] = 16,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="frames between joints; detected by default")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the report")] = False,
) -> None:
    """Find where long videos drift, loop, freeze or flicker; writes a report."""
    from longtake.cli.progress import frames as progress
    from longtake.drift import DriftPlan, write_report
    from longtake.drift.world_measures import WorldName

    if len(videos) > 2:
        raise ValueError(f"drift takes a video or a folder of them, got {len(videos)} names")
    *real, video = videos
    world = next((name for name in get_args(WorldName) if [name] == real), None)
    with progress(Path(video).name) as report:
        found = write_report(
            Path(video),
            out,
            DriftPlan(window=window, chunk=chunk, world=world),
            device=arguments.device(device),
            real=Path(real[0]) if real and world is None else None,
            overwrite=overwrite,
            report=report,
        )
    for line in found.lines():
        print(line)
