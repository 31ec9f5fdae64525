"""Results of training autoencoder, then denoisers: long videos, evaluations, a model card."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from string import Template
from typing import NamedTuple

import torch

import longtake
from longtake.checkpoint import write_text
from longtake.config import plural
from longtake.data.cache_plan import CachePlan, PlannedClips
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.distributed import Ranks
from longtake.evaluation.during_training import small_protocol
from longtake.evaluation.evaluate import evaluate
from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.evaluation.protocols import Protocol
from longtake.evaluation.reconstruction import evaluate_reconstruction
from longtake.evaluation.result import Result
from longtake.features import i3d
from longtake.hub import INDEX
from longtake.jobs import Job, open_jobs, write_videos
from longtake.metrics.pairs import perceptual, psnr
from longtake.model import VideoModel
from longtake.model.index import read_model_files
from longtake.model_videos import ModelVideos
from longtake.page.document import duration
from longtake.page.run_page import RunFiles
from longtake.pipeline.footage import half
from longtake.pipeline.plan import Plan, PlannedResults, PlannedStage, seconds_spent
from longtake.pipeline.stages import RUNS
from longtake.progress import ProgressCallback
from longtake.reconstruct import reconstruct_frames
from longtake.runs import DiffusionRun
from longtake.training.log import environment
from longtake.video import to_model

MODEL, VIDEOS, EVALUATION, RECONSTRUCTION = "model", "videos", "evaluation", "reconstruction"
CARD = "README.md"
FEW_CLIPS = 8
MOST_FRAMES, FEWEST_FRAMES, MOST_CLIPS, FEWEST_CLIPS, LEAST_CLIPS = 512, 64, 256, 16, 8
FRAMES_TO_A_CLIP = {1: 20, 2: 48}  # sampled to make one of 16, by the number of denoisers
I3D_SECONDS = 0.8  # of a clip on a CPU core
EVALUATION_SHARE, MOST_EVALUATIONS, FEWEST_EVALUATIONS = 0.05, 8, 2  # of a run, while it trains
Bar = Callable[[str, str], AbstractContextManager[ProgressCallback]]  # of a title and a unit


def planned_results(
    plan: Plan, last: PlannedStage, seconds: float, frames: int, device: torch.device
) -> PlannedResults:
    """Choose how many videos to sample and clips to measure in about ``seconds``.

    Half of the time is for each. Videos have 64 to 512 frames. If it is short there are fewer
    videos, down to one, and fewer clips, down to eight.

    Args:
        plan: plan of the training in stages (autoencoder, then denoisers).
        last: the last run, whose measured time of a preview gives the speed of sampling; without
            that, four videos of 64 frames and 16 clips are chosen.
        seconds: time for sampling and measuring together.
        frames: number of frames in a preview of the last run.
        device: device of the networks.
    """
    if last.preview is None:
        return PlannedResults(frames=FEWEST_FRAMES, clips=FEWEST_CLIPS)
    rate = frames / max(last.preview, 1e-3)
    possible = rate * seconds / 2
    videos = min(max(int(possible / FEWEST_FRAMES), 1), PlannedResults().videos)
    length = int(possible / videos) // 16 * 16
    sampled = FRAMES_TO_A_CLIP[plan.denoisers] / rate
    clips = int(seconds / 2 / (sampled + 3 * _feature_seconds(device)))
    most = max(FEWEST_CLIPS, min(MOST_CLIPS, plan.footage.held_out_clips))
    return PlannedResults(
        videos=videos,
        frames=min(max(length, FEWEST_FRAMES), MOST_FRAMES),
        clips=min(max(clips, LEAST_CLIPS), most),
    )


def planned_evaluations(
    run: DiffusionRun, denoisers: int, preview: float, seconds: float, device: torch.device
) -> tuple[int, float]:
    """Number of times, at most 8, a run measures its model in training, and the seconds they take.

    Each time it measures 16 clips. Together that takes at most a twentieth of ``seconds``; if that
    is not enough for two times, both are 0.

    Args:
        run: config of the run.
        denoisers: number of denoisers of the system, 1 or 2.
        preview: measured time of a preview, in seconds.
        seconds: time that the run may take.
        device: device of the networks.
    """
    rate = run.preview_frames * run.num_previews / max(preview, 1e-3)
    each = FEWEST_CLIPS * (FRAMES_TO_A_CLIP[denoisers] / rate + _feature_seconds(device))
    real = FEWEST_CLIPS * _feature_seconds(device)
    times = min(int((EVALUATION_SHARE * seconds - real) / each), MOST_EVALUATIONS)
    return (times, real + times * each) if times >= FEWEST_EVALUATIONS else (0, 0.0)


def _feature_seconds(device: torch.device) -> float:
    return I3D_SECONDS if device.type == "cpu" and i3d.cache_path().exists() else 0.0


def write_model(run: Path, out: Path, device: torch.device) -> VideoModel:
    """Copy a run's model to the folder ``model`` in ``out``, if it is not there, and load it.

    Raises:
        CheckpointError: the run has no model yet, or it is broken.
    """
    found = VideoModel.from_pretrained(run)
    index = out / MODEL / INDEX
    if not index.exists() or read_model_files(out / MODEL)[0].weights != found.index.weights:
        found.save_pretrained(out / MODEL, overwrite=True)
    return VideoModel.from_pretrained(out / MODEL, device=device)


def write_samples(model: VideoModel, out: Path, planned: PlannedResults, bar: Bar) -> None:
    """Sample long videos, each with a contact sheet, to the folder ``videos`` in ``out``.

    Videos that exist with their sheets are kept. ``bar(title, unit)`` is a context manager of a
    progress callback.

    Raises:
        VideoError: a file cannot be written.
        InUseError: another process writes these videos.
        FloatingPointError: latents or decoded frames are not finite.
    """
    for seed in range(planned.videos):
        path = out / VIDEOS / f"seed_{seed:04d}.mp4"
        path.parent.mkdir(exist_ok=True)
        identity = {"weights": model.index.weights, "frames": planned.frames}
        job = Job(
            request=model.request([seed]),
            paths=[path],
            frames=planned.frames,
            fps=model.index.fps,
            identity=identity,
            sheets=True,
        )
        if all(file.exists() for file in job.files):
            with open_jobs([job], path, overwrite=True):
                continue  # of which a kill may have left the hidden folder, that goes here
        with bar(path.name, "frames") as report:
            write_videos(model.long_video(), job, overwrite=True, report=report)


def measure_model(
    model: VideoModel, out: Path, plan: Plan, clips: int, ranks: Ranks, bar: Bar
) -> None:
    """Evaluate reconstructions and ``clips`` samples of a model on a plan's held-out footage.

    Writes ``reconstruction.json`` and ``evaluation.json`` to ``out``, unless they exist.
    ``bar(title, unit)`` is a context manager of a progress callback.

    Raises:
        ValueError: the footage has too few clips.
        FloatingPointError: a latent, frame or feature is not finite.
    """
    held = half(Path(plan.footage.path), "validation", 1, plan.footage.held_out)
    ready = held_out_protocol(plan, held, clips)
    with bar("measure", "clips") as report:
        settings = EvaluationSettings(ranks=ranks, report=lambda _, done, all_: report(done, all_))
        path = out / f"{RECONSTRUCTION}.json"
        if not path.exists():
            distance = perceptual([], ranks.device)
            evaluate_reconstruction(
                out.name, model.autoencoder, held, ready, settings, perceptual=distance
            ).write(path)
        path = out / f"{EVALUATION}.json"
        if not path.exists():
            sampled = ModelVideos(
                model_name=out.name,
                model=model,
                sampling=model.index.sampling,
                videos=clips,
                frames=ready.span("generated"),
            )
            evaluate(held, sampled, ready, ["fvd", "kvd"], settings).write(path)


def reconstruction_psnr(plan: Plan, device: torch.device) -> float:
    """Mean PSNR in dB of 8 held-out clips, reconstructed by ``plan.init_from``'s autoencoder.

    Raises:
        CheckpointError: the model is missing or broken.
        FloatingPointError: a reconstruction is not finite.
    """
    assert plan.init_from is not None
    autoencoder = VideoModel.from_pretrained(plan.init_from, device=device).autoencoder
    window, path = autoencoder.spec.clip[0], Path(plan.footage.path)
    clip_plan = ClipPlan(frames=window, height=plan.size, width=plan.size)
    held = half(path, "validation", 1, plan.footage.held_out).model_copy(update={"plan": clip_plan})
    found = []
    for clip in PlannedClips(held, CachePlan(clips=FEW_CLIPS)):
        again = reconstruct_frames(autoencoder, clip.frames)
        video, reconstruction = (to_model(x)[None].to(device) for x in (clip.frames, again))
        found.append(float(psnr(video, reconstruction)))
    return math.fsum(found) / len(found)


def held_out_protocol(plan: Plan, held: VideoFolder, clips: int) -> Protocol:
    """Evaluation protocol for ``clips`` clips of the held-out footage ``held``.

    Features are those of I3D if its weights are in the user's cache, else of a random network.

    Raises:
        ValueError: all videos are too short.
    """
    return small_protocol(held, clips, [f"resolution={plan.size}"])


def read_results(out: Path) -> dict[str, Result]:
    """Read the evaluations in the folder of a training in stages, by name.

    Names are ``reconstruction`` and ``evaluation``; one that was not made is left out.

    Raises:
        CheckpointError: a file cannot be read.
        ConfigError: a file is not a result of an evaluation.
    """
    paths = {name: out / f"{name}.json" for name in (RECONSTRUCTION, EVALUATION)}
    return {name: Result.read(path) for name, path in paths.items() if path.exists()}


NO_INTERVAL = "no interval, which needs clips of two videos"


class ShownScore(NamedTuple):
    """A score of an evaluation as text, for a page.

    Attributes:
        of: name of the evaluation: ``reconstruction`` or ``evaluation``.
        metric: name of the metric; not ``fvd`` or ``kvd`` for features of a random network.
        value: value and unit.
        interval: 95 % interval, with the quantity that it is of; empty without one.
        floor: the metric between real clips and other real clips; empty without one.
        clips: number of clips.
    """

    of: str
    metric: str
    value: str
    interval: str
    floor: str
    clips: int


def scores(out: Path) -> list[ShownScore]:
    """All scores of the evaluations in the folder of a training in stages.

    Raises:
        CheckpointError: a result cannot be read.
        ConfigError: a result is not valid.
    """
    rows = []
    for name, result in read_results(out).items():
        for metric, score in result.scores.items():
            value = f"{score.value:.4g} {score.unit}".strip()
            interval = ""
            if score.low is not None:
                interval = f"{score.low:.4g} to {score.high:.4g} ({score.interval_of})"
            floor = "" if score.floor is None else f"{score.floor:.4g}"
            rows.append(ShownScore(name, metric, value, interval, floor, result.protocol.n))
    return rows


def write_card(model: VideoModel, out: Path, plan: Plan) -> None:
    """Write the model card, ``README.md`` of the folder ``model`` in ``out``.

    It has the footage, the runs, the scores, and how to use the model.

    Raises:
        CheckpointError: a file cannot be read or written.
    """
    rows = []
    for name, stage in plan.stages.items():
        run = RunFiles(out / RUNS / name)
        batch = run.settings["training"]["batch"]
        values = ", ".join(f"{k} {v:.4g}" for k, v in last_values(run).items())
        rows.append(f"| {name} | {stage.steps:,} | {stage.steps * batch:,} | {values} |")
    measured = []
    for score in scores(out):
        interval = f"95 % interval {score.interval}" if score.interval else NO_INTERVAL
        floor = f"; real against real {score.floor}" if score.floor else ""
        clips = plural(score.clips, "clip")
        measured.append(f"- {score.metric} of {clips}: {score.value}; {interval}{floor}")
    text = Template(Path(__file__).with_name("card.md").read_text(encoding="utf-8")).substitute(
        name=out.resolve().name,
        folder=out,
        system=plan.system.upper(),
        size=plan.size,
        fps=f"{model.index.fps:g}",
        version=longtake.__version__,
        footage=plan.given,
        videos=plan.footage.videos,
        hours=f"{plan.footage.hours:.2f}",
        held_out=f"{plan.footage.held_out:.0%}",
        init_from=plan.init_from or "random weights",
        time=duration(seconds_spent(out)),
        device=environment()["device"],
        stages="\n".join(rows),
        scores="\n".join(measured),
    )
    write_text(out / MODEL / CARD, text)


def last_values(run: RunFiles) -> dict[str, float]:
    """Last logged ``loss``, ``validation_loss`` and ``psnr`` (in dB) of a run, as far as logged."""
    wanted = ("loss", "validation_loss", "psnr")
    return {name: ys[-1] for name, (_, ys) in run.series().items() if name in wanted}
