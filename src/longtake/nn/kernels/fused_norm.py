"""Group normalisation with modulation and SiLU as one operator, ``torch.ops.longtake.group_norm``.

On CUDA it is two kernels of Triton (``triton_norm``). As an operator of PyTorch it can be captured
in a CUDA graph, compiled around, and counted on meta tensors; on a CPU it computes the formula,
which is for tests.
"""

import functools
import logging

import torch
from torch import Tensor

from longtake.nn import formulas
from longtake.nn.formulas import at_least_float32

LOGGER = logging.getLogger("longtake")
MOST_CHANNELS = 8192  # that a program holds at once
TOLERANCE = 1e-3

LIBRARY = torch.library.Library("longtake", "DEF")
LIBRARY.define(
    "group_norm(Tensor x, Tensor weight, Tensor bias, Tensor? scale, Tensor? shift, int groups, "
    "float eps, bool silu) -> (Tensor, Tensor, Tensor)"
)


def group_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    groups: int,
    eps: float,
    silu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute ``longtake.nn.formulas.group_norm`` or ``modulated_group_norm``; no derivatives.

    ``scale`` and ``shift`` are both None or both tensors.

    Returns:
        the result, and mean and reciprocal std of each group, in float32.
    """
    return torch.ops.longtake.group_norm(x, weight, bias, scale, shift, groups, eps, silu)


def usable(x: Tensor) -> bool:
    """Whether the operator can be used, and is fast, for ``x``; a meta tensor counts as on CUDA."""
    return 0 < x.shape[-1] <= MOST_CHANNELS and (x.is_meta or works(x.device))


@functools.lru_cache(maxsize=16)
def works(device: torch.device) -> bool:
    """Whether Triton is installed and, on ``device``, normalises a small example correctly."""
    with torch.inference_mode(False), torch.no_grad():
        x = torch.linspace(-3, 5, 2 * 3 * 5 * 24, device=device).view(2, 1, 15, 24).sin()
        weight, bias = x[0, 0, 0], x[0, 0, 1]
        scale, shift = x[:, :, 2:3], x[:, :, 3:4]
        options = 3, 1e-5, True
        wanted = formulas.modulated_group_norm(x, weight, bias, scale, shift, *options)
        try:
            found = group_norm(x, weight, bias, scale, shift, *options)[0]
        except Exception as error:  # whatever a compiler of kernels raises
            reason = str(error).partition("\n")[0] or type(error).__name__
            slower = "%s: Triton's group norm fails, a slower one is used: %s"
            LOGGER.warning(slower, device, reason)
            return False
        error = float((found - wanted).abs().max())
        if not error < TOLERANCE:
            slower = "%s: Triton's group norm is wrong by %.1e, a slower one is used"
            LOGGER.warning(slower, device, error)
            return False
        return True


def _on_cuda(x: Tensor, *args):
    from longtake.nn.kernels import triton_norm

    with torch.cuda.device(x.device):
        return triton_norm.group_norm(x, *args)


def _on_cpu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    groups: int,
    eps: float,
    silu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    if scale is not None and shift is not None:
        weight, bias = formulas.modulation(weight, bias, scale, shift)
    y = formulas.group_norm(x, weight, bias, groups, eps, silu)
    grouped = at_least_float32(x).unflatten(-1, (groups, -1))
    variance, mean = torch.var_mean(grouped, (1, 2, 4), correction=0)
    return y, mean, torch.rsqrt(variance + eps)


def _on_meta(x: Tensor, weight: Tensor, bias: Tensor, scale, shift, groups: int, *_):
    moments = (x.new_empty(len(x), groups, dtype=torch.float32) for _ in range(2))
    return torch.empty_like(x), *moments


LIBRARY.impl("group_norm", _on_cuda, "CUDA")
LIBRARY.impl("group_norm", _on_cpu, "CPU")
LIBRARY.impl("group_norm", _on_meta, "Meta")
