"""One command from a folder of videos to a model: decided by rule, stopped and continued."""

import hashlib
import json
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from training import tiny_runs

from longtake import config
from longtake.config import ConfigError
from longtake.data.clips import ClipPlan
from longtake.data.export import export_world
from longtake.data.synthetic import SkyWorld
from longtake.distributed import Ranks
from longtake.features.i3d import cache_path
from longtake.model import VideoModel
from longtake.pipeline.calibration import PREVIEWS, Speed, fitted, measure, with_settings
from longtake.pipeline.carry_out import Training
from longtake.pipeline.footage import survey
from longtake.pipeline.output import Output
from longtake.pipeline.plan import PlannedResults, SystemName, read_plan, seconds_spent
from longtake.pipeline.results import (
    planned_evaluations,
    read_results,
    write_card,
    write_samples,
)
from longtake.pipeline.stages import RESERVE, RESULTS_SHARE, stages_for
from longtake.pipeline.systems import SYSTEMS
from longtake.pipeline.train import Asked, first_plan, train
from longtake.run_folder import OtherRunError
from longtake.runs import AnyRun, AutoencoderRun, Callbacks, DiffusionRun, read_run

TINY = (
    *("autoencoder.training.steps=3", "denoiser.training.steps=4", "denoiser.training.batch=2"),
    *("autoencoder.autoencoder.width=16", "autoencoder.autoencoder.pool_hidden=16"),
    *("autoencoder.loss.perceptual=null", "autoencoder.num_previews=1", "denoiser.num_previews=1"),
    *("denoiser.denoiser.model_channels=16", "denoiser.preview_frames=16"),
    *("denoiser.sampling.sampler.steps=1", "denoiser.training.log_every=1"),
    *("results.videos=1", "results.frames=32", "results.clips=4"),
)
ASKED = Asked(system="pvdm", size=16, budget_seconds=60)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage") / "sky"
    world = SkyWorld(plan=ClipPlan(height=16, width=16))
    export_world(world, folder, videos=3, frames=80)
    return folder


def output(lines: list[str] | None = None, report: Any = lambda title, at: None) -> Output:
    @contextmanager
    def training(title: str) -> Generator[Callbacks]:
        yield Callbacks(training=lambda at: report(title, at))

    say = (lambda line: None) if lines is None else lines.append
    return Output(
        say=say, training=training, bar=lambda title, unit: nullcontext(lambda done, total: None)
    )


def start(footage: Path, out: Path, **changes: Any) -> Path:
    given: dict[str, Any] = {"asked": ASKED, "overrides": TINY, "output": output(), **changes}
    return train(footage, out, ranks=Ranks(), **given)


def weights(folder: Path) -> dict[str, str]:
    return dict(VideoModel.from_pretrained(folder).index.weights)


@pytest.fixture(scope="module")
def made(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "mymodel"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(out.parent / "cache"))
        start(footage, out)
    return out


def test_a_folder_becomes_a_model_with_card_videos_and_scores(made: Path, footage: Path):
    model = VideoModel.from_pretrained(made)
    assert "first" in model.denoisers
    card = (made / "model" / "README.md").read_text()
    assert str(footage) in card
    assert "random_features_fd" in card
    assert card.count("; no interval, which needs clips of two videos") > 1  # one is held out
    assert (made / "videos" / "seed_0000.mp4").exists()
    found = read_results(made)
    real = found["evaluation"].real
    assert real is not None
    assert real.name == "sky:validation"
    assert "psnr" in found["reconstruction"].scores


def test_intervals_stand_beside_scores_with_the_quantity_that_they_are_of(
    made: Path, tmp_path: Path
):
    out = tmp_path / "mymodel"
    shutil.copytree(made, out)
    path = out / "evaluation.json"
    result = json.loads(path.read_text())
    result["scores"]["random_features_fd"] |= {"low": 1.0, "high": 2.0, "interval_of": "that of 4"}
    path.write_text(json.dumps(result))
    plan = read_plan(out)
    assert plan is not None
    write_card(VideoModel.from_pretrained(out), out, plan)
    assert "; 95 % interval 1 to 2 (that of 4)" in (out / "model" / "README.md").read_text()


