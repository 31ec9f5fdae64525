"""Commands that make something: train, sample, reconstruct."""

import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from longtake.cli import arguments, conditions, given
from longtake.config import plural

if TYPE_CHECKING:
    from longtake.backends import Backend
    from longtake.distributed import Ranks
    from longtake.generate import VideoStream
    from longtake.model import VideoModel
    from longtake.runs import AnyRun

BEFORE = "made before the interruption"

Steps = Annotated[
    int | None, Option(min=1, help="number of sampler steps; default: the model's own")
]
Fps = Annotated[
    float | None,
    Option(
        help="frames per second of the files; default: the model's, with --interpolate those that "
        "keep the video's speed"
    ),
]

VideosOut = Annotated[Path, Option("--out", "-o", help="folder of the videos, or one video file")]
Sheet = Annotated[bool, Option("--sheet", help="also write a picture of 32 frames of each")]
Compiled = Annotated[bool, Option("--compile", help="compile the denoisers by torch.compile")]
Side = Annotated[
    int | None,
    Option(
        min=8,
        help="height and width of frames in pixels [default: on a CPU 64, with pvdm 32; on a GPU "
        "128]",
    ),
]
Denoisers = Annotated[
    int | None,
    Option(
        help="LVDM's denoisers: 1, or 2 (keyframes; frames between) [default: 2 if the budget "
        "is 1h or more, on a GPU 10m]"
    ),
]
InitFrom = Annotated[
    str | None,
    Option(
        "--from",
        help="model whose autoencoder to start from, or none for random weights [default: "
        "none; on a CPU, with at most 64 pixels, lvdm-general or pvdm-general]",
    ),
]
Format = Annotated[str | None, Option("--format", help="mp4, mov, mkv, gif or png [default: mp4]")]


def fit(
    preset: Annotated[
        str, Argument(help="name of a preset (`longtake inspect` lists them), or a YAML file")
    ],
    overrides: arguments.Overrides = None,
    out: Annotated[
        Path | None, Option("--out", "-o", help="folder of the run; default: runs/PRESET")
    ] = None,
    overwrite: arguments.Overwrite = False,
    fork: Annotated[
        Path | None, Option(help="folder of a new run that starts from the last checkpoint of -o")
    ] = None,
) -> None:
    """Train a network by a preset or a YAML file.

    After a stop the same command continues. Runs on one process, or on many under torchrun.
    """
    from longtake.distributed import join
    from longtake.runs import read_run

    run = read_run(preset, overrides or [])
    folder = out or Path("runs") / Path(preset).stem
    with join() as ranks:
        carry_out(run, folder, ranks, overwrite=overwrite, fork=fork)
    folder = fork or folder
    if ranks.main:
        print(f"{folder / 'model'}: ready; log, checkpoints and samples are in {folder}")


def carry_out(run: "AnyRun", folder: Path, ranks: "Ranks", **start: Any) -> None:
    """Carry out a run with a progress bar; an interruption exits with its signal's code.

    ``start`` are further arguments of ``run_folder.start``, such as ``overwrite``.
    """
    from longtake import run_folder
    from longtake.cli.progress import training

    with _reported_when_interrupted(), training(shown=ranks.main) as callbacks:
        run_folder.start(run, folder, ranks, callbacks, **start)


@contextmanager
def _reported_when_interrupted() -> Generator[None]:
    """Print where an interrupted training stopped, and exit with its signal's code."""
    from longtake.training.trainer import Interrupted

    try:
        yield
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        raise typer.Exit(stopped.exit_code) from stopped


