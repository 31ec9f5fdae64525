"""The folder of a run: what may change on resume, forks, locks, torn and forged checkpoints."""

import copy
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import autoencoder_run, diffusion_run, last_checkpoint, log, losses, train

from longtake import config, run_folder, runs
from longtake.checkpoint import (
    CheckpointError,
    ExistsError,
    read_tensors,
    weights_hash,
    write_tensors,
)
from longtake.cli import main
from longtake.config import ConfigError
from longtake.distributed import Ranks
from longtake.files import InUseError
from longtake.latents import LatentScaling
from longtake.model import ModelIndex, VideoModel
from longtake.runs import AnyRun, AutoencoderRun, DiffusionRun
from longtake.training import checkpoint
from longtake.video import VideoWriter

Run = AutoencoderRun | DiffusionRun


def write_video(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    random = torch.Generator().manual_seed(seed)
    frames = torch.randint(256, (12, 16, 16, 3), dtype=torch.uint8, generator=random)
    with VideoWriter(path, 8.0, overwrite=True) as writer:
        writer.write(frames.numpy())


def changed(run: Run, *changes: str) -> Run:
    return config.parse(AnyRun, config.override(AnyRun, config.to_dict(run), changes))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tiny_autoencoder_folder: Path) -> Path:
    """Two runs with a checkpoint, of which one reads videos and is started from a model."""
    root = tmp_path_factory.mktemp("begun")
    for number in range(2):
        write_video(root / "videos" / f"{number}.mp4", number)
    for name in ("model", "copy"):
        shutil.copytree(tiny_autoencoder_folder, root / name)
    for name, run in begun_runs(root).items():
        train(run, root / name)
    return root


def begun_runs(root: Path) -> dict[str, Run]:
    plan = {"frames": 4, "height": 16, "width": 16}
    data = {"kind": "folder", "path": str(root / "videos"), "plan": plan}
    return {
        "autoencoder": autoencoder_run(data=data, steps=1),
        "denoiser": diffusion_run(root / "model", steps=1),
    }


