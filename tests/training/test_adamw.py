"""Our AdamW is PyTorch's, whatever the layout in memory."""

import pytest
import torch
from torch import nn

from longtake.training.adamw import AdamW

SHAPES = [(4, 3, 3, 3), (5, 2, 1, 1), (1, 6, 2, 3), (7, 5), (3,)]


def trained(kind: type[torch.optim.AdamW], last: torch.memory_format, steps: int):
    torch.manual_seed(0)
    parameters = [
        nn.Parameter(x.contiguous(memory_format=last) if x.ndim == 4 else x)
        for x in map(torch.randn, SHAPES)
    ]
    optimizer = kind(parameters, lr=0.1, weight_decay=0.1, fused=True)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape))
        optimizer.step()
    return parameters, optimizer


@pytest.mark.parametrize("last", [torch.channels_last, torch.contiguous_format])
def test_steps_are_those_of_torch_to_the_bit(last: torch.memory_format):
    ours, theirs = (trained(kind, last, 3) for kind in (AdamW, torch.optim.AdamW))
    for (mine, state), (want, other) in zip(_moments(*ours), _moments(*theirs), strict=True):
        assert torch.equal(mine, want)
        assert mine.stride() == want.stride()
        for name in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(state[name], other[name])
            assert state[name].stride() == mine.stride()


def test_state_can_be_exchanged_with_torch():
    parameters, ours = trained(AdamW, torch.channels_last, 2)
    other = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.1, fused=True)
    other.load_state_dict(ours.state_dict())
    for parameter in parameters:
        assert torch.equal(other.state[parameter]["exp_avg"], ours.state[parameter]["exp_avg"])


def _moments(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer):
    return [(parameter, optimizer.state[parameter]) for parameter in parameters]
