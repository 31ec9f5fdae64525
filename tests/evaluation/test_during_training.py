"""A run measures its model while it trains: FVD and KVD in its log, and nothing else changes."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from training import tiny_runs

from longtake.config import parse, to_dict
from longtake.evaluation.during_training import EvaluationPlan
from longtake.evaluation.protocols import Protocol
from longtake.runs import AutoencoderRun, DiffusionRun
from longtake.training.trainer import Interrupted

NAMES = ("random_features_fd", "random_features_kd", "protocol")


@pytest.fixture(autouse=True)
def _no_i3d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def measured(run: Any, **changes: Any) -> Any:
    return parse(type(run), {**to_dict(run), "evaluation": {"clips": 4}, **changes})


def test_a_plan_of_fewer_clips_than_protocols_take_is_refused_before_training():
    least = Protocol.model_fields["n"].metadata[0].ge
    assert EvaluationPlan(clips=least).clips == least
    with pytest.raises(ValueError, match=f"greater than or equal to {least}"):
        EvaluationPlan(clips=least - 1)


def logged(folder: Path) -> dict[int, tuple[Any, ...]]:
    lines = [line for line in tiny_runs.log(folder) if NAMES[0] in line]
    return {line["step"]: tuple(line[name] for name in NAMES) for line in lines}


@pytest.fixture(scope="module")
def denoiser(tiny_autoencoder_folder: Path) -> DiffusionRun:
    loop = {"steps": 5, "evaluate_every": 2}
    return measured(tiny_runs.diffusion_run(tiny_autoencoder_folder, **loop))


@pytest.fixture(scope="module")
def whole(denoiser: DiffusionRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        tiny_runs.train(denoiser, folder / "run")
    return folder / "run"


def test_a_denoiser_is_measured(whole: Path):
    found = logged(whole)
    assert [*found] == [2, 4, 5]
    assert found[5][2].startswith("trial, 4 clips, ")
    assert len({values[:2] for values in found.values()}) == 3
    assert "not FVD" in (whole / "index.html").read_text()


def test_a_run_that_was_not_measured_and_then_stopped_is_the_same(
    tmp_path: Path, whole: Path, denoiser: DiffusionRun, caplog: pytest.LogCaptureFixture
):
    def stop(progress: Any) -> None:
        if progress.step == 3:
            signal.raise_signal(signal.SIGTERM)

    never = denoiser.model_copy(
        update={"training": denoiser.training.model_copy(update={"evaluate_every": 0})}
    )
    with pytest.raises(Interrupted):
        tiny_runs.train(never, tmp_path, training=stop)
    assert "FVD" not in caplog.text
    tiny_runs.train(denoiser, tmp_path)
    assert "FVD is not measured" in caplog.text
    assert "say nothing about quality" in caplog.text
    assert logged(tmp_path) == {step: logged(whole)[step] for step in (4, 5)}
    weights, others = (tiny_runs.last_checkpoint(folder) for folder in (tmp_path, whole))
    assert all(torch.equal(weights[name], others[name]) for name in others)


def test_reconstructions_are_measured(tmp_path: Path):
    run: AutoencoderRun = measured(
        tiny_runs.autoencoder_run(steps=2, evaluate_every=2, sample_every=2)
    )
    tiny_runs.train(run, tmp_path)
    values = {name: value for line in tiny_runs.log(tmp_path) for name, value in line.items()}
    assert values["random_features_rfd"] > 0
    assert -1 <= values["ssim"] <= 1
    assert {"psnr", "efficientnet"} <= values.keys()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"preview_frames": 17, "evaluation": {"frames": 17}},
            "no video has the 17 frames of a clip",
        ),
        ({"roles": ["interpolator"]}, "no network that samples clips"),
    ],
)
def test_a_run_that_cannot_be_measured_trains_all_the_same(
    tmp_path: Path,
    tiny_autoencoder_folder: Path,
    caplog: pytest.LogCaptureFixture,
    change: Any,
    said: str,
):
    run = tiny_runs.diffusion_run(tiny_autoencoder_folder, steps=1, evaluate_every=1)
    tiny_runs.train(measured(run, **change), tmp_path)
    assert "not evaluated during training: " in caplog.text
    assert said in caplog.text
    assert logged(tmp_path) == {}
    assert (tmp_path / "model").exists()
