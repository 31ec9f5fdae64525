"""Group normalisation of channels-last volumes, with the modulation and SiLU that follow it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longtake.nn import formulas
from longtake.nn.formulas import at_least_float32
from longtake.nn.kernels import compute


class GroupNorm(nn.Module):
    """Group normalisation with statistics for each row of the input, scale, shift and SiLU.

    Half precision is computed in float32, as in the official code. ``groups`` must divide
    ``channels``; with ``silu`` a SiLU is applied last.
    """

    def __init__(
        self, channels: int, groups: int, *, eps: float = 1e-5, silu: bool = False
    ) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"groups={groups} must divide the {channels} channels of a layer")
        self.groups = groups
        self.eps = eps
        self.silu = silu
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        x: Float[Tensor, "rows *n c"],
        scale_shift: tuple[Float[Tensor, "rows m c"], Float[Tensor, "rows m c"]] | None = None,
    ) -> Float[Tensor, "rows *n c"]:
        """Normalise each row; multiply by ``1 + scale`` and add ``shift``.

        Args:
            x: rows of cells.
            scale_shift: ``scale`` and ``shift`` of each of ``m`` equal parts of a row.
        """
        weight, bias, parts = at_least_float32(self.weight), at_least_float32(self.bias), 1
        if scale_shift is not None:
            scale, shift = (at_least_float32(part).unsqueeze(2) for part in scale_shift)
            weight = torch.addcmul(weight, weight, scale)
            bias = torch.addcmul(bias + shift, bias, scale)
            parts = scale.shape[1]
        split = x.contiguous().view(len(x), parts, -1, x.shape[-1])
        y = compute(formulas.group_norm, split, weight, bias, self.groups, self.eps, self.silu)
        return y.view(x.shape)
