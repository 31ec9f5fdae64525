"""Commands that measure videos: ``evaluate``, ``evaluate reconstruction``, ``compare``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from longtake.cli import arguments

if TYPE_CHECKING:
    from longtake.evaluation.result import Result

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="[REAL] FAKE [A.B=VALUE]...",
        help="two sources, or a model; settings of the protocol or of a model's sampling",
    ),
]
Protocol = Annotated[str, typer.Option(help="name of a protocol; `longtake protocols` lists them")]
Clips = Annotated[
    int | None, typer.Option("--n", min=4, help="number of clips; the protocol's by default")
]
Json = Annotated[Path | None, typer.Option(help="file to write the result to")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace the result file")]
Floor = Annotated[bool, typer.Option(help="also measure real clips against other real clips")]
Limit = Annotated[
    bool, typer.Option("--limit", help="also extrapolate FVD to infinitely many clips")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto")]

MOVED = {
    "--compare": "longtake compare A.json B.json",
    "--protocols": "longtake protocols",
    "--drift": "longtake drift [REAL] VIDEO",
}


class _Group(TyperGroup):
    """Runs its first command where the first word names none of its commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        arguments.refuse_moved(args, MOVED)
        if args and args[0] not in (*self.commands, "--help"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    help="Measure videos; `longtake evaluate [REAL] FAKE` is short for `longtake evaluate videos`.",
)


@app.command("videos")
def videos(  # noqa: PLR0913
    sources: Sources,
    protocol: Protocol = "longtake",
    n: Clips = None,
    metrics: Annotated[str, typer.Option(help="comma-separated: fvd, kvd, is")] = "fvd,kvd",
    json: Json = None,
    seed: Annotated[int, typer.Option(min=0, help="of clips, starts and samples")] = 0,
    floor: Floor = True,
    limit: Limit = False,
    keep: Annotated[Path | None, typer.Option(help="folder to keep a model's videos in")] = None,
    label: Annotated[str | None, typer.Option(help="class of a model's videos")] = None,
    precision: arguments.Precision = "float32",
    batch: Annotated[int, typer.Option(min=1, help="clips computed at once")] = 8,
    weights: Annotated[Path | None, typer.Option(help="file of the feature network")] = None,
    cache: Annotated[Path | None, typer.Option(help="folder of cached features")] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """Measure generated videos against real ones: FVD and KVD with interval and floor (default).

    A source is a folder of videos or of folders of frames, an array file (.npy, .npz,
    .safetensors), a data set (ucf101:train:FOLDER), a synthetic world (sky:test:64) or a model. A
    model of a synthetic world needs no REAL. Features are cached, so a stopped command continues.
    """
    from longtake.cli.progress import stages
    from longtake.distributed import join
    from longtake.evaluation.evaluate import evaluate, named
    from longtake.evaluation.extraction import FeatureCache, default_cache
    from longtake.evaluation.feature_sets import EvaluationSettings
    from longtake.evaluation.opening import SamplingSettings, open_sources
    from longtake.evaluation.protocols import protocol as ready

    _check_free(json, overwrite)
    wanted = named(metrics)
    names, of_protocol, of_sampling = _routed(sources)
    chosen = ready(protocol, of_protocol, n)
    number_format = arguments.dtype(precision)
    sampling = SamplingSettings(
        changes=of_sampling, label=label, batch=batch, seed=seed, keep=keep, dtype=number_format
    )
    with join() as ranks, stages(ranks.main) as report:
        placed = arguments.placed(ranks, device)
        real, generated = open_sources(names, chosen, sampling, placed)
        settings = EvaluationSettings(
            ranks=placed,
            cache=FeatureCache(folder=cache or default_cache()),
            batch=batch,
            weights=weights and str(weights),
            floor=floor,
            limit=limit,
            seed=seed,
            report=report,
        )
        result = evaluate(real, generated, chosen, wanted, settings)
    if ranks.main:
        _show(result, json)


@app.command("reconstruction")
def reconstruction(  # noqa: PLR0913
    model: Annotated[str, typer.Argument(help="shipped name, model folder, run or hub id")],
    source: Annotated[str, typer.Argument(help="videos, in any form that `evaluate` takes")],
    size: Annotated[
        str | None, typer.Option(help="resize and crop frames to 64 or HEIGHTxWIDTH")
    ] = None,
    protocol: Protocol = "longtake",
    n: Clips = None,
    lpips: Annotated[
        list[Path] | None, typer.Option(help="weights files of VGG16 and of LPIPS's heads")
    ] = None,
    json: Json = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """Measure an autoencoder on clips: PSNR, SSIM, a perceptual distance and FVD."""
    from longtake.cli.progress import stages
    from longtake.distributed import Ranks
    from longtake.evaluation.feature_sets import EvaluationSettings
    from longtake.evaluation.opening import SamplingSettings, open_source
    from longtake.evaluation.protocols import protocol as ready
    from longtake.evaluation.reconstruction import evaluate_reconstruction, perceptual
    from longtake.model import VideoModel

    _check_free(json, overwrite)
    chosen = ready(protocol, n=n)
    height_width = None if size is None else arguments.size(size)
    ranks = Ranks(device=arguments.device(device))
    autoencoder = VideoModel.from_pretrained(model, device=ranks.device).autoencoder
    size_of_worlds = height_width or autoencoder.spec.clip[1:]
    videos = open_source(source, "real", chosen, SamplingSettings(), ranks, size_of_worlds)
    with stages() as report:
        result = evaluate_reconstruction(
            model,
            autoencoder,
            videos,
            chosen,
            EvaluationSettings(ranks=ranks, report=report),
            size=height_width,
            perceptual=perceptual(lpips or [], ranks.device),
        )
    _show(result, json)


def compare(
    results: Annotated[list[Path], typer.Argument(help="result files of `longtake evaluate`")],
) -> None:
    """Show result files of one protocol side by side."""
    from longtake.cli.tables import print_comparison
    from longtake.evaluation.result import Result, check_comparable

    if len(results) < 2:
        raise ValueError(f"compare needs at least two result files, got {len(results)}")
    read = [Result.read(path) for path in results]
    check_comparable(read, [str(path) for path in results])
    print_comparison(read, [path.stem for path in results])


def protocols() -> None:
    """List evaluation protocols with their hashes."""
    from longtake.evaluation.protocols import ABOUT, READY

    for name, protocol in READY.items():
        print(f"{name:<18} {protocol.hash}  {ABOUT[name]}")


def _routed(sources: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Names of sources, settings of the protocol, and settings of a model's sampling."""
    from longtake.model import Sampling

    names, changes = arguments.split_overrides(sources)
    sampling = [c for c in changes if c.split("=")[0].split(".")[0] in Sampling.model_fields]
    return names, [change for change in changes if change not in sampling], sampling


def _check_free(json: Path | None, overwrite: bool) -> None:
    from longtake.checkpoint import check_free

    if json is not None:
        check_free(json, overwrite)


def _show(result: "Result", json: Path | None) -> None:
    from longtake.cli.tables import print_result

    if json is not None:
        result.write(json)
    print_result(result)
