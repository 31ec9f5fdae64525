"""A student of few evaluations learns where the teacher's walk of many leads."""

import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from conditions import context
from test_trainer import asks_at
from tiny_runs import (
    SKY,
    diffusion_run,
    last_checkpoint,
    log,
    losses,
    train,
    triplane_autoencoder_run,
    triplane_run,
)
from torch import Tensor

from longtake.checkpoint import weights_hash
from longtake.config import ConfigError, parse
from longtake.diffusion import (
    DDIM,
    AlphaSigma,
    ClassifierFree,
    ClipSampler,
    Cosine,
    Denoiser,
    Diffusion,
    Unguided,
)
from longtake.diffusion.signals import label_signal
from longtake.latents import LatentSpec
from longtake.model import VideoModel
from longtake.runs import DistillationRun
from longtake.training.latent_batches import TrainingBatch
from longtake.training.methods.distillation import (
    Consistency,
    Distilled,
    Progressive,
    Regression,
    Walks,
    implied,
)
from longtake.training.trainer import Interrupted

SPEC = LatentSpec(shape=(2, 4, 3, 3), clip=(16, 24, 24), frame_axis=2)
VARIANTS = [Progressive, Consistency, Regression]
PROCESS = Diffusion(schedule=Cosine(), prediction="v", loss="l2")
STD = 0.5


class OfGaussian(Denoiser):
    """The best denoiser of latents that are normal with mean 0: linear in the noisy latent."""

    reads = frozenset({"context", "context_mask", "context_noise", "label"})
    per_frame = True

    def __init__(self, std: float = STD) -> None:
        super().__init__()
        self.spec, self.std = SPEC, std

    def prepare(self, signals: Any, embedding: Any) -> Any:
        return signals.get("label")

    def forward(self, z: Tensor, t: Tensor, prepared: Tensor | None) -> Tensor:
        level = AlphaSigma(*(SPEC.expand(x) for x in PROCESS.schedule(t)))
        variance = (level.alpha * self.std) ** 2 + level.sigma**2
        x0 = level.alpha * self.std**2 / variance * z
        if prepared is not None:
            x0 = x0 + (prepared >= 0).to(z)[:, None, None, None, None]
        noise = (z - level.alpha * x0) / level.sigma
        return PROCESS.target(x0, noise, level)


def batch(rows: int = 8, frames: Any = ()) -> TrainingBatch:
    z, noise = STD * torch.randn(rows, *SPEC.shape), torch.randn(rows, *SPEC.shape)
    signals = context(z, frames, 0.02) if frames else {}
    return TrainingBatch(z=z, noise=noise, t=torch.rand(rows), signals=signals)


def walks(of: TrainingBatch, teacher: Denoiser, student: Denoiser | None = None) -> Walks:
    sampler = ClipSampler(denoiser=teacher, diffusion=PROCESS, sampler=DDIM())
    return Walks(of, sampler, replace(sampler, denoiser=student or teacher))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("frames", [(), (0, 1)])
def test_the_teacher_is_its_own_student_with_a_segment_per_step(
    variant: type[Distilled], frames: Any
):
    drawn, teacher = batch(frames=frames), OfGaussian()
    jump = variant(segments=3, teacher_steps=1)(walks(drawn, teacher), drawn.t)
    own = walks(drawn, teacher).by(
        walks(drawn, teacher).teacher, jump.before, torch.stack([jump.start, jump.end])
    )
    assert torch.allclose(jump.after, own, atol=1e-6)
    z, noise = implied(PROCESS, teacher, jump)
    free = torch.ones(4, dtype=torch.bool)
    free[list(frames)] = False
    loss = PROCESS.model_copy(update={"loss_on": "generated"}).losses(
        teacher,
        z,
        torch.where(free[:, None, None], noise, drawn.noise),
        jump.start.float(),
        drawn.signals,
    )
    assert loss.max() < 1e-9


