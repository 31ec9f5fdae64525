"""Second derivatives, forward mode and transforms for kernels with a first derivative.

Forward mode (``torch.func.jvp``, dual levels) and function transforms never meet a kernel:
``compute`` takes the formula. A second derivative is known only when the backward pass runs with
gradients enabled (``create_graph=True``); the backward pass of a kernel then is the formula's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint


def transformed() -> bool:
    """Whether a ``torch.func`` transform or forward-mode differentiation is active."""
    # torch has no public question for either; its own autograd asks the same.
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()


def formula_gradients(
    formula: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    options: Sequence[Any],
    needed: Sequence[bool],
    grad: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients of ``formula(*inputs, *options)`` that can be differentiated again.

    Args:
        formula: a function of ``options`` too.
        inputs: tensors.
        options: arguments after the tensors.
        needed: which inputs need a gradient; None is returned for the others and for ``options``.
        grad: gradient of the result.
    """
    with torch.enable_grad():
        # views, so that a gradient excludes what one input contributes by way of another
        views = [x.view_as(x) for x in inputs]
        wanted = [view for view, need in zip(views, needed, strict=False) if need]
        found = iter(
            torch.autograd.grad(formula(*views, *options), wanted, grad, create_graph=True)
        )
    some = [next(found) if need else None for _, need in zip(inputs, needed, strict=False)]
    return *some, *(None for _ in options)


def differentiable_twice(
    out: Tensor, formula: Callable[..., Tensor], inputs: Sequence[Tensor], options: Sequence[Any]
) -> Tensor:
    """``out``, whose second derivatives are those of the formula that it is the value of.

    First derivatives stay those of the operation that made ``out``: PyTorch's fused attention has
    no second ones.
    """
    if not out.requires_grad or torch.compiler.is_compiling():
        return out
    return _FormulaTwice.apply(out, formula, options, *inputs)


class _FormulaTwice(torch.autograd.Function):
    """Sends a gradient to ``out``, or past it through the formula if it is differentiated again."""

    @staticmethod
    def forward(
        ctx: Any, out: Tensor, formula: Callable[..., Tensor], options: Sequence[Any], *inputs: Any
    ) -> Tensor:
        ctx.save_for_backward(*inputs)
        ctx.formula, ctx.options = formula, options
        return out.view_as(out)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return grads[0], None, None, *(None for _ in inputs)
        needed = ctx.needs_input_grad[3:]
        return (
            None,
            None,
            None,
            *formula_gradients(ctx.formula, inputs, ctx.options, needed, grads[0])[: len(inputs)],
        )


def recompute(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """``function(*inputs)``; its activations are not stored but computed again in backward.

    They are stored under a transform: PyTorch's checkpoints cannot run in one.
    """
    if not torch.is_grad_enabled() or transformed():
        return function(*inputs)
    out = checkpoint(function, *inputs, use_reentrant=False)
    assert isinstance(out, Tensor)
    return out
