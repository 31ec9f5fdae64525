"""Commands that make something: train, sample, reconstruct."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from longtake.cli import arguments

if TYPE_CHECKING:
    from longtake.generate import Job, LongVideo
    from longtake.model import VideoModel
    from longtake.progress import ProgressCallback

Overrides = Annotated[
    list[str] | None, typer.Argument(help="settings to change, as a.b=value", show_default=False)
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what stands there")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto")]


def fit(
    preset: Annotated[str, typer.Argument(help="name of a preset, or a YAML file")],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="the run's folder; runs/PRESET by default")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Train from a preset. The same command again continues where it stopped.

    Runs on one process, or on many under torchrun.
    """
    from longtake import run_folder, runs
    from longtake.cli.progress import training
    from longtake.distributed import join
    from longtake.training.trainer import Interrupted

    run = runs.read_run(preset, overrides or [])
    folder = out or Path("runs") / Path(preset).stem
    with join() as ranks:
        try:
            with training(ranks.main) as (report, cached):
                callbacks = runs.Callbacks(training=report, encoding=cached)
                run_folder.start(run, folder, ranks, callbacks, overwrite=overwrite)
        except Interrupted as stopped:
            print(stopped, file=sys.stderr)
            raise typer.Exit(130) from stopped
    if ranks.main:
        print(f"{folder / 'model'}: ready; log, checkpoints and samples are in {folder}")


def generate(  # noqa: PLR0913
    model: Annotated[str, typer.Argument(help="shipped name, model folder, run or hub id")],
    overrides: Overrides = None,
    frames: Annotated[int, typer.Option(min=1, help="length of each video")] = 64,
    seed: Annotated[str, typer.Option(help="7, 0,3,5 or 0..3: a video each")] = "0",
    out: Annotated[Path, typer.Option("--out", "-o", help="folder, or file for one seed")] = Path(
        "out"
    ),
    label: Annotated[str | None, typer.Option(help="class: its number or words of it")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="sampler.steps=N")] = None,
    fps: Annotated[float | None, typer.Option(help="frames a second; the model's own")] = None,
    kind: Annotated[str, typer.Option("--format", help="mp4, mov, mkv, gif or png")] = "mp4",
    batch: Annotated[int, typer.Option(min=1, help="videos made at once")] = 1,
    sheet: Annotated[bool, typer.Option("--sheet", help="a contact sheet beside each")] = False,
    device: Device = "auto",
    precision: arguments.Precision = "float32",
    compiled: Annotated[bool, typer.Option("--compile", help="compile the denoisers")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Make videos of any length; interrupted, the same command continues where it stopped.

    Under torchrun, processes share the videos. Settings are those of sampling, such as
    guidance.kind=classifier_free, rollout.kind=autoregressive, next.sampler.steps=20.
    """
    from longtake.cli.progress import frames as progress
    from longtake.distributed import launched
    from longtake.generate import Job, unfinished
    from longtake.model import VideoModel, sampling_with

    numbers = arguments.seeds(seed)
    paths = arguments.video_paths(out, numbers, kind)
    ranks = launched()  # no process waits for another
    place = ranks.device if ranks.size > 1 else arguments.device(device)
    opened = VideoModel.from_pretrained(model, device=place, dtype=arguments.dtype(precision))
    changes = [*(overrides or []), *([f"sampler.steps={steps}"] if steps else [])]
    sampling = sampling_with(opened.index.sampling, changes)
    if compiled:
        opened.compile()
    video = opened.long_video(sampling)
    identity = {
        "weights": opened.index.weights,
        "sampling": sampling.model_dump(mode="json"),
        "label": label,
        "precision": precision,
        "compiled": compiled,
    }
    jobs = [
        Job(
            request=opened.request(numbers[first : first + batch], label),
            paths=paths[first : first + batch],
            frames=frames,
            fps=fps or opened.index.fps,
            identity=identity,
        )
        for first in range(0, len(numbers), batch)
    ]
    for job in unfinished(ranks.shard(jobs)):
        with progress(", ".join(path.name for path in job.paths), ranks.main) as report:
            rate = _write(video, job, overwrite, report)
        _print_made(opened, job, rate, sheet)


def _write(video: "LongVideo", job: "Job", overwrite: bool, report: "ProgressCallback") -> float:
    """Write the videos of a job; returns the frames per second of all of them."""
    from longtake.generate import write_videos

    began = time.perf_counter()
    made = write_videos(video, job, overwrite=overwrite, report=report)
    return made * len(job.paths) / (time.perf_counter() - began)


def _print_made(model: "VideoModel", job: "Job", rate: float, sheet: bool) -> None:
    """Print a line per video: its length, the speed of its batch, and its class."""
    from longtake import previews

    label = job.request.signals.get("label")
    rows = [-1] * len(job.paths) if label is None else label.value.tolist()
    for path, row in zip(job.paths, rows, strict=True):
        title = f": {model.index.classes[row]}" if row >= 0 else ""
        print(f"{path}: {job.frames} frames, {rate:.1f} frames/s{title}")
        if sheet:
            previews.overview(path, path.with_name(f"{path.stem}_sheet.png"))


class Reconstruct(TyperCommand):
    """Answers the former option ``--metrics`` with the command that replaced it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        arguments.refuse_moved(args, {"--metrics": "longtake evaluate reconstruction MODEL SOURCE"})
        return super().parse_args(ctx, args)


def reconstruct(
    model: Annotated[str, typer.Argument(help="shipped name, model folder, run or hub id")],
    source: Annotated[Path, typer.Argument(help="a video, or a folder of videos")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder")] = Path("out"),
    size: Annotated[
        str | None, typer.Option(help="resize and crop frames to 64 or HEIGHTxWIDTH")
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Encode and decode videos of any length, side by side with the original; prints PSNR."""
    from longtake.cli.progress import frames as progress
    from longtake.model import VideoModel
    from longtake.reconstruct import reconstruct_file, videos_under

    opened = VideoModel.from_pretrained(model, device=arguments.device(device))
    out.mkdir(parents=True, exist_ok=True)
    for path in videos_under(source):
        with progress(path.name) as report:
            result = reconstruct_file(
                opened.autoencoder,
                path,
                _below(out, path, source),
                size=None if size is None else arguments.size(size),
                overwrite=overwrite,
                report=report,
            )
        print(f"{result.path}: {result.frames} frames, PSNR {result.psnr:.2f} dB")


def _below(out: Path, video: Path, source: Path) -> Path:
    """Where a video's reconstruction goes: ``out``, in the subfolders of the source."""
    inside = video.relative_to(source) if source.is_dir() else Path(video.name)
    place = (out / inside).with_suffix(".mp4")
    place.parent.mkdir(parents=True, exist_ok=True)
    return place
