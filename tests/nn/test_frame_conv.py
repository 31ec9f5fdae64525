"""Convolutions of frames are what torch computes, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

from longtake.nn.kernels import frame_conv
from longtake.nn.kernels.frame_conv import neighbours
from longtake.nn.layers import FrameConv

SIZES = [(4, 4, 1), (3, 5, 1), (1, 1, 1), (6, 4, 2), (5, 3, 2)]


def plain(conv: FrameConv, x):
    frames = x.flatten(0, 1).movedim(-1, 1)
    out = F.conv2d(frames, conv.weight, conv.bias, conv.stride, padding=1)
    return out.movedim(1, -1).unflatten(0, x.shape[:2])


@pytest.fixture(params=[False, True], ids=["convolution", "product"])
def way(request, monkeypatch):
    """Either way forward, whatever the size."""
    monkeypatch.setattr(frame_conv, "WEIGHTS_PER_POSITION", 0 if request.param else 1 << 60)


@pytest.mark.parametrize(("height", "width", "stride"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.usefixtures("way")
def test_values_and_gradients_are_those_of_torch(height, width, stride, dtype):
    conv = FrameConv(3, 5, stride).to(dtype)
    x = torch.randn(2, 3, height, width, 3, dtype=dtype).requires_grad_()
    leaves = [x, *conv.parameters()]
    got, want = conv(x), plain(conv, x)
    torch.testing.assert_close(got, want)
    direction = torch.randn_like(got)
    torch.testing.assert_close(
        torch.autograd.grad(got, leaves, direction), torch.autograd.grad(want, leaves, direction)
    )


@pytest.mark.parametrize(("channels", "out_channels"), [(1, 6), (8, 1), (4, 2)])
def test_gradients_from_wide_to_narrow_and_back(channels, out_channels):
    conv = FrameConv(channels, out_channels).double()
    x = torch.randn(2, 2, 5, 4, channels).double()
    got, want = (f(x).square().sum() for f in (conv, lambda x: plain(conv, x)))
    leaves = [*conv.parameters()]
    torch.testing.assert_close(torch.autograd.grad(got, leaves), torch.autograd.grad(want, leaves))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.usefixtures("way")
def test_the_gradient_is_that_of_the_value(stride):
    conv = FrameConv(2, 3, stride).double()
    x = torch.randn(1, 2, 4, 3, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: conv(x), (x, *conv.parameters()))


def test_only_what_is_asked_for_is_computed():
    conv, x = FrameConv(2, 3), torch.randn(1, 1, 4, 4, 2)
    conv.weight.requires_grad_(False)
    conv(x).sum().backward()
    assert conv.weight.grad is None
    assert conv.bias is not None
    torch.testing.assert_close(conv.bias.grad, torch.full((3,), 16.0))


def test_a_gradient_lies_in_memory_as_its_kernel_does():
    conv = FrameConv(4, 8)
    conv(torch.randn(1, 1, 4, 4, 4)).sum().backward()
    assert conv.weight.grad is not None
    assert conv.weight.grad.stride() == conv.weight.stride()


def test_layout_in_memory_does_not_matter():
    conv, x = FrameConv(2, 3), torch.randn(1, 4, 2, 5, 5)
    frames = x.permute(0, 1, 3, 4, 2)
    torch.testing.assert_close(conv(frames), conv(frames.contiguous()))


def test_half_precision_is_computed_as_torch_does():
    conv, x = FrameConv(2, 3), torch.randn(1, 1, 4, 4, 2)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(x)
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert conv.weight.grad is not None


def test_neighbours_lie_row_after_row():
    x = torch.arange(1.0, 5.0).view(1, 2, 2, 1)
    assert neighbours(x)[0, 0, 0].tolist() == [0, 0, 0, 0, 1, 2, 0, 3, 4]
    assert neighbours(x, 2).shape == (1, 1, 1, 9)
