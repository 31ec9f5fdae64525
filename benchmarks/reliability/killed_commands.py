"""Commands that write, at toy size: what ``kills.py`` kills."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from disk_kills import Run, Trial, command, function
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests")]
# ruff: noqa: E402
from convert import official_lvdm, official_pvdm, tiny_image_model
from memory import volume
from training.tiny_runs import ADVERSARY, SKY, autoencoder_run, decoder_run, diffusion_run, train

from longtake.config import parse, to_yaml
from longtake.convert.from_c3d import convert_c3d
from longtake.data import latents
from longtake.data.cache_plan import CachePlan
from longtake.data.clips import ClipPlan
from longtake.data.export import export_world
from longtake.data.synthetic import SkyWorld
from longtake.data.synthetic.marbles import MarblesWorld
from longtake.distributed import Ranks
from longtake.evaluation.extraction import FeatureCache
from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.features.c3d import C3D, MEAN, C3DConfig
from longtake.model import VideoModel
from longtake.nn.transformer import TransformerConfig
from longtake.reproduce.measure import measure_table
from longtake.reproduce.requirements import Folders
from longtake.reproduce.table import Table
from longtake.runs import AutoencoderRun, DiffusionRun, DistillationRun
from longtake.text import WordCodes
from longtake.video import VideoWriter

TINY = ("frames=4", "rates=any", "treatment.size=16", "network.width=4")
TINY_C3D = C3DConfig(width=1, hidden=3, classes=4)
TRAIN = (
    *("autoencoder.training.steps=2", "denoiser.training.steps=2", "denoiser.training.batch=2"),
    *("autoencoder.autoencoder.width=16", "autoencoder.autoencoder.pool_hidden=16"),
    *("autoencoder.loss.perceptual=null", "autoencoder.num_previews=1", "denoiser.num_previews=1"),
    *("denoiser.denoiser.model_channels=16", "denoiser.preview_frames=16"),
    *("denoiser.sampling.sampler.steps=1", "denoiser.training.log_every=1"),
    *("results.videos=1", "results.frames=32", "results.clips=4"),
)
STEPS = {"steps": 4, "save_every": 2, "sample_every": 2, "keep": 1, "workers": 0}
PAGE, TIME = "index.html", "time.json"
SECONDS = re.compile(
    rb'"(seconds|made|samples_per_second)": (\{[^}]*\}|[\d.e+-]+),? ?|^ +seconds: .*$|^- Time: .*$',
    re.MULTILINE,
)


@contextmanager
def opened_once(folder: Path) -> Iterator[None]:
    """Open the model of the inputs once, which takes most of the time of a command of toy size.

    Nothing is read from the user's cache, or written to it.
    """
    load = VideoModel.from_pretrained
    kept = cache(load)

    def opened(model: Any, **options: Any) -> VideoModel:
        return (kept if Path(model) == folder / "model" else load)(model, **options)

    own = mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder / "cache"))
    with own, mock.patch.object(VideoModel, "from_pretrained", opened):
        yield


def make_inputs(folder: Path) -> None:
    """What the commands read: a model, films with captions, official weights, settings."""
    volume().save_pretrained(folder / "model")
    shutil.copytree(folder / "model", folder / "teacher")  # the model is opened once for all
    for number in range(4):
        write_film(folder / "films" / f"{number}.mkv", number, 20)
        (folder / "films" / f"{number}.txt").write_text(f"film {number}\n" * 99)
    write_film(folder / "long.mkv", 5, 40)
    world = SkyWorld(plan=ClipPlan(height=16, width=16))
    export_world(world, folder / "sky", videos=3, frames=80)
    train(autoencoder_run(steps=1), folder / "coder")
    runs = {
        "autoencoder": autoencoder_run(ADVERSARY | {"start": 1}, **STEPS),
        "validated": validated_run(**STEPS | {"sample_every": 1}),
        "diffusion": diffusion_run(folder / "coder", **STEPS),
        "decoder": decoder_run(folder / "coder", **STEPS),
        "text": text_run(folder / "coder", **STEPS),
        "distillation": distillation_run(folder / "teacher", **STEPS),
    }
    train(decoder_run(folder / "coder", steps=1), folder / "decoder")
    train(text_run(folder / "coder", steps=1), folder / "words")
    encoder: Any = VideoModel.from_pretrained(folder / "words").index.text_encoder
    (folder / "prompts.txt").write_text("\n".join(encoder.words[:2]))
    for name, grey in (("a", 60), ("b", 180)):
        Image.new("RGB", (16, 16), (grey, grey, grey)).save(folder / f"{name}.png")
    make_student(folder / "model", folder / "student")
    tiny_image_model.write(folder / "images")
    for name, run in runs.items():
        (folder / f"{name}.yaml").write_text(to_yaml(run))
    torch.save({"state_dict": official_lvdm.state("short")}, folder / "lvdm.ckpt")
    (folder / "lvdm.yaml").write_text(json.dumps(official_lvdm.config("short")))
    torch.save(official_pvdm.autoencoder(), folder / "model_last.pth")
    torch.save(official_pvdm.unet(), folder / "ema_model_1.pth")
    torch.save(C3D(TINY_C3D).state_dict(), folder / "c3d.pth")
    np.save(folder / "mean.npy", np.full(MEAN, 100, np.float32))


def text_run(coder: Path, **training: Any) -> DiffusionRun:
    """A denoiser of volumes that attends to captions."""
    run = diffusion_run(coder, **training)
    attention = TransformerConfig(num_heads=2, context_dim=16, max_distance=2)
    denoiser = run.denoiser.model_copy(update={"attention": attention})
    encoder = WordCodes(states_width=16, tokens=24)
    return run.model_copy(update={"denoiser": denoiser, "text_encoder": encoder})


def validated_run(**training: Any) -> AutoencoderRun:
    """An autoencoder whose best model on held-out clips is kept beside the last one."""
    run = autoencoder_run(**training)
    held_out = SkyWorld.model_validate({**SKY, "split": "test", "videos": 2})
    return run.model_copy(update={"validation": held_out})


def distillation_run(teacher: Path, **training: Any) -> DistillationRun:
    """A student of the model's network for keyframes."""
    return parse(
        DistillationRun,
        {
            "teacher": str(teacher),
            "roles": ("first",),
            "data": {"kind": "sky", "videos": 6, "plan": {"frames": 16, "height": 16, "width": 16}},
            "variant": {"kind": "progressive", "teacher_steps": 2},
            "preview_frames": 8,
            "num_previews": 1,
            "training": {"batch": 2, "log_every": 1, **training},
        },
    )


