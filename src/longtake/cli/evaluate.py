"""Commands that measure videos: ``evaluate``, ``compare``, ``protocols`` and ``drift``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer import Argument, Option
from typer.core import TyperGroup

from longtake.cli import arguments, conditions
from longtake.config import nearest

if TYPE_CHECKING:
    from longtake.evaluation.result import Result

Sources = Annotated[
    list[str],
    Argument(
        metavar="[REAL] GENERATED [A.B=VALUE]...",
        help="two sources, or a model; settings of the protocol or of a model's sampling",
    ),
]
Protocol = Annotated[str, Option(help="name of a protocol; `longtake protocols` lists them")]
Json = Annotated[Path | None, Option(help="JSON file to write the result to")]
Label = Annotated[
    str | None,
    Option(help="class of all videos of a model, number or words [default: each seed draws one]"),
]
Floor = Annotated[bool, Option(help="also measure real clips against other real clips")]
Limit = Annotated[
    bool, Option("--limit", help="also estimate what FVD would be with very many clips")
]


class _Group(TyperGroup):
    """Group of commands that runs its first one if the first word names none of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    help="Measure videos by FVD, KVD and other metrics.\n\n"
    "`evaluate [REAL] GENERATED` is short for `evaluate videos [REAL] GENERATED`.",
)


@app.command()
def videos(  # noqa: PLR0913
    sources: Sources,
    protocol: Protocol = "longtake",
    n: arguments.Clips = None,
    metrics: Annotated[
        str, Option(help="comma-separated: fvd, kvd, is, clipsim, attributes")
    ] = "fvd,kvd",
    json: Json = None,
    seed: arguments.Seed = 0,
    floor: Floor = True,
    limit: Limit = False,
    keep: Annotated[Path | None, Option(help="folder to keep a model's videos in")] = None,
    label: Label = None,
    prompts: conditions.PromptsOf = None,
    text_encoder: conditions.Encoder = None,
    captions: conditions.CaptionsOf = None,
    clip: Annotated[Path | None, Option(help="folder of a CLIP model, for clipsim")] = None,
    precision: arguments.Precision = "float32",
    backend: arguments.RunBy = "torch",
    students: arguments.Students = False,
    batch: arguments.Batch = 8,
    weights: arguments.Weights = None,
    cache: arguments.Cache = None,
    overwrite: arguments.Overwrite = False,
    device: arguments.Device = "auto",
) -> None:
    """Compare generated with real videos, by FVD and KVD.

    A source is a folder of videos or of folders of frames, an array file (.npy, .npz,
    .safetensors), a data set (ucf101:train:FOLDER), a synthetic one (sky:test:64) or a model. A
    model of a synthetic data set needs no REAL, nor do the metrics is, clipsim and attributes.
    """
    from longtake.cli.progress import stages
    from longtake.distributed import join
    from longtake.evaluation.evaluate import compares, evaluate, named
    from longtake.evaluation.extraction import FeatureCache, default_cache
    from longtake.evaluation.feature_sets import EvaluationSettings
    from longtake.evaluation.opening import SamplingSettings, open_sources
    from longtake.evaluation.protocols import protocol as ready

    _check_free(json, overwrite)
    wanted = named(metrics)
    names, of_protocol, of_sampling = _routed(sources)
    chosen = ready(protocol, of_protocol, n)
    said = conditions.Captions(prompts, captions, text_encoder)
    run_by, dtype = arguments.run_by(backend, precision)
    sampling = SamplingSettings(changes=of_sampling, label=label, batch=batch, seed=seed, keep=keep)
    sampling = replace(sampling, dtype=dtype, backend=run_by, students=students)
    sampling = replace(sampling, **said.of_model())
    with join() as ranks, stages(ranks.main) as report:
        placed = arguments.placed(ranks, device)
        shown, alone = said.of_folder(), not compares(wanted)
        real, generated = open_sources(names, chosen, sampling, placed, captions=shown, alone=alone)
        settings = EvaluationSettings(ranks=placed, batch=batch, seed=seed, floor=floor, clip=clip)
        features = FeatureCache(folder=cache or default_cache())
        path = None if weights is None else str(weights)
        settings = replace(settings, cache=features, limit=limit, weights=path, report=report)
        result = evaluate(real, generated, chosen, wanted, settings)
    if ranks.main:
        _show(result, json)