def test_its_page_shows_every_stage(made: Path):
    text = (made / "index.html").read_text()
    assert "1. triplane autoencoder" in text
    assert "2. denoiser of clip after clip" in text
    assert "finished" in text
    assert "random_features_fd" in text
    assert text.count('<span class="done">done</span>') == 2


def test_the_configs_are_those_of_the_runs(made: Path):
    for name in ("autoencoder", "denoiser"):
        run = read_run(str(made / "configs" / f"{name}.yaml"))
        assert config.to_dict(run) == config.read(made / "runs" / name / "config.yaml")


def test_a_stopped_training_continues_bit_for_bit(made: Path, footage: Path, tmp_path: Path):
    def stop(title: str, at: Any) -> None:
        if "denoiser" in title and at.step == 2:
            raise KeyboardInterrupt

    out = tmp_path / "mymodel"
    with pytest.raises(KeyboardInterrupt):
        start(footage, out, output=output(None, stop))
    assert "stopped; the same command continues" in (out / "index.html").read_text()
    spent = seconds_spent(out)
    lines: list[str] = []
    start(footage, out, output=output(lines))
    assert not any("stage 1 of 2" in line for line in lines)  # its model is there
    assert seconds_spent(out) > spent > 0
    assert weights(out) == weights(made)


def test_a_finished_training_makes_nothing_again(made: Path, footage: Path):
    def state() -> dict[str, str]:
        files = [*made.glob("*.json"), *made.glob("videos/*"), *made.glob("model/*/*")]
        skipped = {"time.json"}
        return {
            str(p): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in files
            if p.name not in skipped
        }

    before = state()
    start(footage, made, asked=Asked(), overrides=())
    assert state() == before


def test_what_a_kill_has_left_beside_finished_videos_is_removed(made: Path):
    left = made / "videos" / ".seed_0000.mp4.generate"
    (left / "segments").mkdir(parents=True)
    before = {p: p.stat().st_mtime_ns for p in (made / "videos").glob("seed*")}
    planned = PlannedResults(videos=1, frames=32)
    write_samples(VideoModel.from_pretrained(made), made, planned, output().bar)
    assert {p: p.stat().st_mtime_ns for p in (made / "videos").iterdir()} == before


def test_other_footage_or_settings_are_refused(made: Path, tmp_path: Path):
    with pytest.raises(OtherRunError, match="size=16, not 32"):
        start(Path(read_plan(made).footage.path), made, asked=Asked(size=32))  # pyright: ignore[reportOptionalMemberAccess]
    with pytest.raises(OtherRunError, match="footage="):
        start(tmp_path, made, asked=Asked())


def test_a_change_of_a_stage_that_is_done_is_refused(made: Path, footage: Path):
    with pytest.raises(ConfigError, match=r"autoencoder.training.steps=9 comes too late"):
        start(footage, made, overrides=["autoencoder.training.steps=9"])


def test_classes_counted_by_the_data_change_nothing_of_a_stage_that_is_done(made: Path):
    """``num_classes=auto`` is what the written config says as a number."""
    plan = read_plan(made)
    assert plan is not None

    def refuse(value: str) -> None:
        own = {"denoiser": [f"denoiser.num_classes={value}"]}
        training = Training(plan, made, Ranks(), output(), own)
        training._refuse_change(training.stages[-1])

    refuse("auto")
    with pytest.raises(ConfigError, match=r"denoiser.denoiser.num_classes=3 comes too late"):
        refuse("3")