def train(
    footage: Annotated[Path, Argument(help="a folder of videos, or one video")],
    overrides: Annotated[
        list[str] | None,
        Argument(help="settings to change, as STAGE.a.b=value", show_default=False),
    ] = None,
    out: Annotated[Path, Option("--out", "-o", help="folder to write to")] = Path("mymodel"),
    budget: Annotated[
        str | None, Option(help="time for everything, such as 90s, 20m or 2h [default: 2h]")
    ] = None,
    system: Annotated[str | None, Option(help="lvdm or pvdm [default: lvdm]")] = None,
    size: Side = None,
    denoisers: Denoisers = None,
    init_from: InitFrom = None,
) -> None:
    """Train a model of a folder of videos within a time.

    Trains an autoencoder unless the initial one is good enough, encodes the footage, trains the
    denoisers, makes videos and measures the model on held-out footage. After a stop the same
    command continues. OUT/index.html shows the progress; OUT is then a model. Each stage is a run,
    whose config in OUT/configs `longtake fit` reads too.
    """
    from longtake import config
    from longtake.cli import progress
    from longtake.distributed import join
    from longtake.pipeline.output import Output
    from longtake.pipeline.train import Asked
    from longtake.pipeline.train import train as train_in_stages

    seconds = None if budget is None else arguments.seconds(budget)
    given = {"system": system, "size": size, "denoisers": denoisers, "init_from": init_from}
    given |= {"budget_seconds": seconds}
    asked = config.parse(Asked, given)
    output = Output(
        say=_say,
        training=progress.training,
        bar=lambda title, unit: progress.frames(title, unit=f" {unit}"),
    )
    with _reported_when_interrupted(), join() as ranks:
        made = train_in_stages(
            footage, out, ranks=ranks, output=output, asked=asked, overrides=overrides or []
        )
    print(f"{made}: ready; {out / 'index.html'} shows how it was trained")


def _say(line: str) -> None:
    print(line, flush=True)


def generate(  # noqa: PLR0913
    model: arguments.Model,
    overrides: arguments.Overrides = None,
    frames: given.Frames = None,
    seed: Annotated[str, Option(help="seeds, a video each: 7, 0,3,5 or 0..3 (0 to 3)")] = "0",
    out: VideosOut = Path("out"),
    label: conditions.Label = None,
    prompt: conditions.PromptText = None,
    negative: conditions.Negative = None,
    prompts: conditions.Prompts = None,
    text_encoder: conditions.Encoder = None,
    steps: Steps = None,
    fps: Fps = None,
    kind: Format = None,
    batch: arguments.Batch = 1,
    sheet: Sheet = False,
    start: given.StartImage = None,
    end: given.EndImage = None,
    continued: given.Continue = None,
    between: given.Between = None,
    interpolate: given.Interpolate = None,
    factor: given.Factor = None,
    loop: given.Loop = False,
    at: given.GivenAt = None,
    device: arguments.Device = "auto",
    precision: arguments.Precision = "float32",
    backend: arguments.RunBy = "torch",
    students: arguments.Students = False,
    decoder: arguments.Decoder = "full",
    compiled: Compiled = False,
    overwrite: arguments.Overwrite = False,
) -> None:
    """Make videos of any length.

    After a stop the same command continues. Given frames are resized to the model's size and then
    appear unchanged. Under torchrun, processes share the videos. Settings are those of sampling,
    such as guidance.kind=classifier_free or next.sampler.steps=20.
    """
    from longtake.distributed import launched
    from longtake.model import sampling_with

    own = given.GivenOptions(start, end, continued, between, interpolate, factor, loop, at)
    says = conditions.Conditions(label, prompt, negative, prompts, text_encoder)
    videos = says.videos(out, arguments.seeds(seed), kind, batch)
    ranks = launched()  # no process waits for another
    arguments.check_compiled(compiled, backend)
    opened, run_by = _opened(model, ranks, device, backend, precision, students)
    changes = [*(overrides or []), *([f"sampler.steps={steps}"] if steps else [])]
    sampling = sampling_with(opened.index.sampling, changes)
    if compiled:
        opened.compile()
    video = opened.long_video(sampling, run_by, decoder)
    wired = given.wire(video, own, frames, opened.index.fps)
    ways = {"precision": precision, "compiled": compiled, **_run_by(run_by, decoder)}
    settings = {"weights": opened.index.weights, "sampling": sampling.model_dump(mode="json")}
    identity = {**wired.identity, **says.identity, **settings, **ways}
    wired = replace(wired, fps=wired.fps if fps is None else fps, sheets=sheet)
    plans = [conditions.plan(opened, wired, says, part, identity) for part in videos]
    _write_all(opened, wired.video, plans, out, ranks, overwrite)


def _run_by(backend: "Backend | None", decoder: str) -> dict[str, Any]:
    """Backend and decoder of videos, as JSON data, without those that are the default."""
    own = {} if backend is None else {"backend": dict(backend.identity)}
    return own if decoder == "full" else {**own, "decoder": decoder}