def make_student(teacher: Path, folder: Path) -> None:
    """A model with another first network than its teacher's, as a distillation leaves it."""
    model = VideoModel.from_pretrained(teacher)
    first: Any = model.denoisers["first"]
    student = first.config.build().eval()
    replace(model, denoisers={**model.denoisers, "first": student}).save_pretrained(folder)


def commands(folder: Path, i3d: Path | None) -> dict[str, Trial]:
    """Every command that writes, by name; that of I3D's weights if there are any."""
    disk = folder / "disk"
    new = partial(Trial, root=disk, clean=without_times)
    found = {
        **_sampling(folder, disk / "out", new),
        **_data(folder, disk / "out", new),
        **_training(folder, disk / "run", new),
        **_measuring(folder, disk, new),
        **_converting(folder, disk / "model", new),
    }
    if i3d is not None:
        convert = command("convert", "i3d", i3d, "-o", disk / "i3d.safetensors")
        found["convert i3d"] = new(run=convert)
    return found


def _sampling(folder: Path, out: Path, new: Callable[..., Trial]) -> dict[str, Trial]:
    model = folder / "model"
    generate = ("generate", model, "--frames", 20, "sampler.steps=1", "-o", out)
    several = ("--seed", "0..2", "--batch", 2, "--format", "png")
    return {
        "generate --seed 0..1 --sheet": new(run=command(*generate, "--seed", "0..1", "--sheet")),
        "generate --seed 0..2 --batch 2 --format png": new(run=command(*generate, *several)),
        "generate --format gif": new(run=command(*generate, "--format", "gif")),
        "generate -o film.mkv": new(run=command(*generate[:-1], out.with_name("film.mkv"))),
        "generate --overwrite": new(
            run=command(*generate, "--overwrite"),
            prepare=lambda root: write_film(root / "out" / "seed_0000.mp4", 7, 3),
        ),
        "generate --continue": new(
            run=command(
                *("generate", model, "--frames", 40, "sampler.steps=1", "-o", out),
                *("--continue", folder / "films" / "0.mkv"),
            )
        ),
        "generate --between": new(
            run=command(
                *("generate", model, "sampler.steps=1", "-o", out),
                *("--between", folder / "a.png", folder / "b.png"),
            )
        ),
        "generate --loop": new(
            run=command(
                *("generate", model, "--frames", 170, "sampler.steps=1", "-o", out, "--loop")
            )
        ),
        "generate --prompts": new(
            run=command(
                *("generate", folder / "words", "--frames", 8, "sampler.steps=1", "-o", out),
                *("--prompts", folder / "prompts.txt"),
            )
        ),
        "reconstruct": new(run=command("reconstruct", model, folder / "films", "-o", out)),
    }