def test_a_folder_of_other_things_is_left_alone(footage: Path, tmp_path: Path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="holds no training in stages"):
        start(footage, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_folder_that_a_kill_left_empty_is_begun(footage: Path, tmp_path: Path):
    (tmp_path / ".plan.yaml.partial").touch()
    with pytest.raises(ValueError, match="must begin with a stage"):  # what is looked at next
        start(footage, tmp_path, overrides=["training.steps=3"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("autoencoders.training.steps=3", "did you mean 'autoencoder'"),
        ("training.steps=3", "must begin with a stage"),
        ("denoiser.training.stepps=3", "did you mean 'steps'"),
        ("results.vidos=3", "did you mean 'videos'"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_made(
    override: str, message: str, footage: Path, tmp_path: Path
):
    out = tmp_path / "mymodel"
    with pytest.raises(ValueError, match=message):
        start(footage, out, overrides=[override])
    assert not out.exists()


def test_footage_is_measured(footage: Path):
    found = survey(footage, SYSTEMS["pvdm"])
    assert (found.videos, found.span) == (2, 64)
    assert found.held_out_clips == 5
    assert found.hours == pytest.approx(2 * 80 / 8 / 3600)
    with pytest.raises(
        ValueError,
        match=r"longest video has 80 frames; expected 100 to train on, beside the 10% or more",
    ):
        survey(footage, _with_spans((100,)))


def test_shorter_clips_are_cached_where_most_footage_is_short(footage: Path):
    assert survey(footage, _with_spans((96, 48))).span == 48


@pytest.mark.parametrize("seconds", [30.0, 600.0, 36_000.0])
@pytest.mark.parametrize("step", [0.001, 0.4, 3.0])
def test_the_steps_fill_the_time(seconds: float, step: float):
    run, speed = read_run("pvdm_laptop"), Speed(start=2.0, step=step, cpu_step=step, preview=1.5)
    settings = fitted(run, speed, seconds, 0.25)
    fit = with_settings(run, settings).training
    previews = -(-fit.steps // fit.sample_every)
    assert 1 <= previews <= PREVIEWS
    taken = speed.start + fit.steps * step + previews * speed.preview
    assert fit.steps == 10 or seconds - 2 * step - speed.preview <= taken <= seconds
    assert fit.cooldown_steps == int(0.25 * fit.steps)
    assert fit.learning_rate(fit.steps - 1) <= fit.optimizer.lr / 2


@pytest.mark.parametrize("seconds", [1.0, 60.0, 600.0, 36_000.0])
@pytest.mark.parametrize("preview", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("i3d", [False, True])
def test_measuring_a_model_in_training_takes_a_twentieth_of_the_time_at_most(
    seconds: float, preview: float, i3d: bool
):
    if i3d:
        cache_path().parent.mkdir(parents=True)
        cache_path().touch()
    run = read_run("pvdm_laptop")
    assert isinstance(run, DiffusionRun)
    found = {n: planned_evaluations(run, n, preview, seconds, torch.device("cpu")) for n in (1, 2)}
    for times, taken in found.values():
        assert taken <= seconds / 20
        assert times in (0, *range(2, 9))
        assert (times == 0) == (taken == 0)
    assert found[1][0] >= found[2][0]  # one denoiser samples fewer frames to a clip


def test_one_denoiser_is_measured_more_often_than_two_in_the_same_time():
    run = read_run("pvdm_laptop")
    assert isinstance(run, DiffusionRun)
    one, two = (planned_evaluations(run, n, 3.0, 600.0, torch.device("cpu"))[0] for n in (1, 2))
    assert one > two


def test_a_measurement_leaves_nothing_behind(tmp_path: Path):
    run = tiny_runs.autoencoder_run()
    speed = measure(run, tmp_path / "trial", Callbacks())
    assert speed.step > 0
    assert speed.encode == 0
    assert not (tmp_path / "trial").exists()


@pytest.mark.parametrize("name", [*SYSTEMS])
@pytest.mark.parametrize("width", [1, 2])
def test_every_stage_is_a_valid_run_at_every_width(
    name: str, width: int, footage: Path, tmp_path: Path
):
    system = SYSTEMS[name]
    sizes = system.sizes(128, system.spans[0])
    source = {"kind": "folder", "path": str(footage)}
    for stage in [
        *stages_for(name, sizes, tmp_path, source),
        *stages_for(name, sizes, tmp_path, source, denoisers=1),
    ]:
        settings = {**stage.settings, **dict.fromkeys(stage.follows, "model")}
        run = with_settings(read_run(stage.preset), settings)
        data: Any = config.to_dict(run)
        for part in stage.width.split("."):
            data = data[part]
        run = with_settings(run, {stage.width: width * data})
        assert config.parse(AnyRun, config.to_dict(run)) == run


@pytest.mark.parametrize("name", [*SYSTEMS])
@pytest.mark.parametrize("denoisers", [1, 2])
@pytest.mark.parametrize("tuned", [True, False])
def test_shares_sum_to_one(name: str, denoisers: int, tuned: bool, tmp_path: Path):
    system = SYSTEMS[name]
    sizes = system.sizes(64, system.spans[0])
    found = stages_for(name, sizes, tmp_path, {}, denoisers=denoisers, tuned=tuned)
    shares = [stage.share for stage in found]
    assert min(shares) > 0
    assert sum(shares) + RESULTS_SHARE + RESERVE == pytest.approx(1)


def test_a_size_that_does_not_fit_names_the_nearest():
    with pytest.raises(ValueError, match="multiple of 16 for lvdm; the nearest is 48"):
        SYSTEMS["lvdm"].sizes(50, 80)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_size_over_the_largest_is_refused(name: str):
    with pytest.raises(ConfigError, match=f"size=4160 must be at most 4096 for {name}"):
        SYSTEMS[name].sizes(4160, 80)


def test_a_shipped_model_gives_the_autoencoder():
    sizes = SYSTEMS["lvdm"].sizes(64, 80, "lvdm-general")
    assert (sizes.factor, sizes.channels) == (4, 6)
    with pytest.raises(ValueError, match="multiple of 16 for lvdm; the nearest is 48"):
        SYSTEMS["lvdm"].sizes(50, 80, "lvdm-general")
    with pytest.raises(ValueError, match="needs a volume_autoencoder"):
        SYSTEMS["lvdm"].sizes(64, 80, "pvdm-sky")


def _with_spans(spans: Sequence[int]) -> Any:
    from dataclasses import replace

    return replace(SYSTEMS["pvdm"], spans=spans)


@pytest.mark.parametrize(
    ("system", "given", "size", "expected"),
    [
        ("lvdm", None, 64, "lvdm-general"),
        ("lvdm", None, 128, None),
        ("lvdm", "none", 64, None),
        ("lvdm", "lvdm-sky", 64, "lvdm-sky"),
        ("lvdm", "lvdm-general", 128, "lvdm-general"),
        ("pvdm", None, 32, "pvdm-general"),
        ("pvdm", None, 64, "pvdm-general"),
        ("pvdm", None, 128, None),
        ("pvdm", "none", 32, None),
        ("pvdm", "pvdm-sky", 64, "pvdm-sky"),
    ],
)
def test_small_models_start_from_the_shipped_autoencoder(
    system: SystemName, given: str | None, size: int, expected: str | None, footage: Path
):
    plan = first_plan(footage, Asked(system=system, init_from=given, size=size), Ranks())
    assert plan.init_from == expected


@pytest.mark.parametrize(("system", "size"), [("lvdm", 64), ("pvdm", 32), ("pvdm", 64)])
def test_networks_of_small_models_begin_with_the_weights_of_shipped_ones(
    system: SystemName, size: int, tmp_path: Path
):
    """Also at a frame size that the shipped networks are not for."""
    start = SYSTEMS[system].start["cpu"]
    sizes = SYSTEMS[system].sizes(size, SYSTEMS[system].spans[0], start)
    footage = {"kind": "folder", "path": "."}
    stages = stages_for(system, sizes, tmp_path, footage)
    for stage in (stage for stage in stages if "init_from" not in stage.follows):
        settings = {name: x for name, x in stage.settings.items() if not name.startswith("data")}
        run = with_settings(read_run(stage.preset), settings)
        if isinstance(run, AutoencoderRun):
            begun, given = run.begin().autoencoder, VideoModel.from_pretrained(start).autoencoder
        else:
            assert isinstance(run, DiffusionRun)
            assert run.init_from is not None
            run = with_settings(run, {"denoiser.num_classes": None})
            assert isinstance(run, DiffusionRun)
            assert run.init_from is not None
            origin = VideoModel.from_pretrained(run.init_from)
            begun, given = run.initial_denoiser(origin), origin.denoisers[run.roles[0]]
        own, weights = begun.state_dict(), given.state_dict()
        same = [name for name in own if name in weights and torch.equal(own[name], weights[name])]
        assert len(same) > 0.9 * len(own)