@pytest.fixture
def again(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Mapping[str, Any]]:
    """Start a copy of a begun run again with changes; returns what it was carried out with."""
    executed: list[Run] = []
    for kind in (AutoencoderRun, DiffusionRun):
        monkeypatch.setattr(kind, "execute", lambda run, *_: executed.append(run))

    def start(name: str, *changes: str) -> Mapping[str, Any]:
        shutil.copytree(begun / name, tmp_path / "run")
        words = [
            change.replace("ROOT", str(begun)).replace("HERE", str(tmp_path)) for change in changes
        ]
        train(changed(begun_runs(begun)[name], *words), tmp_path / "run")
        (run,) = executed
        return config.to_dict(run)

    return start


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("autoencoder", "training.workers=2"),
        ("autoencoder", "training.shards=1"),
        ("autoencoder", "training.keep=5"),
        ("autoencoder", "training.keep_every=300"),
        ("autoencoder", "training.save_every=3"),
        ("autoencoder", "training.log_every=7"),
        ("autoencoder", "training.sample_every=9"),
        ("autoencoder", "training.evaluate_every=4"),
        ("autoencoder", "training.export_every=0"),
        ("autoencoder", "training.tracker=tensorboard"),
        ("autoencoder", "training.accumulate=2"),
        ("autoencoder", "training.steps=99"),
        ("autoencoder", "training.cooldown_steps=1"),
        ("autoencoder", "num_previews=3"),
        ("autoencoder", "validation={kind: sky}"),
        ("autoencoder", "adversarial_steps=5"),
        ("autoencoder", "data.path=ROOT/autoencoder/../videos"),
        ("autoencoder", "data.path=HERE/link"),
        ("denoiser", "cache.batch=2"),
        ("denoiser", "cache_folder=HERE/cache"),
        ("denoiser", "sampling.sampler.steps=9"),
        ("denoiser", "sampling.context_noise=0.5"),
        ("denoiser", "preview_frames=16"),
        ("denoiser", "evaluation.clips=9"),
        ("denoiser", "model=ROOT/copy"),
    ],
)
def test_what_does_not_change_the_result_may_change(
    again, begun: Path, tmp_path: Path, name: str, change: str
):
    (tmp_path / "link").symlink_to(begun / "videos")
    carried_out = again(name, change)
    stored = config.read(tmp_path / "run" / "config.yaml")
    assert stored == carried_out
    assert stored != config.to_dict(begun_runs(begun)[name])


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("autoencoder", "training.seed=1", "training.seed was 0 and is 1 now"),
        ("autoencoder", "training.batch=4", "training.batch was 2 and is 4 now"),
        ("autoencoder", "training.warmup_steps=3", "training.warmup_steps was 0 and is 3 now"),
        ("autoencoder", "training.optimizer.lr=0.5", "optimizer.lr was 0.001 and is 0.5 now"),
        ("autoencoder", "training.optimizer.weight_decay=0.1", "weight_decay was 0.0 and is 0.1"),
        ("autoencoder", "training.optimizer.clip_norm=9", "clip_norm was 0.5 and is 9.0 now"),
        ("autoencoder", "training.optimizer.betas=[0.5, 0.9]", "is [0.5, 0.9] now"),
        ("autoencoder", "training.ema.decay=0.5", "training.ema.decay was 0.9999 and is 0.5 now"),
        ("autoencoder", "training.ema=null", "training.ema was {"),
        ("autoencoder", "training.precision=bfloat16", "precision was auto and is bfloat16 now"),
        ("autoencoder", "autoencoder.hidden=8", "autoencoder.hidden was 4 and is 8 now"),
        ("autoencoder", "loss.kl_weight=1", "loss.kl_weight was 1e-06 and is 1.0 now"),
        ("autoencoder", "loss.reduction=official", "reduction was mean and is official"),
        ("autoencoder", "crop=[8, 8]", "crop was None and is [8, 8] now"),
        ("autoencoder", "discriminator.lr=1", "discriminator.lr was 0.0001 and is 1.0 now"),
        ("autoencoder", "collapse=null", "collapse was {"),
        ("autoencoder", "data.plan.flip=true", "data.plan.flip was False and is True now"),
        ("autoencoder", "data.plan.stride=2", "data.plan.stride was 1 and is 2 now"),
        ("autoencoder", "init_from=ROOT/model", "init_from"),
        ("denoiser", "data.seed=7", "data.seed was 0 and is 7 now"),
        ("denoiser", "denoiser.model_channels=16", "model_channels was 8 and is 16 now"),
        ("denoiser", "clip.stride=1", "clip.stride was 2 and is 1 now"),
        ("denoiser", "clip.label_dropout=0.5", "clip.label_dropout was 0.1 and is 0.5 now"),
        ("denoiser", "diffusion.prediction=v", "diffusion.prediction was epsilon and is v now"),
        ("denoiser", "scale_latents=false", "scale_latents was True and is False now"),
        ("denoiser", "cache.seed=3", "cache.seed was 0 and is 3 now"),
    ],
)
def test_what_changes_the_result_is_refused_with_both_values(
    again, tmp_path: Path, name: str, change: str, said: str
):
    with pytest.raises(ExistsError) as failure:
        again(name, change)
    message = str(failure.value)
    assert said in message
    assert "set fork=NEW to start a run in the folder NEW from this one's last" in message
    assert "overwrite" not in message
    assert checkpoint.checkpoints(tmp_path / "run")


def test_copied_data_is_the_same_data(again, begun: Path, tmp_path: Path):
    shutil.copytree(begun / "videos", tmp_path / "videos")
    again("autoencoder", "data.path=HERE/videos")


@pytest.mark.parametrize("change", ["new", "gone", "other"])
def test_data_that_changed_is_reported(begun: Path, tmp_path: Path, change: str):
    shutil.copytree(begun / "videos", tmp_path / "videos")
    run = changed(begun_runs(begun)["autoencoder"], f"data.path={tmp_path}/videos")
    train(run, tmp_path / "run")
    write_video(tmp_path / "videos" / ("2.mp4" if change == "new" else "1.mp4"), 9)
    if change == "gone":
        (tmp_path / "videos" / "1.mp4").unlink()
    with pytest.raises(ExistsError, match=r"holds another run: data.videos.* set fork=NEW"):
        train(changed(run, "training.steps=2"), tmp_path / "run")


