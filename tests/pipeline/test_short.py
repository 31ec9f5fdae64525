"""A training with little time: one denoiser, and an autoencoder that is good already."""

from pathlib import Path

import pytest
import torch
from pipeline.test_train import output
from training import tiny_runs

from longtake import config
from longtake.config import ConfigError
from longtake.data.clips import ClipPlan
from longtake.data.export import export_world
from longtake.data.synthetic import SkyWorld
from longtake.distributed import Ranks
from longtake.model import VideoModel
from longtake.pipeline.calibration import PRECISIONS, seconds_of_precisions
from longtake.pipeline.plan import Plan, PlannedStage, read_plan
from longtake.pipeline.results import planned_results
from longtake.pipeline.stages import stages_of
from longtake.pipeline.train import Asked, first_plan, train
from longtake.run_folder import OtherRunError
from longtake.runs import Callbacks, read_run

TINY = (
    *("denoiser.training.steps=2", "denoiser.training.batch=2", "denoiser.training.log_every=1"),
    *("denoiser.preview_frames=16", "denoiser.num_previews=1", "denoiser.sampling.sampler.steps=1"),
    *("denoiser.cache.clips=4", "denoiser.denoiser.model_channels=16"),
    *("results.videos=1", "results.frames=16", "results.clips=4"),
)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage") / "sky"
    world = SkyWorld(plan=ClipPlan(height=64, width=64))
    export_world(world, folder, videos=2, frames=64)
    return folder


def plan(footage: Path, **asked: object) -> Plan:
    return first_plan(footage, Asked.model_validate(asked), Ranks())


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"budget_seconds": 1200.0}, (1, None)),
        ({"budget_seconds": 7200.0}, (2, True)),
        ({"budget_seconds": 7200.0, "denoisers": 1}, (1, True)),
        ({"budget_seconds": 1200.0, "denoisers": 2}, (2, None)),
        ({"budget_seconds": 1200.0, "init_from": "none"}, (1, True)),
        ({"budget_seconds": 1200.0, "size": 32}, (1, True)),
        ({"budget_seconds": 1200.0, "system": "pvdm"}, (1, True)),
        ({"budget_seconds": 1200.0, "system": "pvdm", "init_from": "pvdm-sky"}, (1, None)),
    ],
)
def test_the_budget_decides_how_many_networks_are_trained(
    asked: dict[str, object], expected: tuple[int, bool | None], footage: Path
):
    found = plan(footage, **asked)
    assert (found.denoisers, found.tuned) == expected
    if expected[0] == 1 and found.system == "lvdm":
        assert found.footage.span == 32


def test_pvdm_has_one_denoiser(footage: Path):
    with pytest.raises(ConfigError, match="denoisers=2 must be 1 for pvdm"):
        plan(footage, system="pvdm", denoisers=2)


def test_a_denoiser_starts_from_a_shipped_one_if_its_latents_are_alike(
    footage: Path, tmp_path: Path
):
    def start(**asked: object) -> list[object]:
        found = stages_of(plan(footage, **asked), tmp_path)
        return [stage.settings["init_from"] for stage in found if stage.samples]

    assert start(budget_seconds=1200.0) == ["lvdm-sky"]
    assert start(budget_seconds=7200.0) == ["lvdm-sky", "lvdm-sky"]
    assert start(budget_seconds=7200.0, init_from="none") == [None, None]
    assert start(system="pvdm", init_from="pvdm-sky") == ["pvdm-sky"]
    assert start(system="pvdm", init_from="none") == [None]


def test_the_shipped_denoisers_fit_the_presets_that_start_from_them(footage: Path, tmp_path: Path):
    for seconds in (1200.0, 7200.0):
        for stage in stages_of(plan(footage, budget_seconds=seconds), tmp_path):
            if stage.samples:
                run = config.changed(type(r := read_run(stage.preset)), r, ["init_from=lvdm-sky"])
                trained = VideoModel.from_pretrained("lvdm-sky")
                assert set(run.initial_denoiser(trained).state_dict())


@pytest.fixture(scope="module")
def made(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    out, lines = tmp_path_factory.mktemp("made") / "mymodel", list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(out.parent / "cache"))
        given = {"asked": Asked(budget_seconds=60), "overrides": TINY, "output": output(lines)}
        train(footage, out, ranks=Ranks(), **given)  # pyright: ignore[reportArgumentType]
    return out, lines


def test_a_good_autoencoder_is_used_as_it_is(made: tuple[Path, list[str]]):
    out, lines = made
    decided = read_plan(out)
    assert decided is not None
    assert decided.tuned is False
    assert decided.start_psnr is not None
    assert decided.start_psnr > 24
    assert any(f"{decided.start_psnr:.1f} dB PSNR" in line for line in lines)
    assert any("denoiser 85%" in line for line in lines)
    assert [*decided.stages] == ["denoiser"]
    weights = [
        VideoModel.from_pretrained(m).autoencoder.state_dict() for m in (out, "lvdm-general")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_one_network_makes_long_videos(made: tuple[Path, list[str]]):
    out, _ = made
    model = VideoModel.from_pretrained(out)
    assert [*model.denoisers] == ["first"]
    assert model.index.sampling.rollout.kind == "autoregressive"
    assert (out / "videos" / "seed_0000.mp4").exists()


def test_a_training_keeps_its_number_of_denoisers(made: tuple[Path, list[str]], footage: Path):
    with pytest.raises(OtherRunError, match="denoisers=1, not 2"):
        train(footage, made[0], ranks=Ranks(), asked=Asked(denoisers=2), output=output())


def test_both_precisions_are_timed_and_nothing_is_left(tmp_path: Path):
    run = tiny_runs.autoencoder_run()
    found = seconds_of_precisions(run, tmp_path / "trial", Callbacks())
    assert [*found] == [*PRECISIONS]
    assert min(found.values()) > 0
    assert not (tmp_path / "trial").exists()


@pytest.mark.parametrize("denoisers", [1, 2])
def test_more_time_makes_no_fewer_results(denoisers: int, footage: Path):
    decided = plan(footage, budget_seconds=1200.0, denoisers=denoisers)
    last, cpu = PlannedStage(width=1, seconds=1, steps=1, preview=8.0), torch.device("cpu")
    made = [
        planned_results(decided, last, seconds, 64, cpu)
        for seconds in (0, 1, 10, 60, 120, 600, 6000)
    ]
    frames = [found.videos * found.frames for found in made]
    assert frames == sorted(frames)
    assert made[0].videos == 1
    clips = [found.clips for found in made]
    assert clips == sorted(clips)
    assert clips[0] == 8
