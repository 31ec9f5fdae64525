"""Every kernel of the table computes its formula: values and derivatives of every kind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from longtake.nn import formulas
from longtake.nn.kernels import KERNELS, Kernel, compute

# PyTorch 2.13's own forward mode uses what it deprecates
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

Case = tuple[tuple[Tensor, ...], tuple[Any, ...]]


def group_norm() -> list[Case]:
    x, learned = drawn(2, 3, 4, 8), (drawn(8), drawn(8))
    modulated = drawn(2, 3, 1, 8), drawn(2, 3, 1, 8)
    return [
        ((x + 3, *affine), (groups, 1e-5, silu))
        for affine in (learned, modulated)
        for groups, silu in ((1, True), (2, False), (8, True))
    ]


def modulated_group_norm() -> list[Case]:
    inputs = drawn(2, 3, 4, 8) + 3, drawn(8), drawn(8), drawn(2, 3, 1, 8), drawn(2, 3, 1, 8)
    return [(inputs, (groups, 1e-5, silu)) for groups, silu in ((1, True), (2, False))]


def frame_conv() -> list[Case]:
    sizes = [(3, 5, 4, 4, 1), (5, 3, 3, 5, 1), (3, 5, 6, 4, 2), (3, 3, 5, 3, 2), (32, 300, 1, 1, 1)]
    return [
        ((drawn(2, h, w, c), drawn(c2, c, 3, 3), drawn(c2)), (stride,))
        for c, c2, h, w, stride in sizes
    ]


def volume_conv() -> list[Case]:
    return [
        ((drawn(1, 2, *size), drawn(3, 2, 3, 3, 3), drawn(3)), ((1, 1, 1),))
        for size in ((4, 3, 3), (3, 6, 5), (3, 3, 4))
    ]


def repeat_border() -> list[Case]:
    borders = [(1, 1, 1, 1, 2, 1), (0, 0, 2, 3, 0, 1), (0,) * 6]
    return [((drawn(1, 2, 3, 2, 4),), (border,)) for border in borders]


def attention() -> list[Case]:
    cases = []
    for width, tokens, sources in ((4, 5, 5), (20, 3, 6)):
        q, k, v = (
            drawn(2, 2, tokens, width),
            drawn(2, 2, sources, width),
            drawn(2, 2, sources, width),
        )
        cases.append(((q, k, v), (0.3,)))
    return cases


def relative_attention() -> list[Case]:
    q, k, v = (drawn(2, 2, 3, 4) for _ in range(3))
    return [((q, k, v, drawn(3, 3, 4), drawn(3, 3, 4)), (official,)) for official in (True, False)]


CASES: dict[Callable[..., Tensor], Callable[[], list[Case]]] = {
    formulas.group_norm: group_norm,
    formulas.modulated_group_norm: modulated_group_norm,
    formulas.frame_conv: frame_conv,
    formulas.volume_conv: volume_conv,
    formulas.repeat_border: repeat_border,
    formulas.attention: attention,
    formulas.long_attention: attention,
    formulas.relative_attention: relative_attention,
}


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def pairs() -> list[Any]:
    """Every kernel with its formula, on every kind of device that is here.

    All of them run on a CPU, those for CUDA too.
    """
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    return [
        pytest.param(
            formula, kernel, device, id=f"{formula.__name__}-{kernel.run.__name__}-{device}"
        )
        for formula, kernels in KERNELS.items()
        for kernel in kernels
        for device in devices
        if device == "cpu" or not kernel.devices or device in kernel.devices
    ]


def served(
    formula: Callable[..., Tensor], kernel: Kernel, device: str, dtype: torch.dtype
) -> list[Case]:
    cases = [
        (tuple(x.to(device, dtype).requires_grad_() for x in inputs), options)
        for inputs, options in CASES[formula]()
    ]
    found = [case for case in cases if dtype in kernel.dtypes and fits(kernel, *case)]
    assert found or dtype not in kernel.dtypes
    return found


def fits(kernel: Kernel, inputs: tuple[Tensor, ...], options: tuple[Any, ...]) -> bool:
    return kernel.fits is None or kernel.fits(*inputs, *options)


def direction_of(out: Tensor) -> Tensor:
    generator = torch.Generator(out.device).manual_seed(1)
    return torch.randn(out.shape, dtype=out.dtype, device=out.device, generator=generator)


def gradients(out: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(out, inputs, direction_of(out))


def test_every_formula_has_cases():
    assert CASES.keys() == KERNELS.keys()


@pytest.mark.parametrize(("formula", "kernel", "device"), pairs())
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-10), (torch.float32, 1e-4), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)],
)
def test_a_kernel_equals_its_formula(formula, kernel, device, dtype, tolerance):
    for inputs, options in served(formula, kernel, device, dtype):
        got, want = kernel.run(*inputs, *options), formula(*inputs, *options)
        assert got.dtype == dtype
        torch.testing.assert_close(got, want, atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(
            gradients(got, inputs), gradients(want, inputs), atol=30 * tolerance, rtol=tolerance
        )


@pytest.mark.parametrize(("formula", "kernel", "device"), pairs())
def test_second_derivatives_are_those_of_the_formula(formula, kernel, device):
    for inputs, options in served(formula, kernel, device, torch.float64):
        found = []
        for function in (kernel.run, formula):
            out = function(*inputs, *options)
            leaves = (*inputs, direction_of(out).requires_grad_())
            first = torch.autograd.grad(out, inputs, leaves[-1], create_graph=True)
            square = torch.stack([grad.square().sum() for grad in first]).sum()
            second = torch.autograd.grad(square, leaves, materialize_grads=True)
            found.append((first, second))
        torch.testing.assert_close(*found)


@pytest.mark.parametrize("formula", [*CASES], ids=lambda formula: formula.__name__)
def test_forward_mode_is_the_transpose_of_reverse_mode(formula):
    for inputs, options in CASES[formula]():

        def function(*inputs: Tensor, options: Any = options) -> Tensor:
            return compute(formula, *inputs, *options)

        tangents = tuple(torch.randn_like(x) for x in inputs)
        out, tangent, *_ = torch.func.jvp(function, inputs, tangents)
        direction = torch.randn_like(out)
        torch.testing.assert_close(out, function(*inputs))
        leaves = tuple(x.requires_grad_() for x in inputs)
        grads = torch.autograd.grad(function(*leaves), leaves, direction)
        backward = torch.stack([(g * t).sum() for g, t in zip(grads, tangents, strict=True)]).sum()
        torch.testing.assert_close((direction * tangent).sum(), backward)


def test_only_kernels_of_the_device_and_dtype_serve():
    x = torch.randn(1, 1, 4, 8)
    for dtype, name in ((torch.float32, "native"), (torch.bfloat16, "recomputed")):
        args = (x.to(dtype), x[0, 0, 0], x[0, 0, 0], 2, 1e-5, False)
        first = next(k for k in KERNELS[formulas.group_norm] if k.serves(*args))
        assert first.run.__name__ == name


def test_half_precision_trains_attention_in_float32_on_a_cpu():
    q, k, v = (torch.randn(1, 2, 3, 4, dtype=torch.bfloat16) for _ in range(3))
    for formula in (formulas.attention, formulas.long_attention):
        first = next(kernel for kernel in KERNELS[formula] if kernel.serves(q, k, v, 1.0))
        assert first.run.__name__ != "widened"
        learned = q.clone().requires_grad_()
        first = next(kernel for kernel in KERNELS[formula] if kernel.serves(learned, k, v, 1.0))
        assert first.run.__name__ == "widened"
        with torch.autocast("cpu", torch.bfloat16):
            out = compute(formula, learned, k, v, 1.0)
        assert out.dtype == torch.bfloat16
        assert torch.equal(out, compute(formula, *(x.float() for x in (q, k, v)), 1.0).bfloat16())
