"""Guidance mixes a conditional and an unconditional estimate, in one batch."""

import pytest
import torch
from tiny_denoiser import SPEC, Tiny, latent
from torch import Tensor

from longtake.config import ConfigError, parse
from longtake.diffusion import (
    ClassifierFree,
    Diffusion,
    Guidance,
    Unguided,
)
from longtake.diffusion.samplers import Denoise
from longtake.diffusion.signals import (
    ABSENT,
    Signals,
    cat,
    context_signals,
    impose,
    label_signal,
    null,
    previous_signal,
    rows,
    text_signal,
    to,
    values,
)
from longtake.registry import AnyGuidance


def condition() -> Signals:
    mask = torch.tensor([[True, False, False, False], [False, False, False, True]])
    return {
        **context_signals(latent(), mask, torch.tensor([0.1, 0.2])),
        **previous_signal(latent()),
        **label_signal([1, 3]),
        **text_signal(torch.randn(2, 5, 4)),
    }


class Counted:
    """Estimates of a tiny network, and the rows of each call."""

    def __init__(self) -> None:
        self.denoiser, self.rows = Tiny(), []

    def __call__(self, signals: Signals) -> Denoise:
        estimate = Diffusion().estimator(self.denoiser, signals)

        def counted(z: Tensor, t: Tensor) -> Tensor:
            self.rows.append(len(z))
            return estimate(z, t)

        return counted


def guide(guidance: Guidance, z: Tensor, given: Signals, t: float = 0.5):
    denoise = Counted()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoise.denoiser = Tiny()
    return guidance(denoise, given)(z, torch.full((len(z),), t)), denoise.rows


def test_scale_one_is_the_conditional_estimate_at_the_cost_of_one():
    z, given = latent(), condition()
    plain, _ = guide(Unguided(), z, given)
    got, rows = guide(ClassifierFree(scale=1), z, given)
    assert torch.equal(got, plain)
    assert rows == [2]


@pytest.mark.parametrize(("level", "keep"), [(False, ()), (True, ("context_noise",))])
def test_scale_zero_is_the_unconditional_estimate(level: bool, keep: tuple[str, ...]):
    z, given = latent(), condition()
    plain, _ = guide(Unguided(), z, null(given, keep))
    got, _ = guide(ClassifierFree(scale=0, condition_on_noise_level=level), z, given)
    torch.testing.assert_close(got, plain)


def test_the_estimate_is_affine_in_the_scale():
    z, given = latent(), condition()
    null, one, three = (guide(ClassifierFree(scale=w), z, given)[0] for w in (0.0, 1.0, 3.0))
    torch.testing.assert_close(three, null + 3 * (one - null))


def test_both_estimates_are_made_in_one_call():
    assert guide(ClassifierFree(scale=2), latent(), condition())[1] == [4]


def test_without_a_condition_there_is_nothing_to_guide():
    assert guide(ClassifierFree(scale=2), latent(), {})[1] == [2]


@pytest.mark.parametrize(("t", "rows"), [(0.2, [2]), (0.3, [4]), (0.7, [4]), (0.8, [2])])
def test_guidance_acts_in_its_interval(t, rows):
    guidance = ClassifierFree(scale=2, interval=(0.3, 0.7))
    assert guide(guidance, latent(), condition(), t)[1] == rows


def test_an_interval_must_rise():
    with pytest.raises(ConfigError, match="must rise"):
        parse(AnyGuidance, {"kind": "classifier_free", "interval": [0.7, 0.3]})


def test_nothing_of_a_condition_is_left_in_its_null():
    left = values(null(condition()))
    assert not left["context_mask"].any()
    assert (left["context_noise"] == ABSENT).all()
    assert (left["label"] == ABSENT).all()
    for name in ("previous", "text"):
        assert not left[name].any()


def test_states_of_the_empty_prompt_stand_in_for_text():
    text, empty = torch.randn(2, 2, 5, 4)
    given = text_signal(text, empty)
    assert torch.equal(null(given)["text"].value, empty)
    z = latent()
    plain, _ = guide(Unguided(), z, text_signal(empty))
    got, _ = guide(ClassifierFree(scale=0), z, given)
    torch.testing.assert_close(got, plain)


def test_states_of_the_empty_prompt_have_the_shape_of_text():
    with pytest.raises(
        ValueError, match=r"null of shape \(2, 4, 4\) stands for a value of shape \(2, 5, 4\)"
    ):
        text_signal(torch.randn(2, 5, 4), torch.randn(2, 4, 4))


def test_a_signal_can_be_kept_in_the_null():
    kept = null(condition(), ("context_noise",))["context_noise"].value
    assert torch.equal(kept, condition()["context_noise"].value)


def test_rows_of_what_was_joined_are_the_parts():
    first, second = condition(), condition()
    chosen = rows(cat([first, second]), torch.tensor([2, 3]))
    for name, signal in second.items():
        assert torch.equal(chosen[name].value, signal.value)
        assert torch.equal(chosen[name].null, signal.null)


def test_signals_on_a_device_are_in_single_precision_and_keep_masks_and_indices():
    moved = values(to({**condition(), **text_signal(torch.randn(2, 5, 4).half())}, "cpu"))
    assert moved["context"].dtype == moved["text"].dtype == torch.float32
    assert moved["context_mask"].dtype == torch.bool
    assert moved["label"].dtype == torch.int64


def test_context_frames_are_imposed_and_others_left():
    signals, z = condition(), latent()
    given, imposed = signals["context"].value, impose(SPEC, signals, z)
    assert torch.equal(imposed[0, :, 0], given[0, :, 0])
    assert torch.equal(imposed[1, :, 3], given[1, :, 3])
    assert torch.equal(imposed[0, :, 1:], z[0, :, 1:])