@app.command()
def reconstruction(  # noqa: PLR0913
    model: arguments.Model,
    source: Annotated[str, Argument(help="videos, in any form that `evaluate` takes")],
    size: arguments.Size = None,
    protocol: Protocol = "longtake",
    n: arguments.Clips = None,
    lpips: Annotated[
        list[Path] | None,
        Option(
            help="weights for LPIPS; give it twice: VGG16's file, and that of LPIPS's linear layers"
        ),
    ] = None,
    decoder: arguments.Decoder = "full",
    json: Json = None,
    overwrite: arguments.Overwrite = False,
    device: arguments.Device = "auto",
) -> None:
    """Measure an autoencoder's reconstructions of clips.

    Prints PSNR, SSIM, a perceptual distance, and the FVD between clips and reconstructions.
    """
    from longtake.cli.progress import stages
    from longtake.distributed import Ranks
    from longtake.evaluation.feature_sets import EvaluationSettings
    from longtake.evaluation.opening import SamplingSettings, open_source
    from longtake.evaluation.protocols import protocol as ready
    from longtake.evaluation.reconstruction import evaluate_reconstruction
    from longtake.metrics.pairs import perceptual
    from longtake.model import VideoModel

    _check_free(json, overwrite)
    chosen = ready(protocol, n=n)
    height_width = None if size is None else arguments.size(size)
    ranks = Ranks(device=arguments.device(device))
    opened = VideoModel.from_pretrained(model, device=ranks.device)
    autoencoder = opened.autoencoder_with(decoder)
    size_of_worlds = height_width or autoencoder.spec.clip[1:]
    videos = open_source(source, "real", chosen, SamplingSettings(), ranks, size_of_worlds)
    with stages() as report:
        settings = EvaluationSettings(ranks=ranks, report=report)
        distance = perceptual(lpips or [], ranks.device)
        result = evaluate_reconstruction(
            model, autoencoder, videos, chosen, settings, size=height_width, perceptual=distance
        )
    _show(result, json)


def compare(
    results: Annotated[list[Path], Argument(help="result files of `longtake evaluate`")],
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


def drift(
    videos: Annotated[
        list[str],
        Argument(
            metavar="[REAL] VIDEO",
            help="a long video or a folder of them; before it, real videos (a folder or a file), "
            "whose findings do not count as faults, or sky or marbles, which are known by formula",
        ),
    ],
    out: arguments.FolderOut = Path("drift"),
    window: Annotated[int, Option(min=9, help="number of frames that are measured together")] = 16,
    chunk: Annotated[
        int | None, Option(min=2, help="frames between borders of clips; default: search for them")
    ] = None,
    device: arguments.Device = "auto",
    overwrite: arguments.Overwrite = False,
) -> None:
    """Find where long videos drift, loop or freeze.

    Prints the findings and writes a report: drift.html, drift.png and drift.json.
    """
    from longtake.cli.progress import frames as progress
    from longtake.drift import DriftPlan, write_report
    from longtake.drift.world_measures import WorldName
    from longtake.video.archive import is_file, is_folder

    if len(videos) > 2:
        raise ValueError(
            "drift takes a video or a folder of them, and before it real videos or a data set; got "
            f"{len(videos)} names"
        )
    *real, video = videos
    worlds = get_args(WorldName)
    world = next((name for name in worlds if [name] == real), None)
    if real and world is None and not (is_folder(Path(real[0])) or is_file(Path(real[0]))):
        known = f"a file, a folder, or {' or '.join(worlds)}"
        raise ValueError(f"{real[0]}: is not there; expected {known}; {nearest(real[0], worlds)}")
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
        print(arguments.on_command_line(line))


def _routed(sources: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Split arguments into names of sources, overrides of the protocol, and those of sampling."""
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
