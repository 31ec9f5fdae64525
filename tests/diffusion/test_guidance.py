"""Guidance mixes a conditional and an unconditional estimate, in one batch."""

import pytest
import torch
from tiny_denoiser import SPEC, Tiny, latent, there
from torch import Tensor

from longtake.config import ConfigError, parse
from longtake.diffusion import (
    ABSENT,
    AnyGuidance,
    ClassifierFree,
    Condition,
    Diffusion,
    Guidance,
    KnownFrames,
    Unguided,
)


def condition() -> Condition:
    mask = torch.tensor([[True, False, False, False], [False, False, False, True]])
    return Condition(
        known=KnownFrames(z=latent(), mask=mask, t=torch.tensor([0.1, 0.2])),
        previous=latent(),
        label=torch.tensor([1, 3]),
        text=torch.randn(2, 5, 4),
    )


class Counted:
    """Estimates of a tiny network, and the rows of each call."""

    def __init__(self) -> None:
        self.denoiser, self.rows = Tiny(), []

    def __call__(self, z: Tensor, t: float, condition: Condition) -> Tensor:
        self.rows.append(len(z))
        return Diffusion().denoise(self.denoiser, z, t, condition)


def guide(guidance: Guidance, z: Tensor, given: Condition, t: float = 0.5):
    denoise = Counted()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoise.denoiser = Tiny()
    return guidance(denoise, z, t, given), denoise.rows


def test_scale_one_is_the_conditional_estimate_at_the_cost_of_one():
    z, given = latent(), condition()
    plain, _ = guide(Unguided(), z, given)
    got, rows = guide(ClassifierFree(scale=1), z, given)
    assert torch.equal(got, plain)
    assert rows == [2]


@pytest.mark.parametrize("tell_noise", [False, True])
def test_scale_zero_is_the_unconditional_estimate(tell_noise):
    z, given = latent(), condition()
    plain, _ = guide(Unguided(), z, given.null(tell_noise=tell_noise))
    got, _ = guide(ClassifierFree(scale=0, tell_noise=tell_noise), z, given)
    torch.testing.assert_close(got, plain)


def test_the_estimate_is_affine_in_the_scale():
    z, given = latent(), condition()
    null, one, three = (guide(ClassifierFree(scale=w), z, given)[0] for w in (0.0, 1.0, 3.0))
    torch.testing.assert_close(three, null + 3 * (one - null))


def test_both_estimates_are_made_in_one_call():
    assert guide(ClassifierFree(scale=2), latent(), condition())[1] == [4]


def test_without_a_condition_there_is_nothing_to_guide():
    assert guide(ClassifierFree(scale=2), latent(), Condition())[1] == [2]


@pytest.mark.parametrize(("t", "rows"), [(0.2, [2]), (0.3, [4]), (0.7, [4]), (0.8, [2])])
def test_guidance_acts_in_its_interval(t, rows):
    guidance = ClassifierFree(scale=2, interval=(0.3, 0.7))
    assert guide(guidance, latent(), condition(), t)[1] == rows


def test_an_interval_must_rise():
    with pytest.raises(ConfigError, match="must rise"):
        parse(AnyGuidance, {"kind": "classifier_free", "interval": [0.7, 0.3]})


def test_nothing_of_a_condition_is_left_in_its_null():
    null = condition().null()
    assert not there(null.known).mask.any()
    assert (there(null.known).t == ABSENT).all()
    assert (there(null.label) == ABSENT).all()
    for part in (null.previous, null.text):
        assert not there(part).any()


def test_states_of_the_empty_prompt_stand_in_for_text():
    text, empty = torch.randn(2, 2, 5, 4)
    given = Condition(text=text, empty_text=empty)
    assert torch.equal(there(given.null().text), empty)
    assert given.given == given.null().given == ("text",)
    z = latent()
    plain, _ = guide(Unguided(), z, Condition(text=empty))
    got, _ = guide(ClassifierFree(scale=0), z, given)
    torch.testing.assert_close(got, plain)


def test_states_of_the_empty_prompt_have_the_shape_of_text():
    with pytest.raises(
        ValueError, match=r"of shape \(2, 4, 4\) stands in for text of .*\(2, 5, 4\)"
    ):
        Condition(text=torch.randn(2, 5, 4), empty_text=torch.randn(2, 4, 4))
    with pytest.raises(ValueError, match="stands in for text of shape None; give both"):
        Condition(empty_text=torch.randn(2, 4, 4))


def test_the_noise_level_can_be_told_of_nothing():
    assert torch.equal(there(condition().null(tell_noise=True).known).t, there(condition().known).t)


def test_rows_of_what_was_joined_are_the_parts():
    first, second = condition(), condition()
    both = Condition.cat([first, second]).rows(torch.tensor([2, 3]))
    assert torch.equal(there(both.known).z, there(second.known).z)
    assert torch.equal(there(both.known).mask, there(second.known).mask)
    assert torch.equal(there(both.label), there(second.label))
    assert torch.equal(there(both.text), there(second.text))


def test_a_condition_in_half_precision_keeps_its_times_and_indices():
    half = condition().to("cpu", torch.float16)
    assert there(half.known).z.dtype == there(half.text).dtype == torch.float16
    assert there(half.known).mask.dtype == torch.bool
    assert there(half.label).dtype == torch.int64
    assert torch.equal(there(half.known).t, there(condition().known).t)


def test_given_frames_are_imposed_and_others_left():
    given, z = there(condition().known), latent()
    imposed = given.impose(SPEC, z)
    assert torch.equal(imposed[0, :, 0], given.z[0, :, 0])
    assert torch.equal(imposed[1, :, 3], given.z[1, :, 3])
    assert torch.equal(imposed[0, :, 1:], z[0, :, 1:])
