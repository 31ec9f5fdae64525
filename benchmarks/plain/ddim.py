"""DDIM as the scripts of LVDM and PVDM write it, for networks that predict v.

Unlike there, the network predicts v, not noise, since the weights of ``lvdm-sky`` and ``pvdm-sky``
do; the conversion is two products a step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Timesteps from noise to data, and at each the products of alphas before and after it."""

    t: Sequence[float]
    alphas: np.ndarray
    alphas_prev: np.ndarray

    def sigma(self, i: int, eta: float) -> float:
        """Standard deviation of the noise added after step ``i``."""
        a, prev = self.alphas[i], self.alphas_prev[i]
        return float(eta * np.sqrt((1 - prev) / (1 - a) * (1 - a / prev)))


@torch.no_grad()
def ddim_lvdm(
    networks: Sequence[Network], x: Tensor, steps: Steps, *, scale: float = 1.0, eta: float = 0.0
) -> Tensor:
    """LVDM's ``DDIMSampler``: ``networks`` are the conditional one and, for guidance, the other."""
    b, device = len(x), x.device
    size = (b,) + (1,) * (x.ndim - 1)
    for i, step in enumerate(steps.t):
        t = torch.full((b,), step, device=device)
        v = networks[0](x, t)
        if len(networks) > 1:
            other = networks[1](x, t)
            v = other + scale * (v - other)
        a_t = torch.full(size, float(steps.alphas[i]), device=device)
        a_prev = torch.full(size, float(steps.alphas_prev[i]), device=device)
        sigma_t = torch.full(size, steps.sigma(i, eta), device=device)
        one_minus_at = torch.full(size, float(np.sqrt(1 - steps.alphas[i])), device=device)
        pred_x0 = a_t.sqrt() * x - one_minus_at * v
        e_t = a_t.sqrt() * v + one_minus_at * x
        dir_xt = (1.0 - a_prev - sigma_t**2).sqrt() * e_t
        x = a_prev.sqrt() * pred_x0 + dir_xt + sigma_t * torch.randn(x.shape, device=device)
    return x


@torch.no_grad()
def ddim_pvdm(
    networks: Sequence[Network],
    x: Tensor,
    steps: Steps,
    bounds: tuple[float, float],
    *,
    w: float = 0.0,
    eta: float = 1.0,
) -> Tensor:
    """PVDM's ``p_sample_loop``: with two networks both are called, whatever ``w`` is."""
    for i, step in enumerate(steps.t):
        t = torch.full((len(x),), step, device=x.device)
        v = networks[0](x, t)
        if len(networks) > 1:
            v = (1 + w) * v - w * networks[1](x, t)
        alpha, alpha_next = (
            torch.tensor(float(a)) for a in (steps.alphas[i], steps.alphas_prev[i])
        )
        x_start = alpha.sqrt() * x - (1 - alpha).sqrt() * v
        noise = alpha.sqrt() * v + (1 - alpha).sqrt() * x
        x_start = x_start.clamp(*bounds)
        if i == len(steps.t) - 1:
            return x_start
        sigma = eta * ((1 - alpha / alpha_next) * (1 - alpha_next) / (1 - alpha)).sqrt()
        c = (1 - alpha_next - sigma**2).clamp_min(0).sqrt()
        x = x_start * alpha_next.sqrt() + c * noise + sigma * torch.randn_like(x)
    return x
