"""Group normalisation is what torch computes, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

from longtake.nn.kernels import group_norm
from longtake.nn.layers import GroupNorm


def drawn(groups: int, *, silu: bool = False) -> GroupNorm:
    norm = GroupNorm(8, groups, silu=silu).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm


def plain(norm: GroupNorm, x, scale, shift):
    y = F.group_norm(x.movedim(-1, 1), norm.groups, norm.weight, norm.bias, norm.eps).movedim(1, -1)
    parts = y.reshape(len(x), scale.shape[1], -1, x.shape[-1])
    y = (parts * (1 + scale[:, :, None]) + shift[:, :, None]).view(x.shape)
    return F.silu(y) if norm.silu else y


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("parts", [1, 3])
def test_values_and_gradients_are_those_of_the_plain_formula(parts, groups, silu):
    norm = drawn(groups, silu=silu)
    x = (torch.randn(2, 3, 2, 2, 8).double() + 3).requires_grad_()
    scale, shift = (torch.randn(2, parts, 8).double().requires_grad_() for _ in range(2))
    leaves = [x, scale, shift, *norm.parameters()]
    got, want = norm(x, (scale, shift)), plain(norm, x, scale, shift)
    torch.testing.assert_close(got, want)
    direction = torch.randn_like(got)
    torch.testing.assert_close(
        torch.autograd.grad(got, leaves, direction), torch.autograd.grad(want, leaves, direction)
    )


def test_the_gradient_is_that_of_the_value():
    norm = drawn(2, silu=True)
    x = torch.randn(2, 3, 8).double().requires_grad_()
    scale = torch.randn(2, 3, 8).double().requires_grad_()
    shift = torch.randn_like(scale).requires_grad_()
    assert torch.autograd.gradcheck(lambda *leaves: norm(leaves[0], leaves[1:]), (x, scale, shift))


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("positions", [0, 1 << 60], ids=["steps", "operator"])
def test_values_and_gradients_without_modulation(silu, positions, monkeypatch):
    monkeypatch.setattr(group_norm, "NATIVE_BACKWARD_POSITIONS", positions)
    norm = drawn(2, silu=silu)
    x, none = torch.randn(2, 3, 8).double().requires_grad_(), torch.zeros(2, 1, 8).double()
    leaves = [x, *norm.parameters()]
    got, want = norm(x), plain(norm, x, none, none)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(
        torch.autograd.grad(got.square().sum(), leaves),
        torch.autograd.grad(want.square().sum(), leaves),
    )


def test_rows_do_not_see_one_another():
    norm = drawn(4)
    x = torch.randn(3, 5, 8).double()
    torch.testing.assert_close(norm(x)[1:2], norm(x[1:2]))


def test_layout_in_memory_does_not_matter():
    norm = drawn(4)
    x = torch.randn(1, 8, 5).double()
    torch.testing.assert_close(norm(x.mT), norm(x.mT.contiguous()))


@pytest.mark.parametrize("silu", [False, True])
def test_layout_of_a_gradient_in_memory_does_not_matter(silu):
    norm, x = drawn(2, silu=silu), torch.randn(2, 5, 8).double().requires_grad_()
    direction = torch.randn(2, 8, 5).double()
    out = norm(x)
    one = torch.autograd.grad(out, x, direction.mT, retain_graph=True)
    torch.testing.assert_close(one, torch.autograd.grad(out, x, direction.mT.contiguous()))


def test_half_precision_is_computed_in_single():
    norm, x = GroupNorm(8, 2), torch.randn(2, 50, 8) + 100
    half = x.bfloat16()
    got = norm(half)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, norm(half.float()).bfloat16())


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="groups=3 must divide the 8 channels"):
        GroupNorm(8, 3)


@pytest.mark.parametrize("parts", [1, 3])
def test_each_frame_is_normalised_as_a_clip_of_its_own(parts):
    norm = drawn(2, silu=True)
    x = torch.randn(2, 3, 2, 2, 8).double()
    scale, shift = (torch.randn(2, parts, 8).double() for _ in range(2))
    alone = [
        norm(x[:, t : t + 1], tuple(part.expand(2, 3, 8)[:, t : t + 1] for part in (scale, shift)))
        for t in range(3)
    ]
    norm.each_frame = True
    torch.testing.assert_close(norm(x, (scale, shift)), torch.cat(alone, 1))
