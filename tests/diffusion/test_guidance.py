"""Guidance mixes a conditional and an unconditional estimate, in one batch."""

import pytest
import torch
from tiny_denoiser import SPEC, Tiny, latent
from torch import Tensor

from longtake.config import ConfigError, parse, to_dict
from longtake.diffusion import (
    DDIM,
    Autoguidance,
    ClassifierFree,
    ClipSampler,
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
        self.denoiser, self.worse, self.rows = Tiny(), Tiny(), []

    def __call__(self, signals: Signals, guide: str | None = None) -> Denoise:
        denoiser = self.denoiser if guide is None else self.worse
        estimate = Diffusion().estimator(denoiser, signals)

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


SCALES = {"text": 3.0, "label": 2.0}


def test_scales_of_one_are_the_conditional_estimate_at_the_cost_of_one():
    z, given = latent(), condition()
    got, rows = guide(ClassifierFree(scale=1, scales=dict.fromkeys(SCALES, 1.0)), z, given)
    assert torch.equal(got, guide(Unguided(), z, given)[0])
    assert rows == [2]


@pytest.mark.parametrize("scales", [{"text": 2.5}, {"label": 2.5, "context": 2.5, "previous": 2.5}])
def test_equal_scales_are_one_scale_bit_for_bit(scales: dict[str, float]):
    z, given = latent(), condition()
    got, rows = guide(ClassifierFree(scale=2.5, scales=scales), z, given)
    plain, _ = guide(ClassifierFree(scale=2.5), z, given)
    assert torch.equal(got, plain)
    assert rows == [4]


def test_each_signal_is_scaled_on_its_own_in_one_batch():
    """The step that adds a signal to those before it is scaled by that signal's scale."""
    z, given = latent(), condition()
    names = set(given) - SCALES.keys()
    nothing, others, text, whole = (
        guide(Unguided(), z, null(given, keep))[0]
        for keep in ((), names, names | {"text"}, set(given))
    )
    got, rows = guide(ClassifierFree(scale=1.5, scales=SCALES), z, given)
    expected = nothing + 1.5 * (others - nothing) + 3 * (text - others) + 2 * (whole - text)
    torch.testing.assert_close(got, expected)
    assert rows == [8]


def test_a_scale_of_zero_is_the_absence_of_its_signal():
    z, given = latent(), condition()
    rest = {name: signal for name, signal in given.items() if name != "label"}
    got, rows = guide(ClassifierFree(scales={"label": 0.0}), z, given)
    torch.testing.assert_close(got, guide(Unguided(), z, null(given, rest))[0])
    assert rows == [2]


def test_a_signal_that_is_not_given_has_no_effect():
    z, given = latent(), dict(label_signal([1, 3]))
    got, _ = guide(ClassifierFree(scale=2, scales={"text": 9.0}), z, given)
    assert torch.equal(got, guide(ClassifierFree(scale=2), z, given)[0])


def test_rescaling_brings_back_the_spread_of_the_conditional_estimate():
    z, given = latent(), condition()
    whole, plain, half = (
        guide(ClassifierFree(scale=4, rescale=share), z, given)[0] for share in (1.0, 0.0, 0.5)
    )
    spread = guide(Unguided(), z, given)[0].flatten(1).std(1)
    torch.testing.assert_close(whole.flatten(1).std(1), spread)
    torch.testing.assert_close(half, (whole + plain) / 2)
    assert torch.equal(
        guide(ClassifierFree(rescale=0.7), z, given)[0], guide(Unguided(), z, given)[0]
    )


def test_a_worse_network_guides_under_the_same_signals():
    z, given = latent(), condition()
    denoise = Counted()
    t = torch.full((2,), 0.5)
    own, worse = (denoise(given, name)(z, t) for name in (None, "worse"))
    got = Autoguidance(model="worse", scale=3)(denoise, given)(z, t)
    torch.testing.assert_close(got, worse + 3 * (own - worse))
    denoise.rows.clear()
    assert torch.equal(Autoguidance(model="worse", scale=1)(denoise, given)(z, t), own)
    outside = Autoguidance(model="worse", scale=3, interval=(0.6, 1.0))
    assert torch.equal(outside(denoise, given)(z, t), own)
    assert denoise.rows == [2, 2]


def test_a_guidance_that_a_network_cannot_follow_is_refused_before_it_is_called():
    for guidance, message in (
        (ClassifierFree(scales={"txt": 2}), "does not read the signal 'txt'; it reads"),
        (Autoguidance(model="runs/other"), "guiding network of runs/other is not loaded"),
    ):
        with pytest.raises(ValueError, match=message):
            ClipSampler(denoiser=Tiny(), diffusion=Diffusion(), sampler=DDIM(), guidance=guidance)


@pytest.mark.parametrize(
    "guidance",
    [ClassifierFree(scale=2, scales=SCALES, rescale=0.7), Autoguidance(model="runs/other")],
)
def test_a_guidance_is_read_back_equal(guidance: Guidance):
    assert parse(AnyGuidance, to_dict(guidance)) == guidance
    assert "scales" not in to_dict(ClassifierFree())


def test_both_estimates_are_made_in_one_call():
    assert guide(ClassifierFree(scale=2), latent(), condition())[1] == [4]


def test_without_a_condition_there_is_nothing_to_guide():
    assert guide(ClassifierFree(scale=2), latent(), {})[1] == [2]


@pytest.mark.parametrize(("t", "rows"), [(0.2, [2]), (0.3, [4]), (0.7, [4]), (0.8, [2])])
def test_guidance_acts_in_its_interval(t, rows):
    guidance = ClassifierFree(scale=2, interval=(0.3, 0.7))
    assert guide(guidance, latent(), condition(), t)[1] == rows


def test_an_interval_must_rise():
    with pytest.raises(ConfigError, match="must be two rising times"):
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