def test_a_model_that_changed_is_reported(begun: Path, tmp_path: Path, tiny_model: VideoModel):
    shutil.copytree(begun / "model", tmp_path / "model")
    run = changed(begun_runs(begun)["denoiser"], f"model={tmp_path}/model")
    train(run, tmp_path / "run")
    autoencoder = copy.deepcopy(tiny_model.autoencoder)
    next(autoencoder.parameters()).data.add_(1)
    other = VideoModel(index=ModelIndex(fps=8.0), autoencoder=autoencoder)
    shutil.rmtree(tmp_path / "model")
    other.save_pretrained(tmp_path / "model")
    with pytest.raises(ExistsError, match=r"holds another run: model was .* and is .* now"):
        train(run, tmp_path / "run")


def test_a_run_that_was_killed_at_its_very_beginning_starts(tmp_path: Path):
    (tmp_path / "run").mkdir()
    for name in run_folder.BEGUN:
        (tmp_path / "run" / name).touch()
    train(autoencoder_run(steps=1), tmp_path / "run")
    assert not any(path.suffix == ".partial" for path in (tmp_path / "run").iterdir())


def test_old_checkpoints_that_a_kill_has_left_are_removed(tmp_path: Path):
    run = autoencoder_run(steps=2, save_every=1, keep=1)
    train(run, tmp_path)
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    for name in ("step_00000001", ".step_00000001.partial"):
        shutil.copytree(newest, tmp_path / name)
    train(run, tmp_path)
    assert [*tmp_path.glob("*step_*")] == [newest]


