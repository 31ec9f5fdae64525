"""The command that judges: real videos against generated ones, under a protocol."""

import re
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Annotated, get_args

import typer

from longtake.cli import arguments

CHANGE = re.compile(r"^([a-z_]+)(\.[a-z_]+)*=")

REPORT = frozenset({"out", "window", "chunk"})
READ = {
    "protocols": frozenset[str](),
    "compare": frozenset({"sides"}),
    "drift": REPORT | {"sides", "device", "overwrite"},
}
"""What is read beside a flag that asks for something else than a measurement."""


def evaluate(  # noqa: PLR0913
    sides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REAL] FAKE [A.B=VALUE]...",
            help="two sides, or a model; settings of the protocol, or of a model's sampling",
            show_default=False,
        ),
    ] = None,
    protocol: Annotated[str, typer.Option(help="--protocols lists them")] = "longtake",
    n: Annotated[
        int | None, typer.Option("--n", min=4, help="clips a side; the protocol's own")
    ] = None,
    metrics: Annotated[str, typer.Option(help="of fvd, kvd and is")] = "fvd,kvd",
    json: Annotated[Path | None, typer.Option(help="file to write the result to")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="show result files side by side")
    ] = False,
    protocols: Annotated[bool, typer.Option("--protocols", help="list protocols")] = False,
    drift: Annotated[
        bool, typer.Option("--drift", help="where long videos drift, loop or freeze, in time")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="folder of the report of --drift")
    ] = Path("drift"),
    window: Annotated[int, typer.Option(min=9, help="frames of a window of --drift")] = 16,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="frames between joints; --drift looks for them")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of clips, starts and samples")] = 0,
    floor: Annotated[
        bool, typer.Option(help="measure real clips against other real ones too")
    ] = True,
    limit: Annotated[bool, typer.Option("--limit", help="FVD for ever more clips")] = False,
    keep: Annotated[Path | None, typer.Option(help="folder to keep a model's videos in")] = None,
    label: Annotated[str | None, typer.Option(help="class of a model's videos")] = None,
    batch: Annotated[int, typer.Option(min=1, help="clips at once")] = 8,
    weights: Annotated[Path | None, typer.Option(help="file of the feature network")] = None,
    cache: Annotated[Path | None, typer.Option(help="folder of kept features")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the result")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto")] = "auto",
) -> None:
    """Measure generated videos against real ones: FVD and KVD with interval and floor.

    A side is a folder of videos or of folders of frames, an array file (.npy, .npz, .safetensors),
    a data set (ucf101:train:FOLDER), an embedded world (sky:test:64) or a model. A model of an
    embedded world needs no REAL. Features are kept, so the same command goes on where it stopped.

    With --drift, FAKE is a long video or a folder of them, and REAL a folder, a world or nothing.
    """
    _check_read(dict(locals()))
    names = sides or []
    if protocols:
        _list_protocols()
        return
    if compare:
        _compare([Path(name) for name in names])
        return
    if drift:
        _drift(_sides(names), out, window, chunk, device, overwrite=overwrite)
        return
    json = free(json, overwrite)

    from dataclasses import replace

    from longtake.cli.progress import stages
    from longtake.cli.tables import print_result
    from longtake.distributed import join
    from longtake.evaluation.evaluate import Work
    from longtake.evaluation.evaluate import evaluate as measure
    from longtake.evaluation.extraction import FeatureCache, default_cache
    from longtake.evaluation.opening import ModelUse, open_sides
    from longtake.evaluation.protocols import protocol as ready
    from longtake.evaluation.scores import named

    wanted = named(metrics)
    of_protocol, of_sampling = _changes(names)
    chosen = ready(protocol, of_protocol, n)
    use = ModelUse(changes=of_sampling, label=label, batch=batch, seed=seed, keep=keep)
    with join() as ranks:
        if device != "auto":
            ranks = replace(ranks, device=arguments.device(device))
        real, generated = open_sides(_sides(names), chosen, use, ranks)
        with stages(ranks.main) as report:
            work = Work(
                ranks=ranks,
                cache=FeatureCache(folder=cache or default_cache()),
                batch=batch,
                weights=None if weights is None else str(weights),
                floor=floor,
                limit=limit,
                seed=seed,
                report=report,
            )
            result = measure(real, generated, chosen, wanted, work)
    if ranks.main:
        if json is not None:
            result.write(json)
        print_result(result)