def _opened(
    name: str,
    ranks: "Ranks",
    device: str,
    backend: arguments.BackendName,
    precision: arguments.PrecisionName,
    students: bool,
) -> "tuple[VideoModel, Backend | None]":
    """Open a model on this process's device; return it and its backend (None: PyTorch)."""
    from longtake.model import VideoModel

    run_by, dtype = arguments.run_by(backend, precision)
    place = run_by.device if run_by and device == "auto" else device
    model = VideoModel.from_pretrained(
        name,
        device=ranks.device if ranks.size > 1 else arguments.device(place),
        dtype=dtype,
        students=students,
    )
    return model, run_by


def _write_all(
    model: "VideoModel",
    video: "VideoStream",
    plans: Sequence[conditions.Plan],
    out: Path,
    ranks: "Ranks",
    overwrite: bool,
) -> None:
    """Write this process's share of the videos that are not done, and print a line per video."""
    from longtake.cli.progress import frames as progress
    from longtake.distributed import job_name
    from longtake.jobs import open_jobs, write_job

    for note in dict.fromkeys(note for plan in plans for note in plan.notes) if ranks.main else ():
        print(note)
    jobs = [plan.job for plan in plans]
    found = {plan.job.paths[0]: plan for plan in plans}
    with open_jobs(jobs, out, overwrite=overwrite, group=job_name()) as outputs:
        for job in ranks.shard(jobs):
            plan = found[job.paths[0]]
            began = time.perf_counter()
            with progress(", ".join(path.name for path in job.paths), ranks.main) as report:
                made = write_job(video, job, outputs, report=report, steering=plan.steering)
            rate = made * len(job.paths) / (time.perf_counter() - began)
            _print_made(model, plan, f"{rate:.1f} frames/s" if made else BEFORE)


def _print_made(model: "VideoModel", plan: conditions.Plan, how: str) -> None:
    """Print a line per video: its length, the speed of its batch, its class and its prompt."""
    job = plan.job
    for row, path in enumerate(job.paths):
        words = model.labels.words(job.request.signals, row)
        words += [] if plan.prompt is None else [plan.prompt]
        print(
            f"{path}: {plural(job.frames, 'frame')}, {how}{''.join(f': {each}' for each in words)}"
        )


def reconstruct(
    model: arguments.Model,
    source: Annotated[Path, Argument(help="a video, or a folder of videos")],
    out: arguments.FolderOut = Path("out"),
    size: arguments.Size = None,
    decoder: arguments.Decoder = "full",
    device: arguments.Device = "auto",
    overwrite: arguments.Overwrite = False,
) -> None:
    """Encode and decode videos of any length; prints PSNR.

    Each file shows a video on the left and its reconstruction on the right. After a stop the same
    command continues with the next video. Videos of a folder that are damaged or of an unfit size
    are listed at the end, with exit code 1.
    """
    from longtake.cli.progress import frames as progress
    from longtake.model import VideoModel
    from longtake.outputs import open_outputs
    from longtake.reconstruct import UnfitError, places_for, reconstruct_file, videos_under

    height_width = None if size is None else arguments.size(size)
    videos = videos_under(source)
    places = places_for(videos, source, out)
    opened = VideoModel.from_pretrained(model, device=arguments.device(device))
    autoencoder = opened.autoencoder_with(decoder)
    request = {
        "weights": opened.index.weights,
        "source": str(source.resolve()),
        "size": height_width,
        **({} if decoder == "full" else {"decoder": decoder}),
    }
    sets, faults = [[place] for place in places], list[UnfitError]()
    with open_outputs(out, "reconstruct", request, sets, overwrite=overwrite) as outputs:
        for path, files in zip(videos, sets, strict=True):
            if outputs.made(files):
                print(f"{files[0]}: {BEFORE}")
                continue
            made = outputs.folder(files) / files[0].name
            try:
                with progress(path.name) as report:
                    result = reconstruct_file(
                        autoencoder, path, made, size=height_width, overwrite=True, report=report
                    )
            except UnfitError as error:
                if path == source:
                    raise
                faults.append(error)
                continue
            outputs.put(files)
            frames = plural(result.frames, "frame")
            print(f"{files[0]}: {frames}, PSNR {result.psnr:.2f} dB")
    for fault in faults:
        print(fault)
    if faults:
        print(
            f"{source}: {len(faults)} of {len(videos)} videos were not reconstructed",
            file=sys.stderr,
        )
        raise typer.Exit(1)
