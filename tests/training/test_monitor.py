"""The monitor of adversarial training: start, end and collapse."""

import json
import math
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import autoencoder_run, last_checkpoint, log, losses, train

from longtake.checkpoint import read_tensors, weights_hash
from longtake.distributed import Ranks
from longtake.losses.adversarial import Accuracy
from longtake.losses.discriminators import Plateau
from longtake.model import VideoModel
from longtake.runs import AutoencoderRun
from longtake.training import checkpoint as state
from longtake.training.monitor import (
    BlockMeans,
    CollapseRule,
    Statistics,
    TrainingMonitor,
    blocks_per_window,
)
from longtake.training.trainer import Interrupted, TrainingProgress

NAME = "discriminator"
RULE = Plateau(improvement=0.1, steps=20)
LAX = CollapseRule(rise=9, steps=2)
STRICT = CollapseRule(rise=1.5, accuracy=0.9, steps=20)

PAPERS = {"weight": 1.0, "adaptive": False, "feature_weight": 4.0, "base_channels": 4, "layers": 1}


def two_adversaries(**changes: Any) -> list[dict[str, Any]]:
    """PVDM's, small."""
    frame = {"kind": "patch2d", "frames": 1, "padding": 2, "bias": True}
    return [{**frame, **PAPERS, **changes}, {"kind": "patch3d", **PAPERS, **changes}]


def tiny_run(
    adversary: Any, *, collapse: Any = None, adversarial_steps: int | None = None, **training: Any
) -> AutoencoderRun:
    run = autoencoder_run(adversary, **training)
    changes = {"collapse": collapse, "adversarial_steps": adversarial_steps}
    return run.model_copy(update=changes)


def falling(step: int) -> float:
    """Noisy and exponential, as losses are."""
    return 1 + math.exp(-step / 30) + 0.2 * math.sin(step * 12.9898)


def monitor(
    start: int | Plateau = RULE, collapse: CollapseRule | None = None, steps: int | None = None
) -> TrainingMonitor:
    return TrainingMonitor({NAME: start}, collapse, steps, Ranks())


def feed(
    followed: TrainingMonitor,
    loss: Callable[[int], float],
    accuracy: Callable[[int], float] = lambda step: 0.6,
    steps: range = range(400),
) -> list[int]:
    """Steps in which the adversary took part."""
    played = []
    for step in steps:
        found = Statistics(reconstruction=torch.tensor(loss(step)))
        if NAME in followed.active(step):
            played.append(step)
            share = torch.tensor(accuracy(step))
            found.accuracies[NAME] = Accuracy(share, share)
        followed.observe(step + 1, [found])
    return played


@pytest.mark.parametrize("steps", [1, 7, 10, 12, 95, 10_000])
def test_a_window_of_steps_is_a_whole_number_of_blocks(steps):
    blocks = blocks_per_window(steps)
    assert steps % blocks == 0
    assert blocks <= 10


def test_means_over_blocks_continue_from_a_stored_state():
    values = torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
    whole, parts = BlockMeans(), BlockMeans()
    for value in values:
        parts = BlockMeans.model_validate_json(parts.model_dump_json())
        assert parts.add(value, 49) == whole.add(value, 49)
    assert parts.model_dump() == whole.model_dump()
    assert blocks_per_window(49) == 7
    torch.testing.assert_close(torch.tensor(list(whole.means)), values[7:56].view(7, 7, 2).mean(1))


def test_a_step_given_as_start_is_the_first_with_the_discriminator():
    assert feed(monitor(7), falling)[0] == 7
    assert feed(monitor(0), falling)[0] == 0


def test_a_plateau_starts_a_discriminator_where_the_loss_rests():
    first = feed(monitor(), falling)[0]
    means = [sum(map(falling, range(first - n, first - n + 20))) / 20 for n in (40, 20)]
    assert means[0] - means[1] < 0.1 * means[0]
    assert 40 < first < 150


def test_the_start_is_later_the_less_improvement_is_required():
    shares = (0.3, 0.1, 0.05)
    firsts = [feed(monitor(Plateau(improvement=s, steps=20)), falling)[0] for s in shares]
    assert all(sooner < later for sooner, later in pairwise(firsts))


def test_a_falling_loss_starts_no_discriminator():
    assert feed(monitor(), lambda step: math.exp(-step / 50)) == []


@pytest.mark.parametrize("latest", [3, 55])
def test_with_a_falling_loss_the_latest_step_is_the_start(latest):
    rule = RULE.model_copy(update={"latest": latest})
    assert feed(monitor(rule), lambda step: math.exp(-step / 50))[0] == latest