def test_a_fork_continues_from_the_last_checkpoint_and_leaves_the_run_as_it_is(tmp_path: Path):
    run, old, new = (
        autoencoder_run(steps=3, save_every=2, keep=1),
        tmp_path / "old",
        tmp_path / "new",
    )
    train(run, old)
    before = {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    other = changed(run, "training.steps=5", "training.optimizer.weight_decay=0.5")
    with pytest.raises(ExistsError, match="weight_decay"):
        train(other, old)
    for _ in range(2):  # the same command again continues
        run_folder.start(other, old, Ranks(), runs.Callbacks(), fork=new)
    assert {p: p.read_bytes() for p in old.rglob("*") if p.is_file()} == before
    assert [line["step"] for line in log(new)] == [1, 2, 3, 4, 5]
    assert losses(new)[:3] == losses(old)
    state = json.loads((checkpoint.checkpoints(new)[-1] / "state.json").read_text())
    assert state["settings"]["main"][0]["weight_decay"] == 0.5


def test_a_fork_takes_the_latents_where_they_fit(begun: Path, tmp_path: Path):
    run = begun_runs(begun)["denoiser"]
    for name, change, shared in [("a", "training.seed=3", True), ("b", "cache.seed=3", False)]:
        fork, encoded = tmp_path / name, list[int]()
        said = runs.Callbacks(encoding=lambda done, total, of=encoded: of.append(done))
        run_folder.start(changed(run, change), begun / "denoiser", Ranks(), said, fork=fork)
        assert (fork / "latents" / "index.json").exists()
        assert (not encoded) == shared


def test_a_fork_of_no_run_is_refused_and_leaves_nothing(tmp_path: Path):
    fork, nothing = tmp_path / "fork", tmp_path / "nothing"
    with pytest.raises(CheckpointError, match="nothing: no run with a checkpoint to fork from"):
        run_folder.start(autoencoder_run(), nothing, Ranks(), runs.Callbacks(), fork=fork)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("tracker", ["none", "tensorboard"])
def test_a_refused_start_does_not_block_the_corrected_one(
    tmp_path: Path, begun: Path, tracker: str
):
    if tracker != "none":
        pytest.importorskip(tracker)
    run = changed(begun_runs(begun)["denoiser"], f"training.tracker={tracker}")
    refused = {
        "data={kind: folder, path: nowhere}": "nowhere: no such folder",
        "clip.stride=9": "lower clip.stride",
        "denoiser.num_classes=3": "num_classes=3",
        "model=nowhere": "nowhere: no such folder",
    }
    for change, said in refused.items():
        with pytest.raises(ValueError, match=said):
            train(changed(run, change), tmp_path / "run")
    train(run, tmp_path / "run")
    assert log(tmp_path / "run")


def test_latents_of_a_run_without_checkpoints_are_kept_under_another_name(
    tmp_path: Path, begun: Path
):
    def fail(_: object) -> None:
        raise RuntimeError

    run = changed(begun_runs(begun)["denoiser"], "training.log_every=1")
    with pytest.raises(RuntimeError):
        train(run, tmp_path, training=fail)
    assert not list(tmp_path.glob("step_*"))
    train(changed(run, "cache.seed=3"), tmp_path)
    assert (tmp_path / "latents_0" / "index.json").exists()


def tear(folder: Path, how: str) -> None:
    path = folder / {"state": "state.json", "gone": "state.json"}.get(how, "weights.safetensors")
    content = path.read_bytes()
    match how:
        case "gone" | "missing":
            path.unlink()
        case "link":
            shutil.move(path, folder.parent / "elsewhere")
            path.symlink_to(folder.parent / "elsewhere")
        case "zeros":
            path.write_bytes(content[:-64] + bytes(64))
        case _:
            path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("how", ["state", "gone", "weights", "missing", "zeros", "link"])
def test_a_torn_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
):
    run = autoencoder_run(steps=4, save_every=1, keep=3)
    train(run, tmp_path / "whole")
    train(changed(run, "training.steps=3"), tmp_path / "torn")
    tear(tmp_path / "torn" / "step_00000003", how)
    train(run, tmp_path / "torn")
    assert "step_00000003" in caplog.text
    assert "training continues after step 2; it is kept as torn_step_00000003" in caplog.text
    assert losses(tmp_path / "torn") == losses(tmp_path / "whole")
    expected, got = (last_checkpoint(tmp_path / name) for name in ("whole", "torn"))
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_run_without_a_whole_checkpoint_is_not_begun_again(tmp_path: Path):
    run = autoencoder_run(steps=1)
    train(run, tmp_path)
    tear(tmp_path / "step_00000001", "weights")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"no checkpoint is complete; .*weights\.safet"):
            train(changed(run, "training.steps=2"), tmp_path)
    assert losses(tmp_path)


@pytest.mark.parametrize(
    ("file", "lost", "said"),
    [
        ("weights", "autoencoder.", "lacks 'autoencoder."),
        ("ema", "encoder.", "lacks 'encoder."),
        ("optimizer_main", ".exp_avg_sq", ".exp_avg_sq"),
        ("optimizer_main", "autoencoder.", "lacks autoencoder."),
        ("ema", None, "lacks the EMA of the weights"),
    ],
)
def test_a_state_that_lacks_a_part_is_refused_by_its_name(
    tmp_path: Path, file: str, lost: str | None, said: str
):
    run = autoencoder_run(steps=1)
    train(run, tmp_path)
    folder = tmp_path / "step_00000001"
    path = folder / f"{file}.safetensors"
    tensors = read_tensors(path)
    if lost is None:
        path.unlink()
    else:
        gone = min(name for name in tensors if lost in name)
        parameter = gone.rpartition(".")[0] if file.startswith("opt") else gone
        of_one = lost == ".exp_avg_sq"
        left = {
            name: tensor
            for name, tensor in tensors.items()
            if name != gone and (of_one or not name.startswith(parameter))
        }
        write_tensors(path, left)
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "files": {}}))
    with pytest.raises(CheckpointError) as failure:
        train(changed(run, "training.steps=2"), tmp_path)
    assert said in str(failure.value)


