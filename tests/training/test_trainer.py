"""The trainer: it learns, stops, resumes bit for bit, and names faults."""

import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import (
    ADVERSARY,
    SKY,
    autoencoder_run,
    diffusion_run,
    last_checkpoint,
    log,
    losses,
    train,
)
from torch import Tensor, nn

from longtake.checkpoint import CheckpointError, ExistsError, weights_hash
from longtake.config import Config, ConfigError, load, parse, to_dict
from longtake.diffusion import Diffusion
from longtake.distributed import Ranks
from longtake.model import ModelIndex, VideoModel
from longtake.noise import generator
from longtake.runs import AutoencoderRun, DiffusionRun, read_run
from longtake.training import checkpoint as state
from longtake.training.config import EMAConfig, OptimizerConfig, Schedule, TrainingConfig
from longtake.training.ema import EMA
from longtake.training.methods.base import Loss, Method, Phase
from longtake.training.trainer import Interrupted, Trainer, TrainingProgress
from longtake.video import VideoError, VideoWriter


class Line(Method):
    """Fits ``y = 2 x`` by one weight; its loss may be NaN from a step on."""

    def __init__(self, settings: TrainingConfig, broken_from: int | None = None) -> None:
        self.settings, self.broken_from = settings, broken_from
        self.line = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.line.weight)
        self.previewed: list[float] = []
        self.module = self.exported = self.line
        self.phases = (
            Phase(
                name="main",
                log_key="loss",
                module=self.line,
                optimizer=settings.optimizer,
                loss=self._loss,
            ),
        )

    def trainer(self, folder: Path, report: Any = lambda _: None) -> Trainer:
        return Trainer(
            self,
            self.settings,
            folder,
            Ranks(),
            preview=self.preview,
            export=self.export,
            report=report,
        )

    def batches(self, first_step: int) -> Iterator[Sequence[Tensor]]:
        step = first_step
        while True:
            rows = torch.randn(self.settings.batch, 1, generator=generator(0, "line", step))
            yield rows.chunk(self.settings.accumulate)
            step += 1

    def preview(self, folder: Path) -> Mapping[str, float]:
        self.previewed.append(self.line.weight.item())
        return {"weight": self.line.weight.item()}

    def export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weight").write_text(str(self.line.weight.item()))

    def _loss(self, batch: Tensor, step: int) -> Loss:
        error = (self.line(batch) - 2 * batch).square().mean()
        if self.broken_from is not None and step >= self.broken_from:
            error = error * math.nan
        return Loss(error, {})


def settings(**changes: Any) -> TrainingConfig:
    plain = {"steps": 10, "batch": 4, "log_every": 1, "save_every": 100, "sample_every": 0}
    return TrainingConfig.model_validate(
        plain | {"optimizer": OptimizerConfig(lr=0.1), "ema": None} | changes
    )


def run_line(folder: Path, broken_from: int | None = None, **changes: Any) -> Line:
    stage = Line(settings(**changes), broken_from)
    folder.mkdir(exist_ok=True)
    stage.trainer(folder).fit()
    return stage


def asks_at(step: int, number: int) -> Any:
    def report(progress: TrainingProgress) -> None:
        if progress.step == step:
            signal.raise_signal(number)

    return report


def test_the_loss_of_a_line_falls_to_nothing(tmp_path: Path):
    run_line(tmp_path, steps=60)
    assert losses(tmp_path)[-1] < 1e-2 * losses(tmp_path)[0]


def test_an_autoencoder_learns(tmp_path: Path):
    train(autoencoder_run(steps=30, optimizer={"lr": 5e-3}), tmp_path)
    found = losses(tmp_path)
    assert sum(found[-5:]) < 0.6 * sum(found[:5])


def test_a_denoiser_learns_on_a_cache_and_becomes_a_model(
    tmp_path: Path, tiny_autoencoder_folder: Path
):
    run = diffusion_run(tiny_autoencoder_folder, steps=40, batch=8, optimizer={"lr": 1e-2})
    train(run, tmp_path / "run", encoding=lambda done, total: None)
    found = losses(tmp_path / "run")
    assert sum(found[-10:]) < 0.85 * sum(found[:10])
    model = VideoModel.from_pretrained(tmp_path / "run")
    assert model.index.classes == run.data.classes
    assert model.index.latent_scaling.scale != 1


@pytest.fixture(params=["autoencoder with an adversary", "denoiser"])
def run(
    request: pytest.FixtureRequest, tiny_autoencoder_folder: Path
) -> AutoencoderRun | DiffusionRun:
    if request.param == "denoiser":
        return diffusion_run(tiny_autoencoder_folder)
    return autoencoder_run(adversary=ADVERSARY)


