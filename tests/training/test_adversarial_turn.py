"""Both stages of an autoencoder's training as one run: its turn, its end, its collapse."""

import math
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from test_processes import on_two_processes
from tiny_runs import autoencoder_run, last_checkpoint, log, losses, train

from longtake.checkpoint import read_tensors, weights_hash
from longtake.distributed import Ranks
from longtake.losses.turn import Plateau
from longtake.model import VideoModel
from longtake.runs import AutoencoderRun
from longtake.training import checkpoint as state
from longtake.training.adversarial import AdversarialCourse
from longtake.training.blocks import BlockMeans, block_length
from longtake.training.collapse import Collapse
from longtake.training.fit import Interrupted, Progress

RULE = Plateau(improvement=0.1, steps=20)
LAX = Collapse(rise=9, steps=2)
RUIN = Collapse(rise=1.5, accuracy=0.9, steps=20)

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


def course(
    start: int | Plateau = RULE, collapse: Collapse | None = None, steps: int | None = None
) -> AdversarialCourse:
    return AdversarialCourse([start], collapse, steps, Ranks())


def feed(
    watch: AdversarialCourse,
    loss: Callable[[int], float],
    accuracy: Callable[[int], float] = lambda step: 0.6,
    steps: range = range(400),
) -> list[int]:
    """Steps in which the adversary took part."""
    played = []
    for step in steps:
        values = {"reconstruction": torch.tensor(loss(step))}
        if watch.begun(step)[0]:
            played.append(step)
            values |= dict.fromkeys(
                ("accuracy_real", "accuracy_fake"), torch.tensor(accuracy(step))
            )
        watch.observe(step + 1, values)
    return played


@pytest.mark.parametrize("steps", [1, 7, 10, 12, 95, 10_000])
def test_a_stretch_of_steps_is_a_whole_number_of_blocks(steps):
    assert steps % block_length(steps) == 0
    assert steps // block_length(steps) <= 10


def test_means_over_blocks_go_on_as_if_never_stored():
    values = torch.rand(23, 2, generator=torch.Generator().manual_seed(0))
    whole, parts = BlockMeans(5, keep=3), BlockMeans(5, keep=3)
    for value in values:
        stored = parts.state()
        parts = BlockMeans(5, keep=3)
        parts.restore(stored)
        assert parts.add(value) == whole.add(value)
    assert parts.state() == whole.state()
    torch.testing.assert_close(torch.tensor(list(whole.means)), values[5:20].view(3, 5, 2).mean(1))


def test_a_step_given_as_start_is_the_first_with_the_adversary():
    assert feed(course(7), falling)[0] == 7
    assert feed(course(0), falling)[0] == 0


def test_the_turn_comes_where_the_loss_rests():
    first = feed(course(), falling)[0]
    means = [sum(map(falling, range(first - n, first - n + 20))) / 20 for n in (40, 20)]
    assert means[0] - means[1] < 0.1 * means[0]
    assert 40 < first < 150


def test_the_turn_comes_the_later_the_less_improvement_is_asked_for():
    shares = (0.3, 0.1, 0.05)
    firsts = [feed(course(Plateau(improvement=s, steps=20)), falling)[0] for s in shares]
    assert all(sooner < later for sooner, later in pairwise(firsts))


def test_a_loss_that_falls_on_never_turns():
    assert feed(course(), lambda step: math.exp(-step / 50)) == []


@pytest.mark.parametrize("latest", [3, 55])
def test_a_loss_that_falls_on_turns_at_the_latest_step(latest):
    rule = RULE.model_copy(update={"latest": latest})
    assert feed(course(rule), lambda step: math.exp(-step / 50))[0] == latest


def test_nothing_turns_before_the_earliest_step():
    rule = RULE.model_copy(update={"earliest": 301})
    assert feed(course(rule), lambda step: 1.0)[0] == 302  # blocks have two steps


@pytest.mark.parametrize("stop", [5, 39, 41, 90])
def test_the_turn_and_the_end_are_the_same_where_the_course_is_stored_between(stop):
    whole, before, after = (course(RULE, RUIN, steps=50) for _ in range(3))
    expected = feed(whole, falling)
    got = feed(before, falling, steps=range(stop))
    after.restore(before.state())
    assert got + feed(after, falling, steps=range(stop, 400)) == expected
    assert after.state() == whole.state()
    ends = [next(s for s in range(400) if c.done(s)) for c in (whole, after)]
    assert ends == [expected[0] + 50] * 2


def test_without_a_turn_there_is_no_end():
    watch = course(steps=1)
    feed(watch, falling, steps=range(30))
    assert not watch.done(10**9)


def test_a_healthy_training_is_not_stopped():
    watch = course(100, RUIN)
    feed(watch, falling, lambda step: 0.8 + 0.15 * math.sin(step))
    assert watch.trusted == 400


@pytest.mark.parametrize("start", [0, 100])
def test_what_is_over_a_bound_for_less_than_the_steps_is_not_a_collapse(start):
    watch = course(start, RUIN)
    feed(
        watch,
        lambda step: 5.0 if 200 <= step < 217 else 1.0,
        lambda step: 1.0 if 300 <= step < 317 else 0.6,
    )


