"""Fast paths: one table that says which kernel computes a formula on a device and in a dtype.

A kernel is a function with the arguments of its formula and the same first derivatives; its other
derivatives come from the formula (see ``differentiation``). To add one, write the function and
enter it in ``KERNELS``: the tests then hold it to its formula.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from longtake.nn import formulas
from longtake.nn.kernels import attention, frame_conv, group_norm, volume
from longtake.nn.kernels.differentiation import transformed

SINGLE = frozenset({torch.float32, torch.float64})
ANY = SINGLE | set(formulas.HALF)
UP_TO_SINGLE = ANY - {torch.float64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A fast implementation of one function of ``longtake.nn.formulas``.

    Attributes:
        run: the implementation; takes the formula's arguments.
        devices: types of device that it runs on, such as ``cpu``; empty: all.
        dtypes: dtypes that the first argument may have.
        fits: takes the formula's arguments; whether to use the kernel for them; None: always.
    """

    run: Callable[..., Tensor]
    devices: frozenset[str] = frozenset()
    dtypes: frozenset[torch.dtype] = ANY
    fits: Callable[..., bool] | None = None

    def serves(self, *args: Any) -> bool:
        """Whether the kernel can be used for these arguments of its formula."""
        here = not self.devices or args[0].device.type in self.devices
        taken = here and args[0].dtype in self.dtypes
        return taken and (self.fits is None or self.fits(*args))


CPU = frozenset({"cpu"})
CUDA = frozenset({"cuda", "meta"})
"""Types of device that take the kernels of CUDA: meta too, to count operations without a GPU."""

WIDENED_ATTENTION = Kernel(
    run=attention.widened, devices=CPU, dtypes=frozenset(formulas.HALF), fits=attention.trained
)

KERNELS: dict[Callable[..., Tensor], tuple[Kernel, ...]] = {
    formulas.group_norm: (
        Kernel(run=group_norm.native, devices=CPU, dtypes=SINGLE),
        Kernel(run=group_norm.fused, devices=CUDA, dtypes=UP_TO_SINGLE, fits=group_norm.fits),
        Kernel(run=group_norm.recomputed),
    ),
    formulas.modulated_group_norm: (
        Kernel(run=group_norm.native_modulated, devices=CPU, dtypes=SINGLE),
        Kernel(
            run=group_norm.fused_modulated,
            devices=CUDA,
            dtypes=UP_TO_SINGLE,
            fits=group_norm.fits,
        ),
        Kernel(run=group_norm.recomputed_modulated),
    ),
    formulas.frame_conv: (
        Kernel(run=frame_conv.product, devices=CPU, dtypes=SINGLE, fits=frame_conv.few_positions),
        Kernel(run=frame_conv.convolution, devices=CPU, dtypes=SINGLE, fits=frame_conv.not_cast),
    ),
    formulas.volume_conv: (Kernel(run=volume.conv_halves, devices=CPU, fits=volume.lone),),
    formulas.repeat_border: (Kernel(run=volume.repeat_border),),
    formulas.attention: (WIDENED_ATTENTION, Kernel(run=attention.fused)),
    formulas.long_attention: (
        WIDENED_ATTENTION,
        Kernel(run=attention.padded, devices=CPU, fits=attention.narrow),
        Kernel(run=attention.fused),
    ),
    formulas.relative_attention: (Kernel(run=attention.relative, devices=CUDA),),
}
"""The kernels of each formula, in the order in which they are tried."""


def compute(formula: Callable[..., Tensor], *args: Any) -> Tensor:
    """Compute ``formula(*args)`` by the first kernel that can be used, or else directly.

    ``formula`` is a function of ``longtake.nn.formulas``.
    """
    if not transformed():
        for kernel in KERNELS[formula]:
            if kernel.serves(*args):
                return kernel.run(*args)
    return formula(*args)