@pytest.mark.parametrize(("step", "number"), [(2, signal.SIGTERM), (5, signal.SIGINT)])
def test_a_run_that_is_stopped_saves_itself_and_continues_bit_for_bit(
    tmp_path: Path, run: AutoencoderRun | DiffusionRun, step: int, number: signal.Signals
):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(run, whole)
    with pytest.raises(Interrupted, match=f"stopped at step {step}; saved in"):
        train(run, stopped, training=asks_at(step, number))
    assert [path.name for path in state.checkpoints(stopped)] == [f"step_{step:08d}"]
    train(run, stopped)
    expected, got = last_checkpoint(whole), last_checkpoint(stopped)
    assert expected.keys() == got.keys()
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    assert losses(whole) == losses(stopped)
    models = [VideoModel.from_pretrained(folder) for folder in (whole, stopped)]
    hashes = [
        {name: weights_hash(part) for name, part in model.components.items()} for model in models
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_whose_footage_goes_away_saves_itself_and_continues(tmp_path: Path, workers: int):
    footage, away = tmp_path / "footage", tmp_path / "away"
    footage.mkdir()
    with VideoWriter(footage / "1.mkv", 8) as writer:
        writer.write(np.random.default_rng(0).integers(0, 255, (12, 16, 16, 3), np.uint8))
    plan = {"frames": 4, "height": 16, "width": 16}
    data = {"kind": "folder", "path": str(footage), "plan": plan}
    run = autoencoder_run(data=data, steps=8, log_every=1, workers=workers, keep=9)
    train(run, tmp_path / "whole")

    def unmount(at: TrainingProgress) -> None:
        if at.step == 2:
            footage.rename(away)

    said = r"8 clips in a row cannot be read.*no such file.*; stopped at step \d, saved in"
    with pytest.raises(VideoError, match=said) as stopped:
        train(run, tmp_path / "run", training=unmount)
    assert "Traceback" not in str(stopped.value)
    (saved,) = state.checkpoints(tmp_path / "run")
    assert f"stopped at step {int(saved.name[5:])}," in str(stopped.value)
    away.rename(footage)
    train(run, tmp_path / "run")
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_a_signal_in_the_last_step_is_reported_after_the_model_is_written(tmp_path: Path):
    with pytest.raises(Interrupted, match="stopped at step 1; saved in"):
        train(autoencoder_run(steps=1), tmp_path, training=asks_at(1, signal.SIGTERM))
    assert VideoModel.from_pretrained(tmp_path).autoencoder
    train(autoencoder_run(steps=1), tmp_path)


def test_a_second_interrupt_stops_at_once(tmp_path: Path):
    stage = Line(settings())

    def report(progress: TrainingProgress) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        stage.trainer(tmp_path, report).fit()
    assert signal.getsignal(signal.SIGINT) == before


def test_a_finished_run_is_not_trained_again(tmp_path: Path):
    run_line(tmp_path, steps=3)
    before = last_checkpoint(tmp_path)
    (tmp_path / "model" / "weight").unlink()
    (tmp_path / "model").rmdir()
    stage = run_line(tmp_path, steps=3)
    assert torch.equal(stage.line.weight, before["weights/weight"])
    assert (tmp_path / "model" / "weight").exists()


def test_micro_batches_train_as_the_whole_batch_does(tmp_path: Path):
    whole = run_line(tmp_path / "whole", batch=12)
    parts = run_line(tmp_path / "parts", batch=12, accumulate=3)
    torch.testing.assert_close(parts.line.weight, whole.line.weight)
    torch.testing.assert_close(losses(tmp_path / "parts"), losses(tmp_path / "whole"))


def test_micro_batches_of_a_denoiser_train_as_the_whole_batch(
    tmp_path: Path, tiny_autoencoder_folder: Path
):
    for parts in (1, 2):
        run = diffusion_run(tiny_autoencoder_folder, batch=4, accumulate=parts, steps=3)
        train(run, tmp_path / str(parts))
    torch.testing.assert_close(losses(tmp_path / "1"), losses(tmp_path / "2"), rtol=1e-4, atol=0)


def test_a_batch_that_micro_batches_do_not_divide_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="accumulate=2 must divide the 3 samples"):
        train(autoencoder_run(batch=3, accumulate=2), tmp_path)