@pytest.mark.parametrize(
    "forged",
    [
        {"settings": {"../../main": []}},
        {"files": {"../secret": "0"}},
        {"files": {"/etc/passwd": "0"}},
        {"step": -1},
        {"step": 7},
        {"step": "one"},
        {"settings": {"main": [{"lr": 1}]}},
        {"settings": None},
    ],
)
def test_a_forged_state_is_refused_in_a_sentence(tmp_path: Path, forged: dict[str, Any]):
    run = autoencoder_run(steps=1)
    train(run, tmp_path)
    path = tmp_path / "step_00000001" / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | forged))
    with pytest.raises(CheckpointError, match="no checkpoint is complete"):
        train(changed(run, "training.steps=2"), tmp_path)


@pytest.mark.parametrize("state", ["[]", "{}", "[" * 10**5, '"', "\x00"])
def test_a_state_that_is_not_a_state_is_refused(tmp_path: Path, state: str):
    run = autoencoder_run(steps=1)
    train(run, tmp_path)
    (tmp_path / "step_00000001" / "state.json").write_text(state)
    with pytest.raises(CheckpointError, match="no checkpoint is complete"):
        train(changed(run, "training.steps=2"), tmp_path)


def test_a_monitor_of_other_discriminators_is_refused(tmp_path: Path):
    run = autoencoder_run(steps=1)
    train(run, tmp_path)
    path = tmp_path / "step_00000001" / "state.json"
    state = json.loads(path.read_text())
    state["monitor"]["starts"] = {"judge": {"first_step": 1}}
    path.write_text(json.dumps(state))
    with pytest.raises(ValueError, match="with the discriminators judge, but this one has none"):
        train(changed(run, "training.steps=2"), tmp_path)


def test_parts_that_a_kill_has_left_are_removed_and_what_they_replaced_comes_back(tmp_path: Path):
    run = autoencoder_run(steps=1)
    train(run, tmp_path)
    (tmp_path / ".step_00000002.partial").mkdir()
    (tmp_path / "step_00000001").rename(tmp_path / ".step_00000001.old")
    train(changed(run, "training.steps=2"), tmp_path)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert [line["step"] for line in log(tmp_path)] == [1, 2]


