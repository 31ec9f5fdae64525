import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from longtake.autoencoders.volume import SameConv, SameConvTranspose
from longtake.nn.kernels.volume import repeat_border

BORDERS = [(1, 1, 1, 1, 1, 1), (1, 1, 1, 1, 2, 1), (0, 0, 2, 3, 0, 1)]


def plain(layer: SameConv | SameConvTranspose, x: Tensor) -> Tensor:
    x = F.pad(x, layer.border, mode="replicate")
    if isinstance(layer, SameConv):
        return F.conv3d(x, layer.weight, layer.bias, layer.stride)
    return F.conv_transpose3d(x, layer.weight, layer.bias, layer.stride, padding=3)


def gradients(out: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return torch.autograd.grad(out, inputs, torch.randn(out.shape, generator=generator))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(4, 6, 8), (3, 6, 8), (3, 5, 7)])
def test_a_lone_volume_is_convolved_as_in_a_batch(batch, size):
    layer = SameConv(2, 3, 3)
    x = torch.randn(batch, 2, *size, requires_grad=True)
    out, want = layer(x), plain(layer, x)
    torch.testing.assert_close(out, want)
    parameters = tuple(layer.parameters())
    for got, wanted in zip(
        gradients(out, x, *parameters), gradients(want, x, *parameters), strict=True
    ):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 2), (1, 1, 2)])
@pytest.mark.parametrize("make", [SameConv, SameConvTranspose])
def test_strided_layers_equal_padding_and_a_plain_convolution(make, stride):
    layer = make(2, 3, 4, stride)
    x = torch.randn(2, 2, 4, 4, 8, requires_grad=True)
    out, want = layer(x), plain(layer, x)
    torch.testing.assert_close(out, want)
    torch.testing.assert_close(gradients(out, x), gradients(want, x))


def test_sizes_are_multiplied_and_divided_by_the_stride_exactly():
    x = torch.randn(1, 2, 4, 4, 8)
    assert SameConv(2, 2, 4, (1, 2, 4))(x).shape == (1, 2, 4, 2, 2)
    assert SameConvTranspose(2, 2, 4, (1, 2, 2))(x).shape == (1, 2, 4, 8, 16)


@pytest.mark.parametrize("border", BORDERS)
def test_a_border_s_gradient_belongs_to_the_cells_it_repeats(border):
    x = torch.randn(1, 2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    out, want = repeat_border(x, border), F.pad(x, border, mode="replicate")
    torch.testing.assert_close(out, want, rtol=0, atol=0)
    seen = torch.randn_like(out)
    kept = seen.clone()
    torch.testing.assert_close(
        torch.autograd.grad(out, x, seen), torch.autograd.grad(want, x, seen)
    )
    assert torch.equal(seen, kept)


def test_gradients_keep_the_memory_format():
    x = torch.randn(2, 4, 4, 4, 4).to(memory_format=torch.channels_last_3d).requires_grad_()
    out = repeat_border(x, BORDERS[0])
    (grad,) = torch.autograd.grad(out, x, torch.ones_like(out))
    assert grad.is_contiguous(memory_format=torch.channels_last_3d)