def test_an_average_warms_up_as_the_official_one_does():
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    average = EMA([weight], decay=0.5)
    expected = 0.0
    for n in range(1, 12):
        weight.data.fill_(n)
        average.update()
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
        assert average.shadow[0].item() == pytest.approx(expected, abs=1e-12)


def test_without_warm_up_an_average_decays_evenly():
    weight = nn.Parameter(torch.zeros(1))
    average = EMA([weight], decay=0.5, warmup=False)
    weight.data.fill_(1)
    average.update()
    assert average.shadow[0].item() == 0.5


def test_only_what_is_trained_is_averaged():
    frozen = nn.Parameter(torch.tensor([-0.0, 1e-30, 0.1]), requires_grad=False)
    weight, before = nn.Parameter(torch.zeros(1)), frozen.detach().clone()
    average = EMA([frozen, weight], decay=0.5, warmup=False)
    weight.data.fill_(1)
    average.update()
    average.swap()
    assert weight.item() == 0.5
    assert torch.equal(frozen.view(torch.int32), before.view(torch.int32))
    assert len(average.shadow) == 1


def test_swapping_an_average_twice_changes_nothing():
    weight = nn.Parameter(torch.ones(1))
    average = EMA([weight])
    weight.data.fill_(3)
    average.swap()
    assert (weight.item(), average.shadow[0].item()) == (1, 3)
    average.swap()
    assert (weight.item(), average.shadow[0].item()) == (3, 1)


def test_previews_and_the_model_have_the_averaged_weights_and_training_the_raw(tmp_path: Path):
    ema = EMAConfig(decay=0.9, warmup=False)
    stage = run_line(tmp_path, steps=4, ema=ema, sample_every=2, save_every=2)
    raw = last_checkpoint(tmp_path)
    exported = float((tmp_path / "model" / "weight").read_text())
    assert stage.line.weight.item() == raw["weights/weight"].item()
    assert exported == raw["ema/weight"].item() == stage.previewed[-1]
    assert exported < stage.line.weight.item()
    assert [line["weight"] for line in log(tmp_path) if "weight" in line] == stage.previewed


def test_a_loss_that_is_not_a_number_stops_the_run_with_a_remedy(tmp_path: Path):
    remedy = r"at step 6; start a new run with a lower training.optimizer.lr .* training.steps"
    with pytest.raises(FloatingPointError, match=remedy):
        run_line(tmp_path, broken_from=5, save_every=2)
    run_line(tmp_path, broken_from=5, save_every=2, steps=4)
    weight = float((tmp_path / "model" / "weight").read_text())
    assert weight == last_checkpoint(tmp_path)["weights/weight"].item()


def test_nan_weights_are_never_saved(tmp_path: Path):
    with pytest.raises(FloatingPointError):
        run_line(tmp_path, broken_from=5, log_every=100, save_every=2)
    assert all(tensor.isfinite().all() for tensor in last_checkpoint(tmp_path).values())
    assert [path.name for path in state.checkpoints(tmp_path)] == ["step_00000002", "step_00000004"]