def test_nothing_starts_before_the_earliest_step():
    rule = RULE.model_copy(update={"earliest": 301})
    assert feed(monitor(rule), lambda step: 1.0)[0] == 302  # blocks have two steps


@pytest.mark.parametrize("stop", [5, 39, 41, 90])
def test_start_and_end_are_the_same_from_a_stored_state(stop):
    whole, before, after = (monitor(RULE, STRICT, steps=50) for _ in range(3))
    expected = feed(whole, falling)
    got = feed(before, falling, steps=range(stop))
    after.restore(before.state())
    assert got + feed(after, falling, steps=range(stop, 400)) == expected
    assert after.state() == whole.state()
    ends = [next(s for s in range(400) if c.done(s)) for c in (whole, after)]
    assert ends == [expected[0] + 50] * 2


def test_without_a_start_there_is_no_end():
    followed = monitor(steps=1)
    feed(followed, falling, steps=range(30))
    assert not followed.done(10**9)


def test_a_healthy_training_is_not_stopped():
    followed = monitor(100, STRICT)
    feed(followed, falling, lambda step: 0.8 + 0.15 * math.sin(step))
    assert followed.last_good_step == 400


@pytest.mark.parametrize("start", [0, 100])
def test_what_is_over_a_bound_for_less_than_the_steps_is_not_a_collapse(start):
    followed = monitor(start, STRICT)
    feed(
        followed,
        lambda step: 5.0 if 200 <= step < 217 else 1.0,
        lambda step: 1.0 if 300 <= step < 317 else 0.6,
    )


@pytest.mark.parametrize(
    ("loss", "accuracy", "message"),
    [
        (
            lambda s: 2.0 if s >= 200 else 1.0,
            lambda s: 0.6,
            "the reconstruction loss stayed over its bound of 1.5",
        ),
        (
            lambda s: 1.0,
            lambda s: 0.95 if s >= 200 else 0.6,
            "the accuracy of discriminator stayed over its bound",
        ),
    ],
)
def test_a_collapse_stops_the_training_and_earlier_steps_are_trusted(loss, accuracy, message):
    followed = monitor(100, STRICT)
    with pytest.raises(
        FloatingPointError, match=rf"collapsed: {message}.* for 20 steps.*loss was 1\)"
    ):
        feed(followed, loss, accuracy)
    assert followed.last_good_step == 200


def test_a_loss_that_is_not_a_number_stops_the_training():
    followed = monitor(100, STRICT)
    with pytest.raises(FloatingPointError, match="steps up to 202 is NaN"):
        feed(followed, lambda step: math.nan if step == 200 else 1.0)
    assert followed.last_good_step == 200


def test_before_the_start_nothing_is_judged():
    followed = monitor(10**6, STRICT)
    feed(followed, lambda step: 1.0 + step)
    assert followed.last_good_step is None


def test_checkpoints_are_removed_but_the_last_and_the_last_good_one(tmp_path: Path):
    for step in range(6):
        (tmp_path / f"step_{step:08d}").mkdir()
        (tmp_path / f"step_{step:08d}" / "state.json").touch()
    state.prune(tmp_path, keep=2, last_good_step=2)
    kept = [int(path.name[-1]) for path in state.checkpoints(tmp_path)]
    assert kept == [2, 4, 5]
    assert state.last_up_to(tmp_path, 3) == tmp_path / "step_00000002"
    assert state.last_up_to(tmp_path, 1) is None


def test_a_run_starts_two_discriminators_by_their_rule_and_logs_their_statistics(tmp_path: Path):
    rule = {"kind": "plateau", "improvement": 0.9, "steps": 2}
    train(tiny_run(two_adversaries(start=rule), steps=6), tmp_path)
    played = [line["step"] for line in log(tmp_path) if "adversarial_pull" in line]
    assert played == [5, 6]
    for index in ("", "_2"):
        for name in ("accuracy_real", "accuracy_fake", "logits_real", "features", "adversarial"):
            assert f"{name}{index}" in log(tmp_path)[-1]
        assert f"loss_discriminator{index}" in log(tmp_path)[-1]


def test_until_the_start_a_run_is_the_plain_one_to_the_last_digit(tmp_path: Path):
    for name, adversary in [("plain", None), ("both", two_adversaries(start=4))]:
        train(tiny_run(adversary, steps=5), tmp_path / name)
    plain, both = losses(tmp_path / "plain"), losses(tmp_path / "both")
    assert plain[:4] == both[:4]
    assert plain[4] != both[4]


