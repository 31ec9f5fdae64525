"""Between a clip's evaluations of a network a GPU is never waited for, nor does it wait for a copy.

The device is ``meta``, which like a GPU has no values that the host could read for nothing.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from longtake.denoisers import TriplaneUNetConfig, VolumeUNetConfig
from longtake.diffusion import ClipSampler, Diffusion
from longtake.diffusion.guidance import ClassifierFree, Unguided
from longtake.diffusion.samplers import DDIM, DDPM
from longtake.diffusion.signals import label_signal
from longtake.meta_device import build_empty
from longtake.noise import SampleNoise

SIZES: dict[str, Any] = {
    "latent": (2, 4, 4, 4),
    "model_channels": 8,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "num_classes": 3,
    "groups": 4,
}


class Waits(TorchDispatchMode):
    """Notes, after each evaluation, what makes host or device wait for the other."""

    def __init__(self) -> None:
        super().__init__()
        self.evaluations, self.found = 0, []

    def on_evaluation(self, done: int, total: int) -> None:
        self.evaluations = done + 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        crosses = len({tensor.device for tensor in tensors if tensor.ndim}) > 1
        if func is torch.ops.aten._local_scalar_dense.default:
            self.found.append((self.evaluations, func.name()))
        if crosses and not kwargs.get("non_blocking"):
            self.found.append((self.evaluations, func.name()))
        return out


@pytest.mark.parametrize("sampler", [DDIM(steps=3), DDIM(steps=3, eta=1), DDPM(steps=3)], ids=str)
@pytest.mark.parametrize("guidance", [Unguided(), ClassifierFree(scale=2)], ids=lambda g: g.kind)
@pytest.mark.parametrize("config", [VolumeUNetConfig, TriplaneUNetConfig])
def test_nothing_waits_between_two_evaluations(config, guidance, sampler):
    denoiser = build_empty(config(**SIZES))
    sample = ClipSampler(
        denoiser=denoiser, diffusion=Diffusion(), sampler=sampler, guidance=guidance
    )
    signals = label_signal(torch.zeros(2, dtype=torch.long, device="meta"))
    sample.sample(signals, SampleNoise([0, 1], "meta"))  # copies the schedule's table, once
    with Waits() as waits:
        sample.sample(signals, SampleNoise([0, 1], "meta"), waits.on_evaluation)
    assert waits.evaluations == 3
    assert [name for evaluation, name in waits.found if evaluation] == []


def test_waiting_would_be_noticed():
    with Waits() as waits:
        torch.ones(3).sum().item()
        torch.ones(3).to("meta")
        torch.ones(3).to("meta", non_blocking=True)
    assert [name for _, name in waits.found] == ["aten::_local_scalar_dense", "aten::_to_copy"]