HOLD = """
import sys, time
from pathlib import Path
from longtake.files import locked

folder = Path(sys.argv[1])
with locked(folder, folder / ".lock"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_in_use_is_refused_with_who_uses_it_and_taken_over_after_a_kill(tmp_path: Path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    who = f"process {holder.pid} on {socket.gethostname()}"
    refused: list[dict[str, Any]] = [{}, {"overwrite": True}]
    for options in refused:
        with pytest.raises(InUseError, match=f"in use: {who}"):
            run_folder.start(
                autoencoder_run(steps=1), tmp_path, Ranks(), runs.Callbacks(), **options
            )
    holder.kill()
    holder.communicate()
    assert (tmp_path / ".lock").exists()
    train(autoencoder_run(steps=1), tmp_path)
    assert not (tmp_path / ".lock").exists()


def test_a_run_exports_its_averaged_model_while_it_trains(tmp_path: Path):
    seen: dict[int, str] = {}

    def look(progress: Any) -> None:
        if (tmp_path / "model").exists():
            seen[progress.step] = weights_hash(VideoModel.from_pretrained(tmp_path).autoencoder)

    run = autoencoder_run(steps=6, export_every=2, save_every=2, keep=1, keep_every=4)
    train(run, tmp_path, training=look)
    assert sorted(seen) == [3, 4, 5, 6]
    assert seen[3] == seen[4] != seen[5] == seen[6]
    assert [path.name[-1] for path in checkpoint.checkpoints(tmp_path)] == ["4", "6"]
    milestone = VideoModel.from_pretrained(tmp_path / "models" / "step_00000004").autoencoder
    average = read_tensors(tmp_path / "step_00000004" / "ema.safetensors")
    assert all(torch.equal(average[n], x) for n, x in milestone.state_dict().items())
    assert weights_hash(milestone) == seen[5]


def test_exports_change_nothing_in_the_training(tmp_path: Path, begun: Path):
    run = begun_runs(begun)["denoiser"]
    for every in (0, 1):
        changes = ["training.steps=3", f"training.export_every={every}"]
        train(changed(run, *changes), tmp_path / str(every))
    assert losses(tmp_path / "0") == losses(tmp_path / "1")


def test_milestones_are_checkpoints():
    with pytest.raises(ConfigError, match="keep_every=5 must be a multiple of save_every=2"):
        autoencoder_run(save_every=2, keep_every=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_saves_and_exports_the_run(
    tmp_path: Path,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    preset, folder = tmp_path / "tiny.yaml", tmp_path / "run"
    preset.write_text(config.to_yaml(autoencoder_run(steps=2_000)))
    monkeypatch.setattr(sys, "argv", ["longtake", "fit", str(preset), "-o", str(folder)])

    def send() -> None:
        while not (folder / "log.jsonl").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(SystemExit) as stopped:
            main()
    finally:
        sender.join()
        signal.signal(signal.SIGHUP, before)
    assert stopped.value.code == 128 + number
    assert "stopped at step" in capsys.readouterr().err
    assert checkpoint.latest(folder)
    assert VideoModel.from_pretrained(folder).autoencoder


def test_another_number_of_classes_is_reported_before_anything_is_encoded(
    begun: Path, tmp_path: Path
):
    run = begun_runs(begun)["denoiser"]
    said = "denoiser.num_classes=2, but the data has 24 classes; set it to 24"
    with pytest.raises(ConfigError, match=said):
        train(changed(run, "denoiser.num_classes=2"), tmp_path)
    plan = "plan: {frames: 12, height: 16, width: 16}"
    data = f"data={{kind: folder, path: {begun}/videos, {plan}}}"
    with pytest.raises(ConfigError, match="the data has no classes; set it to null, or give"):
        train(changed(run, data), tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_fine_tuned_network_keeps_its_latent_scaling(begun: Path, tmp_path: Path):
    run = changed(begun_runs(begun)["denoiser"], "clip.context={}")
    train(run, tmp_path / "first")
    scaling = LatentScaling(shift=0.25, scale=0.5)
    first = VideoModel.from_pretrained(tmp_path / "first")
    index = first.index.model_copy(update={"latent_scaling": scaling})
    VideoModel(
        index=index, autoencoder=first.autoencoder, denoisers=first.denoisers
    ).save_pretrained(tmp_path / "converted")
    tuned = changed(run, f"init_from={tmp_path}/converted")
    train(tuned, tmp_path / "tuned")
    assert VideoModel.from_pretrained(tmp_path / "tuned").index.latent_scaling == scaling
    train(changed(tuned, "scale_latents=measured"), tmp_path / "measured")
    measured = VideoModel.from_pretrained(tmp_path / "measured").index.latent_scaling
    assert measured == first.index.latent_scaling != scaling


def test_a_network_without_classes_starts_from_one_that_has_them(begun: Path, tmp_path: Path):
    run = changed(begun_runs(begun)["denoiser"], "clip.context={}")
    train(run, tmp_path / "first")
    other = changed(run, f"init_from={tmp_path}/first", "denoiser.num_classes=null")
    assert isinstance(other, DiffusionRun)
    first = VideoModel.from_pretrained(tmp_path / "first")
    own = other.initial_denoiser(first).state_dict()
    given = first.denoisers["first"].state_dict()
    assert {*given} - {*own} == {"label_embed.weight"}
    assert all(torch.equal(own[name], given[name]) for name in own)
    train(other, tmp_path / "second")  # and the other way round, random weights for the classes
    assert not VideoModel.from_pretrained(tmp_path / "second").index.classes
    again = changed(run, f"init_from={tmp_path}/second")
    train(again, tmp_path / "third")
    assert VideoModel.from_pretrained(tmp_path / "third").index.classes
    with pytest.raises(CheckpointError, match="does not fit its config"):
        train(changed(again, "denoiser.model_channels=16"), tmp_path / "wider")