@pytest.mark.parametrize("step", [3, 6])
def test_a_run_that_is_stopped_starts_where_the_other_does_bit_for_bit(tmp_path: Path, step: int):
    def report(progress: TrainingProgress) -> None:
        if progress.step == step:
            signal.raise_signal(signal.SIGTERM)

    rule = {"kind": "plateau", "improvement": 0.9, "steps": 2, "earliest": 5}
    run = tiny_run(
        two_adversaries(start=rule),
        steps=30,
        collapse=CollapseRule(rise=9, steps=2),
        adversarial_steps=3,
    )
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(run, whole)
    with pytest.raises(Interrupted):
        train(run, stopped, training=report)
    train(run, stopped)
    assert [line["step"] for line in log(whole)][-1] == 5 + 3
    assert losses(whole) == losses(stopped)
    expected, got = last_checkpoint(whole), last_checkpoint(stopped)
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    texts = [state.checkpoints(folder)[-1] / "state.json" for folder in (whole, stopped)]
    assert texts[0].read_text() == texts[1].read_text()


def test_a_run_that_has_had_its_adversarial_steps_is_not_trained_again(tmp_path: Path):
    run = tiny_run(two_adversaries(start=2), steps=30, adversarial_steps=2)
    for _ in range(2):
        train(run, tmp_path)
    assert [line["step"] for line in log(tmp_path)] == [1, 2, 3, 4]
    assert (tmp_path / "model").exists()


def collapsing_run(**training: Any) -> AutoencoderRun:
    """The weight of its discriminator is a hundred thousand times too large."""
    adversary = {**two_adversaries(start=4)[0], "weight": 1e5}
    rule = CollapseRule(rise=1.2, accuracy=None, steps=4)
    loop = {"steps": 60, "batch": 1, "optimizer": {"lr": 5e-3}}
    return tiny_run(adversary, collapse=rule, **loop, **training)


def test_of_a_collapsed_run_the_last_good_model_remains(tmp_path: Path):
    with pytest.raises(FloatingPointError) as failure:
        train(collapsing_run(save_every=2, keep=1), tmp_path)
    good, collapsed = state.checkpoints(tmp_path)
    message = str(failure.value)
    assert "the adversarial training collapsed: the reconstruction loss" in message
    assert f"model is the model of the last good checkpoint, {good.name}; name it as" in message
    assert "run this one again" not in message
    parts = VideoModel.from_pretrained(tmp_path / "model").components
    hashes = [
        weights_hash_of(read_tensors(folder / "ema.safetensors"), parts["autoencoder"])
        for folder in (good, collapsed)
    ]
    exported = VideoModel.from_pretrained(tmp_path / "model").autoencoder
    assert weights_hash(exported) == hashes[0] != hashes[1]


def weights_hash_of(weights: dict[str, torch.Tensor], like: torch.nn.Module) -> str:
    like.load_state_dict(weights)
    return weights_hash(like)


def test_a_collapsed_run_without_a_good_checkpoint_says_so(tmp_path: Path):
    with pytest.raises(FloatingPointError, match=r"no checkpoint had been saved .*save_every"):
        train(collapsing_run(), tmp_path)
    assert not (tmp_path / "model").exists()


FORMER = {
    "monitor": "watch",
    "detector": "health",
    "last_good_step": "trusted",
    "loss_at_start": "level",
    "blocks_over": "streaks",
    "first_step": "at",
}


def as_version_0_1(value: Any) -> Any:
    """State of a checkpoint with the names of version 0.1, in which rules were a list."""
    if not isinstance(value, dict):
        return value
    former = {FORMER.get(key, key): as_version_0_1(child) for key, child in value.items()}
    if "starts" in former:
        former["turns"] = list(former.pop("starts").values())
    return former


@pytest.mark.parametrize("step", [3, 6])
def test_a_checkpoint_of_version_0_1_continues_bit_for_bit(tmp_path: Path, step: int):
    rule = {"kind": "plateau", "improvement": 0.9, "steps": 2, "earliest": 5}
    adversary = two_adversaries(start=rule)
    changes: dict[str, Any] = {"collapse": CollapseRule(rise=9, steps=2), "adversarial_steps": 3}
    train(tiny_run(adversary, steps=8, **changes), tmp_path / "whole")
    train(tiny_run(adversary, steps=step, **changes), tmp_path / "former")
    folder = state.checkpoints(tmp_path / "former")[-1]
    (folder / "ema.safetensors").rename(folder / "average.safetensors")
    stored = as_version_0_1(json.loads((folder / "state.json").read_text()))
    del stored["files"], stored["unused"]
    assert stored["watch"].keys() == {"turns", "health"}
    (folder / "state.json").write_text(json.dumps(stored))
    train(tiny_run(adversary, steps=8, **changes), tmp_path / "former")
    expected, got = last_checkpoint(tmp_path / "whole"), last_checkpoint(tmp_path / "former")
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    assert log(tmp_path / "former")[-1]["step"] == log(tmp_path / "whole")[-1]["step"] == 8