def test_the_rate_rises_rests_and_falls(tmp_path: Path):
    run_line(tmp_path, steps=8, warmup_steps=2, cooldown_steps=4)
    rates = [line["lr"] / 0.1 for line in log(tmp_path)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_only_the_last_checkpoints_are_kept(tmp_path: Path):
    run_line(tmp_path, save_every=3, keep=2)
    names = [path.name for path in state.checkpoints(tmp_path)]
    assert names == ["step_00000009", "step_00000010"]


def test_a_clipped_gradient_has_its_norm_logged(tmp_path: Path):
    run_line(tmp_path, steps=1, optimizer=OptimizerConfig(lr=0.1, clip_norm=0.01))
    assert log(tmp_path)[0]["gradient_norm_main"] > 0.01


def test_a_folder_of_another_run_is_refused_with_what_differs(tmp_path: Path):
    train(autoencoder_run(steps=1), tmp_path)
    said = r"another run: training\.seed was 0 and is 1 now; .* set fork=NEW to start a run"
    with pytest.raises(ExistsError, match=said):
        train(autoencoder_run(steps=1, seed=1), tmp_path)


def test_a_run_that_is_refused_at_once_leaves_nothing(tmp_path: Path):
    with pytest.raises(ValueError, match="nowhere"):
        train(diffusion_run(Path("nowhere")), tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_run_can_be_made_longer(tmp_path: Path):
    train(autoencoder_run(steps=1), tmp_path)
    train(autoencoder_run(steps=2), tmp_path)
    assert [line["step"] for line in log(tmp_path)] == [1, 2]


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(CheckpointError, match="exists and holds no run; choose another folder"):
        train(autoencoder_run(steps=1), tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path):
    run_line(tmp_path, steps=1)
    stage = Line(settings(steps=2))
    stage.module = stage.exported = nn.Linear(2, 1, bias=False)
    with pytest.raises(CheckpointError, match="does not fit the run's config"):
        stage.trainer(tmp_path).fit()


def test_previews_are_pictures_and_videos(tmp_path: Path):
    train(autoencoder_run(steps=2, sample_every=2), tmp_path)
    names = sorted(path.name for path in (tmp_path / "samples" / "step_00000002").iterdir())
    assert names == ["00.mp4", "sheet.png"]
    assert "psnr" in log(tmp_path)[-1]


def test_a_run_stores_its_config_and_environment(tmp_path: Path):
    run = autoencoder_run(steps=1)
    train(run, tmp_path)
    assert load(tmp_path / "config.yaml", AutoencoderRun) == run
    assert "torch" in (tmp_path / "environment.json").read_text()


def test_a_network_joins_a_model_that_was_trained_with_the_same_diffusion(
    tmp_path: Path, tiny_run_folder: Path
):
    run = diffusion_run(tiny_run_folder, steps=1)
    with pytest.raises(ConfigError, match=r"diffusion differs .* whose networks .interpolator."):
        train(run, tmp_path / "run")
    train(run.model_copy(update={"diffusion": Diffusion(prediction="v")}), tmp_path / "other")
    base, model = (VideoModel.from_pretrained(p) for p in (tiny_run_folder, tmp_path / "other"))
    assert weights_hash(model.denoisers["interpolator"]) == weights_hash(
        base.denoisers["interpolator"]
    )
    assert model.index.latent_scaling == base.index.latent_scaling


def test_a_model_has_the_frame_rate_of_its_denoisers_data(tmp_path: Path, tiny_model: VideoModel):
    autoencoder = VideoModel(index=ModelIndex(fps=2.0), autoencoder=tiny_model.autoencoder)
    autoencoder.save_pretrained(str(tmp_path / "autoencoder"))
    run = diffusion_run(tmp_path / "autoencoder", steps=1)
    train(run, tmp_path / "run")
    assert VideoModel.from_pretrained(tmp_path / "run").index.fps == run.data.fps == 8


def test_networks_of_another_frame_rate_do_not_join(tmp_path: Path, tiny_run_folder: Path):
    tiny = VideoModel.from_pretrained(tiny_run_folder)
    slow = replace(tiny, index=tiny.index.model_copy(update={"fps": 2.0}))
    slow.save_pretrained(str(tmp_path / "slow"))
    train(diffusion_run(tmp_path / "slow", steps=1), tmp_path / "run")
    model = VideoModel.from_pretrained(tmp_path / "run")
    assert {*slow.denoisers} == {"first", "interpolator"}
    assert {*model.denoisers} == {"first"}
    assert model.index.fps == 8


def test_a_run_folder_with_former_field_names_continues(tmp_path: Path):
    run = autoencoder_run(steps=2)
    train(
        run.model_copy(update={"training": run.training.model_copy(update={"steps": 1})}), tmp_path
    )
    stored = tmp_path / "config.yaml"
    former = stored.read_text().replace("\n  ema:", "\n  average:")
    assert "average:" in former
    stored.write_text(former)
    train(run, tmp_path)
    assert [line["step"] for line in log(tmp_path)] == [1, 2]


def test_a_former_field_name_gives_the_present_one():
    with pytest.raises(ConfigError, match="the field 'average' is now called 'ema'"):
        autoencoder_run(average=None)


def test_the_validation_loss_compares_steps(tmp_path: Path, tiny_autoencoder_folder: Path):
    run = diffusion_run(tiny_autoencoder_folder, steps=6, sample_every=3, ema=None)
    held = {**SKY, "split": "test", "plan": {"frames": 16, "height": 16, "width": 16}}
    run = parse(DiffusionRun, {**to_dict(run), "validation": held})
    train(run, tmp_path / "run")
    logged = {
        x["step"]: x["validation_loss"] for x in log(tmp_path / "run") if "validation_loss" in x
    }
    assert [*logged] == [3, 6]
    stored = {**to_dict(run), "training": {**to_dict(run.training), "optimizer": {"lr": 1e-12}}}
    train(parse(DiffusionRun, stored), tmp_path / "still")
    still = [x["validation_loss"] for x in log(tmp_path / "still") if "validation_loss" in x]
    assert still[0] == pytest.approx(still[1], rel=1e-4)
    assert logged[6] != pytest.approx(still[1], rel=1e-3)


def test_the_model_with_the_lowest_validation_loss_is_kept(
    tmp_path: Path, tiny_autoencoder_folder: Path
):
    every = {"sample_every": 1, "save_every": 1, "keep_every": 1, "warmup_steps": 0}
    run = diffusion_run(tiny_autoencoder_folder, steps=5, ema=None, **every)
    held = {**SKY, "split": "test", "videos": 2, "plan": {"frames": 16, "height": 16, "width": 16}}
    rate = {**to_dict(run.training), "optimizer": {"lr": 0.3}}  # so high that the loss jumps
    run = parse(DiffusionRun, {**to_dict(run), "validation": held, "training": rate})
    first = {**to_dict(run), "training": {**to_dict(run.training), "steps": 2}}
    for part in (parse(DiffusionRun, first), run):  # stopped between
        train(part, tmp_path)
    held_out = {x["step"]: x["validation_loss"] for x in log(tmp_path) if "validation_loss" in x}
    lowest = min(held_out, key=lambda step: float(held_out[step]))
    assert len(held_out) == 5
    best, same = (tmp_path / "models" / name for name in ("best", f"step_{lowest:08d}"))
    assert VideoModel.from_pretrained(best).index == VideoModel.from_pretrained(same).index
    others = {VideoModel.from_pretrained(p).index.model_dump_json() for p in best.parent.iterdir()}
    assert len(others) == 5


def test_the_autoencoder_with_the_lowest_error_on_held_out_clips_is_kept(tmp_path: Path):
    every = {"sample_every": 1, "save_every": 1, "keep_every": 1, "warmup_steps": 0}
    run = to_dict(autoencoder_run(steps=5, ema=None, optimizer={"lr": 0.05}, **every))
    run["validation"] = {**run["data"], "split": "test", "videos": 2}
    train(parse(AutoencoderRun, run), tmp_path / "run")
    lines = [line for line in log(tmp_path / "run") if "validation_loss" in line]
    assert len(lines) == 5
    for line in lines:
        assert line["validation_loss"] == pytest.approx(10 ** (-float(line["psnr"]) / 10))
    lowest = min(lines, key=lambda line: float(line["validation_loss"]))["step"]
    best, same = (tmp_path / "run" / "models" / at for at in ("best", f"step_{lowest:08d}"))
    assert VideoModel.from_pretrained(best).index == VideoModel.from_pretrained(same).index
    train(parse(AutoencoderRun, {**run, "validation": None}), tmp_path / "own")
    assert not any("validation_loss" in line for line in log(tmp_path / "own"))
    assert not (tmp_path / "own" / "models" / "best").exists()


def test_classes_are_counted_where_auto_is_asked_for(tmp_path: Path, tiny_autoencoder_folder: Path):
    run = to_dict(diffusion_run(tiny_autoencoder_folder, steps=1))
    run["denoiser"]["num_classes"] = "auto"
    train(parse(DiffusionRun, run), tmp_path / "run")
    settled = read_run(str(tmp_path / "run" / "config.yaml"))
    assert isinstance(settled, DiffusionRun)
    assert settled.denoiser.num_classes == 24
    with pytest.raises(ValueError, match="num_classes=auto is for the config of a run"):
        parse(DiffusionRun, run).denoiser.build()


def test_a_denoiser_whose_config_has_no_number_of_classes_is_settled(tiny_run_folder: Path):
    class Unlabelled(Config):
        pass

    run = diffusion_run(tiny_run_folder).model_copy(update={"denoiser": Unlabelled()})
    assert run.settled() == run


@pytest.mark.parametrize(("end", "steps"), [(Schedule(5, 4), 5), (Schedule(9, 4), 9)])
def test_a_callback_may_move_the_end_of_a_run(end: Schedule, steps: int, tmp_path: Path):
    def report(at: TrainingProgress) -> Schedule | None:
        seen.append(at.steps)
        return end if at.step == 3 else None

    seen: list[int] = []
    train(autoencoder_run(steps=7, cooldown_steps=2), tmp_path, training=report)
    lines = [line for line in log(tmp_path) if "loss" in line]
    assert [line["step"] for line in lines] == [*range(1, steps + 1)]
    assert seen == [7] * 3 + [steps] * (steps - 3)
    rates = [line["lr"] / 1e-3 for line in lines][-2:]
    assert rates == pytest.approx([0.5, 0.25])
    assert (tmp_path / "model").exists()