@pytest.mark.parametrize("variant", [Progressive, Regression])
def test_the_ends_of_a_linear_denoisers_walk_are_those_of_its_equation(variant: type[Distilled]):
    """The flow of normal latents scales by the ratio of their standard deviations."""
    drawn, teacher = batch(), OfGaussian()
    jump = variant(segments=2, teacher_steps=300)(walks(drawn, teacher), drawn.t)
    start, end = (
        (((x.alpha * STD) ** 2 + x.sigma**2) ** 0.5)
        for x in map(PROCESS.schedule, (jump.start, jump.end))
    )
    before = jump.before if variant is Progressive else drawn.noise
    if variant is Regression:
        start = torch.ones_like(start)
    expected = SPEC.expand(end / start).float() * before
    assert torch.allclose(jump.after, expected, atol=2e-2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_learnt_of_a_denoiser_that_knows_the_clean_latent_is_that_latent(
    variant: type[Distilled],
):
    drawn, teacher = batch(), OfGaussian(std=0.0)  # all latents are 0
    z, noise = implied(
        PROCESS, teacher, variant(segments=4, teacher_steps=3)(walks(drawn, teacher), drawn.t)
    )
    assert z.abs().max() < 1e-5
    assert noise.isfinite().all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_context_frames_stay_as_they_are_given(variant: type[Distilled]):
    drawn = batch(frames=(0, 3))
    jump = variant(segments=2, teacher_steps=3)(
        walks(drawn, OfGaussian(), OfGaussian(0.7)), drawn.t
    )
    assert torch.equal(jump.before[:, :, [0, 3]], jump.after[:, :, [0, 3]])
    assert not torch.equal(jump.before[:, :, 1], jump.after[:, :, 1])
    level = PROCESS.schedule(torch.tensor(0.02))
    noisy = level.alpha * drawn.z + level.sigma * drawn.noise
    assert torch.allclose(jump.before[:, :, [0, 3]], noisy[:, :, [0, 3]])


def test_jumps_lead_from_where_the_student_is_sampled_to_where_its_step_ends():
    drawn = batch(64)
    for variant in (
        Progressive(segments=3, teacher_steps=2),
        Regression(segments=3, teacher_steps=2),
    ):
        jump = variant(walks(drawn, OfGaussian()), drawn.t)
        pairs = set(zip(jump.start.tolist(), jump.end.tolist(), strict=True))
        borders = variant.sampler.times(PROCESS.schedule).tolist()
        assert pairs == set(pairwise(borders))
    jump = Progressive(segments=1, teacher_steps=2, starts=4)(walks(drawn, OfGaussian()), drawn.t)
    assert sorted(set(jump.start.tolist())) == [0.25, 0.5, 0.75, 1.0]


def test_the_student_learns_the_guided_estimate():
    drawn = batch()
    drawn = replace(drawn, signals=label_signal([1] * 8))
    found = walks(drawn, OfGaussian())
    guided = replace(found.teacher, guidance=ClassifierFree(scale=3.0))
    own = Progressive(segments=1, teacher_steps=1)
    plain, more = (own(replace(found, teacher=x), drawn.t) for x in (found.teacher, guided))
    z, _ = implied(PROCESS, found.teacher.denoiser, plain)
    z_more, _ = implied(PROCESS, found.teacher.denoiser, more)
    assert torch.allclose(z_more - z, torch.tensor(2.0), atol=1e-5)


def run(teacher: Path, roles: Any = ("next",), changes: Any = None, **training: Any) -> Any:
    loop = {"steps": 5, "batch": 2, "log_every": 1, "save_every": 100, "sample_every": 0}
    loop |= {"optimizer": {"lr": 1e-3, "clip_norm": 0.5}, "warmup_steps": 1}
    data = {
        "teacher": str(teacher),
        "roles": roles,
        "data": {**SKY, "plan": {"frames": 16, "height": 16, "width": 16}},
        "clip": {"context": {"predict": 1.0, "first_frames": [2]}},
        "variant": {"kind": "progressive", "teacher_steps": 2},
        "preview_frames": 8,
        "num_previews": 1,
        "training": loop | training,
    }
    return parse(DistillationRun, data | (changes or {}))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, tiny_autoencoder_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    changes = {
        "sampling": {"sampler": {"kind": "ddim", "steps": 3}, "rollout": {"kind": "autoregressive"}}
    }
    own = diffusion_run(tiny_autoencoder_folder, steps=2)
    train(parse(type(own), {**own.model_dump(), **changes}), folder)
    return folder


@pytest.mark.parametrize("kind", ["progressive", "consistency", "regression"])
def test_a_distillation_that_is_stopped_continues_bit_for_bit(
    tmp_path: Path, teacher: Path, kind: str
):
    own = run(teacher, changes={"variant": {"kind": kind, "teacher_steps": 2}})
    train(own, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(own, tmp_path / "stopped", training=asks_at(2, signal.SIGTERM))
    train(own, tmp_path / "stopped")
    whole, stopped = (last_checkpoint(tmp_path / name) for name in ("whole", "stopped"))
    assert whole.keys() == stopped.keys()
    assert [name for name in whole if not torch.equal(whole[name], stopped[name])] == []
    assert losses(tmp_path / "whole") == losses(tmp_path / "stopped")


def test_a_student_is_measured_on_held_out_clips(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # which has no weights of I3D
    held_out = {**SKY, "split": "test", "plan": {"frames": 16, "height": 16, "width": 16}}
    changes = {
        "validation": held_out,
        "evaluation": {"clips": 4, "frames": 4},
        "preview_frames": 8,
        "cache": None,
    }
    train(
        run(teacher, steps=4, sample_every=2, evaluate_every=4, changes=changes), tmp_path / "run"
    )
    lines = log(tmp_path / "run")
    held = {x["step"]: x["validation_loss"] for x in lines if "validation_loss" in x}
    assert [*held] == [2, 4]
    assert len({*held.values()}) == 2
    assert (tmp_path / "run" / "models" / "best").is_dir()
    assert [x["step"] for x in lines if "random_features_fd" in x] == [4]
    assert [path.name for path in (tmp_path / "run" / "latents").iterdir()] == ["validation"]


@pytest.mark.slow
def test_a_teacher_that_openvino_runs_teaches_the_same(tmp_path: Path, teacher: Path):
    train(run(teacher, steps=1), tmp_path / "torch")
    train(run(teacher, steps=1, changes={"teacher_backend": "openvino"}), tmp_path / "openvino")
    expected, found = losses(tmp_path / "torch"), losses(tmp_path / "openvino")
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_model_has_the_student_in_its_role_and_the_teacher_elsewhere(
    tmp_path: Path, teacher: Path
):
    train(run(teacher, sample_every=5), tmp_path / "run")
    before, after = (VideoModel.from_pretrained(folder) for folder in (teacher, tmp_path / "run"))
    assert weights_hash(after.denoisers["first"]) == weights_hash(before.denoisers["first"])
    assert weights_hash(after.denoisers["next"]) != weights_hash(before.denoisers["first"])
    sampling = after.index.sampling
    assert sampling.of("first").sampler == before.index.sampling.sampler
    assert sampling.of("next").sampler == DDIM(steps=2)
    assert list((tmp_path / "run" / "samples").iterdir())


def test_a_student_of_the_first_clip_samples_the_next_ones_too(tmp_path: Path, teacher: Path):
    changes = {"guidance": {"kind": "classifier_free", "scale": 2.0}}
    train(run(teacher, roles=("first",), changes=changes, steps=1), tmp_path / "run")
    model = VideoModel.from_pretrained(tmp_path / "run")
    assert set(model.denoisers) == {"first"}
    for role in ("first", "next"):
        assert model.index.sampling.of(role).sampler == DDIM(steps=2)
        assert model.index.sampling.of(role).guidance == Unguided()


def test_a_student_of_a_triplane_denoiser_learns(tmp_path: Path):
    train(triplane_autoencoder_run(steps=1), tmp_path / "autoencoder")
    train(triplane_run(tmp_path / "autoencoder", steps=1), tmp_path / "teacher")
    data = {**SKY, "plan": {"frames": 8, "height": 16, "width": 16}}
    changes = {"data": data, "clip": {"previous_share": 0.5}}
    train(run(tmp_path / "teacher", ("first",), changes), tmp_path / "run")
    assert len(losses(tmp_path / "run")) == 5


def test_what_cannot_be_distilled_is_refused(tmp_path: Path, teacher: Path):
    with pytest.raises(ConfigError, match="has no network in the role 'interpolator'"):
        train(run(teacher, ("interpolator",)), tmp_path / "a")
    data = {"kind": "marbles", "videos": 6, "plan": {"frames": 16, "height": 16, "width": 16}}
    with pytest.raises(ConfigError, match="its classes are not those of"):
        train(run(teacher, changes={"data": data}), tmp_path / "b")
