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
    """Gradients of ``formula(*inputs, *options)``, themselves differentiable.

    Args:
        formula: the function.
        inputs: its tensor arguments.
        options: its further arguments.
        needed: whether each argument, first ``inputs`` then ``options``, needs a gradient.
        grad: gradient with respect to the result.

    Returns:
        a gradient for each entry of ``needed``, or None where it is false.
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
    """Give ``out``, the value of ``formula(*inputs, *options)``, second derivatives.

    Its first derivatives stay those of the operation that computed ``out``; the second are the
    formula's. PyTorch's fused attention, for one, has no second derivatives.
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
    """Gradient checkpointing: ``function(*inputs)``, computed again in the backward pass.

    Under a ``torch.func`` transform activations are stored instead, as PyTorch's checkpointing
    does not support transforms.
    """
    if not torch.is_grad_enabled() or transformed():
        return function(*inputs)
    return cast(Tensor, checkpoint(function, *inputs, use_reentrant=False))