@pytest.mark.parametrize(
    ("loss", "accuracy", "message"),
    [
        (
            lambda s: 2.0 if s >= 200 else 1.0,
            lambda s: 0.6,
            "1 at the turn and 2 now, was over 1.5",
        ),
        (lambda s: 1.0, lambda s: 0.95 if s >= 200 else 0.6, "discriminator 1, 0.95 now, was over"),
    ],
)
def test_a_collapse_stops_the_training_and_earlier_steps_are_trusted(loss, accuracy, message):
    watch = course(100, RUIN)
    with pytest.raises(FloatingPointError, match=f"collapsed: .*{message}.* for 20 steps"):
        feed(watch, loss, accuracy)
    assert watch.trusted == 200


def test_a_loss_that_is_no_number_stops_the_training():
    watch = course(100, RUIN)
    with pytest.raises(FloatingPointError, match="no number at step 202"):
        feed(watch, lambda step: math.nan if step == 200 else 1.0)
    assert watch.trusted == 200


def test_before_the_turn_nothing_is_judged():
    watch = course(10**6, RUIN)
    feed(watch, lambda step: 1.0 + step)
    assert watch.trusted is None


def test_checkpoints_are_removed_but_the_last_and_the_last_sound_one(tmp_path: Path):
    for step in range(6):
        (tmp_path / f"step_{step:08d}").mkdir()
        (tmp_path / f"step_{step:08d}" / "state.json").touch()
    state.prune(tmp_path, keep=2, trusted=2)
    kept = [int(path.name[-1]) for path in state.checkpoints(tmp_path)]
    assert kept == [2, 4, 5]
    assert state.last_up_to(tmp_path, 3) == tmp_path / "step_00000002"
    assert state.last_up_to(tmp_path, 1) is None


def test_a_run_with_two_adversaries_turns_by_its_rule_and_tells_their_health(tmp_path: Path):
    rule = {"kind": "plateau", "improvement": 0.9, "steps": 2}
    train(tiny_run(two_adversaries(start=rule), steps=6), tmp_path)
    played = [line["step"] for line in log(tmp_path) if "adversarial_pull" in line]
    assert played == [5, 6]
    for index in ("", "_2"):
        for name in ("accuracy_real", "accuracy_fake", "logits_real", "features", "adversarial"):
            assert f"{name}{index}" in log(tmp_path)[-1]
        assert f"loss_discriminator{index}" in log(tmp_path)[-1]


def test_until_the_turn_a_run_is_the_plain_one_to_the_last_digit(tmp_path: Path):
    for name, adversary in [("plain", None), ("both", two_adversaries(start=4))]:
        train(tiny_run(adversary, steps=5), tmp_path / name)
    plain, both = losses(tmp_path / "plain"), losses(tmp_path / "both")
    assert plain[:4] == both[:4]
    assert plain[4] != both[4]


@pytest.mark.parametrize("step", [3, 6])
def test_a_run_that_is_stopped_turns_where_the_other_does_bit_for_bit(tmp_path: Path, step: int):
    def report(progress: Progress) -> None:
        if progress.step == step:
            signal.raise_signal(signal.SIGTERM)

    rule = {"kind": "plateau", "improvement": 0.9, "steps": 2, "earliest": 5}
    run = tiny_run(
        two_adversaries(start=rule),
        steps=30,
        collapse=Collapse(rise=9, steps=2),
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


def ruinous_run(**training: Any) -> AutoencoderRun:
    """Its adversary pulls a hundred thousand times too hard."""
    adversary = {**two_adversaries(start=4)[0], "weight": 1e5}
    ruin = Collapse(rise=1.2, accuracy=None, steps=4)
    loop = {"steps": 60, "batch": 1, "optimizer": {"lr": 5e-3}}
    return tiny_run(adversary, collapse=ruin, **loop, **training)


def test_of_a_collapsed_run_the_last_sound_model_remains(tmp_path: Path):
    with pytest.raises(FloatingPointError) as told:
        train(ruinous_run(save_every=2, keep=1), tmp_path)
    sound, ruined = state.checkpoints(tmp_path)
    message = str(told.value)
    assert "the adversarial training collapsed: the reconstruction loss" in message
    assert message.endswith(f"model is the model of the last sound checkpoint, {sound.name}")
    parts = VideoModel.from_pretrained(tmp_path / "model").components
    hashes = [
        weights_hash_of(read_tensors(folder / "average.safetensors"), parts["autoencoder"])
        for folder in (sound, ruined)
    ]
    exported = VideoModel.from_pretrained(tmp_path / "model").autoencoder
    assert weights_hash(exported) == hashes[0] != hashes[1]


def weights_hash_of(weights: dict[str, torch.Tensor], like: torch.nn.Module) -> str:
    like.load_state_dict(weights)
    return weights_hash(like)


def test_where_nothing_sound_was_saved_a_collapsed_run_says_so(tmp_path: Path):
    with pytest.raises(FloatingPointError, match=r"no checkpoint had been saved .*save_every"):
        train(ruinous_run(), tmp_path)
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_two_processes_turn_and_end_as_one_does(tmp_path: Path):
    rule = {"kind": "plateau", "improvement": 0.9, "steps": 2}
    run = tiny_run(
        two_adversaries(start=rule), batch=4, steps=30, adversarial_steps=3, collapse=RUIN
    )
    train(run, tmp_path / "one")
    on_two_processes(tmp_path, {"run": run})
    assert len(losses(tmp_path / "one")) == 7
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two" / "run")
    assert two == pytest.approx(one, rel=0.05)  # batch norms see their process's part