def reconstruction(
    model: str,
    source: str,
    *,
    size: tuple[int, int] | None,
    protocol: str,
    n: int | None,
    lpips: Sequence[Path],
    json: Path | None,
    device: str,
) -> None:
    """Measure an autoencoder on clips: ``longtake reconstruct --metrics``."""
    from longtake.cli.progress import stages
    from longtake.cli.tables import print_result
    from longtake.distributed import Ranks
    from longtake.evaluation.evaluate import Work
    from longtake.evaluation.names import FORMS, open_side
    from longtake.evaluation.protocols import protocol as ready
    from longtake.evaluation.reconstruction import evaluate_reconstruction, perceptual
    from longtake.model import VideoModel

    chosen = ready(protocol, n=n)
    ranks = Ranks(device=arguments.device(device))
    opened = VideoModel.from_pretrained(model, device=ranks.device)
    side = open_side(source, size or opened.autoencoder.spec.clip[1:])
    if side is None:
        raise ValueError(f"{source}: is a model, expected videos: {FORMS}")
    distance = perceptual(lpips)
    if distance is not None:
        distance = distance[0], distance[1].to(ranks.device)
    with stages() as report:
        result = evaluate_reconstruction(
            model,
            opened.autoencoder,
            side,
            chosen,
            Work(ranks=ranks, report=report),
            size=size,
            perceptual=distance,
        )
    if json is not None:
        result.write(json)
    print_result(result)


def free(path: Path | None, overwrite: bool) -> Path | None:
    """A place for a file.

    Raises:
        ValueError: something stands there.
    """
    from longtake.checkpoint import check_free

    return None if path is None else check_free(path, overwrite)


def _changes(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Settings of the protocol, and settings of a model's sampling."""
    from longtake.model import Sampling

    changes = [name for name in names if CHANGE.match(name)]
    of_sampling = [c for c in changes if re.split(r"[.=]", c)[0] in Sampling.model_fields]
    return [c for c in changes if c not in of_sampling], of_sampling


def _sides(names: Sequence[str]) -> list[str]:
    return [name for name in names if not CHANGE.match(name)]


def _check_read(values: Mapping[str, object]) -> None:
    """Refuse options that are not read beside a flag, or without ``--drift``."""
    declared = signature(evaluate).parameters
    given = {name for name, value in values.items() if value != declared[name].default}
    flag = next((name for name in READ if name in given), None)
    unread = given - READ[flag] - {flag} if flag else given & REPORT
    if unread:
        names = " and ".join(f"--{name}" for name in sorted(unread))
        beside = f"beside --{flag}" if flag else "without --drift"
        raise ValueError(f"{names}: not read {beside}; leave away what does not belong together")


def _list_protocols() -> None:
    from longtake.evaluation.protocols import ABOUT, READY

    for name, protocol in READY.items():
        print(f"{name:<18} {protocol.hash}  {ABOUT[name]}")


def _drift(
    names: Sequence[str],
    out: Path,
    window: int,
    chunk: int | None,
    device: str,
    *,
    overwrite: bool,
) -> None:
    from longtake.cli.progress import frames as progress
    from longtake.drift import DriftPlan, write_report
    from longtake.drift.world_measures import WorldName

    if not 1 <= len(names) <= 2:
        raise ValueError(f"--drift needs a video or a folder of them, got {len(names)} names")
    *real, video = names
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


def _compare(paths: Sequence[Path]) -> None:
    from longtake.cli.tables import print_comparison
    from longtake.evaluation.result import Result, check_comparable

    if len(paths) < 2:
        raise ValueError(f"--compare needs at least two result files, got {len(paths)}")
    results = [Result.read(path) for path in paths]
    check_comparable(results, [str(path) for path in paths])
    print_comparison(results, [path.stem for path in paths])
