"""Second derivatives, forward mode and transforms for kernels with a first derivative.

Forward mode (``torch.func.jvp``, dual levels) and function transforms never meet a kernel:
``compute`` takes the formula. A second derivative is known only when the backward pass runs with
gradients enabled (``create_graph=True``); the backward pass of a kernel then is the formula's.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

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

    ``grad`` is the gradient of the result. There is a gradient, or None, for each of ``needed``,
    which says for the inputs, then for further arguments, whether they need one.
    """
    with torch.enable_grad():
        # views, so that a gradient excludes what one input contributes by way of another
        views = [x.view_as(x) for x in inputs]
        wanted = [view for view, need in zip(views, needed, strict=False) if need]
        out = formula(*views, *options)
        found = iter(torch.autograd.grad(out, wanted, grad, create_graph=True))
    return tuple(next(found) if need else None for need in needed)


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
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[3:]
        if not torch.is_grad_enabled():
            return grad, None, None, *(None for _ in needed)
        found = formula_gradients(ctx.formula, inputs, ctx.options, needed, grad)
        return None, None, None, *found


def recompute(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """``function(*inputs)``; its activations are not stored but computed again in backward.

    They are stored under a transform: PyTorch's checkpoints cannot run in one.
    """
    if not torch.is_grad_enabled() or transformed():
        return function(*inputs)
    return cast(Tensor, checkpoint(function, *inputs, use_reentrant=False))
