"""Exponential moving average (EMA) of weights, as both papers sample with it."""

from collections.abc import Iterable

import torch
from torch import nn


class EMA:
    """Exponential moving average of the parameters that are trained.

    With ``warmup`` the decay rises as in LDM's code: d_n = min(decay, (1 + n) / (10 + n)) at update
    n = 1, 2, ...; without, d_n is ``decay``. An update is
    shadow <- shadow - (1 - d_n) (shadow - w), where w are the parameters. One fused kernel updates
    all of them.

    ``shadow``, the average, starts equal to the parameters. It has none of those that need no
    gradient, which stay as they are. Both papers have a ``decay`` of 0.9999.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, decay: float = 0.9999, warmup: bool = True
    ) -> None:
        self.decay, self.warmup, self.updates = decay, warmup, 0
        self._parameters = [p for p in parameters if p.requires_grad]
        self.shadow = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the current values of the parameters."""
        self.updates += 1
        warm = (1 + self.updates) / (10 + self.updates)
        decay = min(self.decay, warm) if self.warmup else self.decay
        weights = [p.detach() for p in self._parameters]
        torch._foreach_lerp_(self.shadow, weights, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the values of average and parameters; a second call undoes it."""
        for shadow, parameter in zip(self.shadow, self._parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(shadow)
            shadow.copy_(kept)

    @torch.no_grad()
    def load(self, updates: int) -> None:
        """Continue from the parameters' values as an average that has had ``updates`` updates."""
        for own, stored in zip(self.shadow, self._parameters, strict=True):
            own.copy_(stored)
        self.updates = updates
