"""What a finished model is shown and measured by: long videos, an evaluation, a card."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from string import Template
from typing import Any

import torch

import longtake
from longtake.checkpoint import write_text
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.distributed import Ranks
from longtake.evaluation.evaluate import evaluate
from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.evaluation.protocols import Protocol, protocol
from longtake.evaluation.reconstruction import evaluate_reconstruction, perceptual
from longtake.evaluation.result import Result
from longtake.features import i3d
from longtake.jobs import Job, write_videos
from longtake.model import VideoModel
from longtake.model_videos import ModelVideos
from longtake.page.document import duration
from longtake.page.run_page import RunFiles
from longtake.pipeline.plan import Plan, PlannedResults, PlannedStage, seconds_spent
from longtake.pipeline.systems import RUNS
from longtake.progress import ProgressCallback
from longtake.training.log import environment

MODEL, VIDEOS, EVALUATION, RECONSTRUCTION = "model", "videos", "evaluation", "reconstruction"
CARD = "README.md"
MOST_FRAMES, FEWEST_FRAMES, MOST_CLIPS, FEWEST_CLIPS = 512, 64, 256, 16
FRAMES_TO_A_CLIP = 48  # that a hierarchical rollout samples to make one of 16
I3D_SECONDS = 6.0  # of three clips on a CPU core
Bar = Callable[[str], AbstractContextManager[ProgressCallback]]


def planned_results(
    plan: Plan, last: PlannedStage, seconds: float, frames: int, device: torch.device
) -> PlannedResults:
    """Videos and clips that take about ``seconds``, half of it each.

    ``frames`` is the number of frames of the last run's preview, by whose time the rate of sampling
    is known; if that was not measured, the least of everything is planned.
    """
    if last.preview is None:
        return PlannedResults(frames=FEWEST_FRAMES, clips=FEWEST_CLIPS)
    rate = frames / max(last.preview, 1e-3)
    videos = PlannedResults().videos
    length = int(rate * seconds / 2 / videos) // 16 * 16
    features = I3D_SECONDS if device.type == "cpu" and i3d.cache_path().exists() else 0.0
    clips = int(seconds / 2 / (FRAMES_TO_A_CLIP / rate + features))
    most = max(FEWEST_CLIPS, min(MOST_CLIPS, plan.footage.held_out_clips))
    return PlannedResults(
        frames=min(max(length, FEWEST_FRAMES), MOST_FRAMES),
        clips=min(max(clips, FEWEST_CLIPS), most),
    )


def write_model(run: Path, out: Path) -> None:
    """The last run's model as the folder ``model``, kept if it is already there."""
    found = VideoModel.from_pretrained(run)
    index = out / MODEL / "model_index.json"
    if index.exists() and json.loads(index.read_text())["weights"] == found.index.weights:
        return
    found.save_pretrained(out / MODEL, overwrite=True)


def write_samples(out: Path, planned: PlannedResults, ranks: Ranks, bar: Bar) -> None:
    """Long videos of the model, each with a contact sheet; those that exist are kept."""
    model = VideoModel.from_pretrained(out / MODEL, device=ranks.device)
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
        if not all(file.exists() for file in job.files):
            with bar(path.name) as report:
                write_videos(model.long_video(), job, overwrite=True, report=report)


def measure_model(out: Path, plan: Plan, clips: int, ranks: Ranks, bar: Bar) -> None:
    """Write the evaluations on held-out footage, those that are not there yet."""
    model = VideoModel.from_pretrained(out / MODEL, device=ranks.device)
    held = VideoFolder(
        path=Path(plan.footage.path),
        split="validation",
        held_out=plan.footage.held_out,
        plan=ClipPlan(frames=1),
    )
    ready = held_out_protocol(plan, held, clips)
    with bar("clips to measure") as report:
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


def held_out_protocol(plan: Plan, held: VideoFolder, clips: int) -> Protocol:
    """The protocol for held-out footage: with I3D if its weights are there, or random features."""
    long_enough = sum(info.frames >= plan_frames() for info in held.infos())
    each = -(-2 * clips // max(long_enough, 1))  # as many again for real against real
    changes = [f"resolution={plan.size}", "unfit=skip", "rates=any", f"clips_per_video={each}"]
    name = "longtake" if i3d.cache_path().exists() else "trial"
    return protocol(name, changes, clips)


def plan_frames() -> int:
    """Frames of a clip under both protocols."""
    return Protocol.model_fields["frames"].default


def read_results(out: Path) -> dict[str, Result]:
    """The evaluations that are there, by name."""
    paths = {name: out / f"{name}.json" for name in (RECONSTRUCTION, EVALUATION)}
    return {name: Result.read(path) for name, path in paths.items() if path.exists()}


def scores(out: Path) -> list[tuple[str, str, str]]:
    """Name, value and remark of each score; those of random features are named so."""
    rows = []
    for result in read_results(out).values():
        for name, score in result.scores.items():
            floor = "" if score.floor is None else f"real against real {score.floor:.4g}; "
            clips = f"{floor}{result.protocol.n} clips"
            rows.append((name, f"{score.value:.4g} {score.unit}".strip(), clips))
    return rows


def write_card(out: Path, plan: Plan) -> None:
    """Write the card of the model: footage, runs, scores, how to use it."""
    rows = []
    for name, stage in plan.stages.items():
        run = RunFiles(out / RUNS / name)
        batch = run.settings["training"]["batch"]
        values = ", ".join(f"{k} {v:.4g}" for k, v in last_values(run).items())
        rows.append(f"| {name} | {stage.steps:,} | {stage.steps * batch:,} | {values} |")
    measured = [f"- {name}: {value} ({remark})" for name, value, remark in scores(out)]
    index: Mapping[str, Any] = json.loads((out / MODEL / "model_index.json").read_text())
    text = Template(Path(__file__).with_name("card.md").read_text()).substitute(
        name=out.resolve().name,
        folder=out,
        system=plan.system.upper(),
        size=plan.size,
        fps=f"{index['fps']:g}",
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
    """Last loss and quality in a run's log."""
    wanted = ("loss", "validation_loss", "psnr")
    return {name: ys[-1] for name, (_, ys) in run.series().items() if name in wanted}