def _data(folder: Path, out: Path, new: Callable[..., Trial]) -> dict[str, Trial]:
    export = ("data", "export", "marbles", "-o", out, "--videos", 2, "--frames", 6, "--size", 16)
    prepare = ("data", "prepare", folder / "films", "-o", out, "--shortest", 4, "--processes", 1)
    return {
        "data export": new(run=command(*export)),
        "data prepare": new(run=command(*prepare, "--size", 8)),
        "data prepare --overwrite": new(
            run=command(*prepare, "--size", 16, "--format", "mkv", "--overwrite"),
            prepare=lambda root: command(*prepare, "--size", 8)(),
        ),
        "latent cache": new(
            run=function(partial(build_latents, folder / "model", out.with_name("latents")))
        ),
    }


def _training(folder: Path, out: Path, new: Callable[..., Trial]) -> dict[str, Trial]:
    train = ("train", folder / "sky", *TRAIN, "--system", "pvdm", "--size", 16, "--budget", "60s")
    return {
        "fit autoencoder": new(run=command("fit", folder / "autoencoder.yaml", "-o", out)),
        "fit and its best model": new(run=command("fit", folder / "validated.yaml", "-o", out)),
        "fit denoiser and its cache": new(run=command("fit", folder / "diffusion.yaml", "-o", out)),
        "fit with checkpoints in the background": new(
            run=command("fit", folder / "autoencoder.yaml", "training.background_gb=0", "-o", out)
        ),
        "fit text": new(run=command("fit", folder / "text.yaml", "-o", out)),
        "fit distillation": new(run=command("fit", folder / "distillation.yaml", "-o", out)),
        "fit decoder": new(run=command("fit", folder / "decoder.yaml", "-o", out)),
        "train": new(run=command(*train, "-o", out)),
    }


def _measuring(folder: Path, disk: Path, new: Callable[..., Trial]) -> dict[str, Trial]:
    model, films, out = folder / "model", folder / "films", disk / "out"
    to_file = ("--protocol", "trial", "--n", 4, "--json", disk / "a.json")
    results = (*to_file, *TINY, "--cache", disk / "features")
    measured = ("evaluate", "marbles:test:16", model, "sampler.steps=1", "--keep", disk / "kept")
    reconstruction = ("evaluate", "reconstruction", model, "marbles:test:16", *to_file)
    return {
        "evaluate --json": new(run=command("evaluate", "marbles:test:16", films, *results)),
        "evaluate MODEL --keep": new(run=at_one_time(command(*measured, *results))),
        "evaluate reconstruction": new(run=command(*reconstruction)),
        "reproduce": new(run=function(partial(measure_row, folder))),
        "drift": new(run=command("drift", folder / "long.mkv", "--window", 9, "-o", out)),
    }


def _converting(folder: Path, out: Path, new: Callable[..., Trial]) -> dict[str, Trial]:
    model = folder / "model"
    lvdm = ("convert", "lvdm", folder / "lvdm.ckpt", "--config", folder / "lvdm.yaml")
    pvdm = ("convert", "pvdm", "--autoencoder", folder / "model_last.pth")
    join = ("convert", "join", model, model, "-o", out)
    c3d = partial(convert_c3d, folder / "c3d.pth", folder / "mean.npy", config=TINY_C3D)
    return {
        "convert lvdm": new(run=command(*lvdm, "-o", out)),
        "convert pvdm": new(
            run=command(*pvdm, "--denoiser", folder / "ema_model_1.pth", "-o", out)
        ),
        "convert image": new(
            run=command(
                "convert", "image", folder / "images", "--frames", 4, "--size", 16, "-o", out
            )
        ),
        "convert decoders": new(
            run=command("convert", "decoders", folder / "coder", folder / "decoder", "-o", out)
        ),
        "convert students": new(
            run=command("convert", "students", model, folder / "student", "-o", out)
        ),
        "convert diffusers": new(run=command("convert", "diffusers", model, "-o", out)),
        "convert c3d": new(run=function(partial(c3d, out.with_name("c3d.safetensors")))),
        "convert join": new(run=command(*join)),
        "convert join --overwrite": new(
            run=command(*join, "--overwrite"),
            prepare=lambda root: shutil.copytree(model, root / "model"),
        ),
    }


def at_one_time(run: Run) -> Run:
    """Kept videos, and with them keys of features, are known by the time when they were begun."""

    def frozen() -> tuple[int, str]:
        with mock.patch.object(time, "time_ns", return_value=0):
            return run()

    return frozen


def build_latents(model: Path, place: Path) -> None:
    """The latent cache that `longtake fit` builds first, of three shards."""
    source = MarblesWorld(videos=5, plan=ClipPlan(frames=16, height=16, width=16))
    autoencoder = VideoModel.from_pretrained(model).autoencoder
    with mock.patch.object(latents, "SHARD_ITEMS", 2):
        latents.build_cache(place, source, autoencoder, CachePlan(copies=1), Ranks())


def measure_row(folder: Path) -> None:
    """What `longtake reproduce` does for a table of one row."""
    row = {
        "kind": "generation",
        "name": "row",
        "title": "a row",
        "real": "marbles:test:16",
        "trainings": [{"preset": "model"}],
        "protocol": "trial",
        "changes": ["n=4", *TINY],
        "sampling": ["sampler.steps=1"],
        "published": {"fvd": {"absent": "not published"}},
    }
    tiny = {"real": row["real"], "trainings": row["trainings"], "changes": {}}
    table = parse(Table, {"name": "t", "title": "t", "paper": "p", "rows": [row], "tiny": tiny})
    disk = folder / "disk"
    folders = Folders(data=folder, models=folder, out=disk / "table")
    cache = FeatureCache(folder=disk / "features")
    found = measure_table(table, folders, EvaluationSettings(cache=cache), tiny=False)
    assert found.measured, found


def write_film(path: Path, seed: int, frames: int) -> None:
    """A video of 16 x 16 pixels of slowly changing noise."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randint(-9, 10, (frames, 16, 16, 3), generator=random).cumsum(0) + 128
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 8.0) as writer:
        writer.write(noise.clamp(0, 255).to(torch.uint8).numpy())


def without_times(name: str, data: bytes) -> bytes:
    """A file without what the clock says: seconds, rates, and the pages that show them."""
    if name.endswith((PAGE, TIME)):
        return b""
    return SECONDS.sub(b"", data) if name.endswith((".json", ".jsonl", ".yaml", ".md")) else data
