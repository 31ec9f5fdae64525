#!/usr/bin/env bash
# prodigyopt 1.1.2: a parameter group whose learning rate is set to 0 goes on moving, for ever in one direction.
#
# Expected: lr=0 freezes a group, as in every optimiser of PyTorch. Prodigy supports exactly this: other values raise "Setting
#   different lr values in different parameter groups is only supported for values of 0".
# Happens: `Prodigy.step` (prodigyopt/prodigy.py) takes one step size, from the largest learning rate of all groups. For a group
#   with lr=0 it leaves out the update of the averages, but not the step: the weights are moved by the last averages again
#   and again, which no gradient changes any more. Decoupled weight decay, too, is by the largest learning rate.
#   There is no error and no warning.
# Seen (a small network of two layers; the second layer's lr is set to 0 after 100 steps; its weights 200 steps later):
#     torch.optim.AdamW    moved by 0
#     Prodigy              of mean size 0.36, moved by 3.28, in a straight line (the halves' cosine is 1.0000)
#   A group with lr=0 from the start and weight_decay 0.01 is multiplied by 0.30 in 300 steps.
# Consequence: an encoder or embedding that is frozen in mid-training, or a group whose schedule ends at 0, drifts away
#   without regard to the loss; pretrained weights that were to stay shrink.
# Way around: `requires_grad_(False)` and `grad = None` for what is frozen: Prodigy skips weights without gradients.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 prodigyopt==1.1.2 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import torch
from prodigyopt import Prodigy
from torch import nn

STEPS, FROZEN = 100, 200


def drift(make, by_gradient=False):
    """Moves of a group in both halves of the steps after its learning rate is set to 0, and its weights before."""
    torch.manual_seed(0)
    first, second = nn.Linear(8, 16), nn.Linear(16, 4)
    optimizer = make([{"params": list(first.parameters())}, {"params": list(second.parameters())}])
    inputs, wanted = torch.randn(256, 8), torch.randn(256, 4)
    seen = {}
    for step in range(STEPS + FROZEN):
        if step == STEPS:
            optimizer.param_groups[1]["lr"] = 0.0
        if step in (STEPS, STEPS + FROZEN // 2):
            seen[step] = second.weight.detach().clone()
        optimizer.zero_grad()
        (second(first(inputs).tanh()) - wanted).square().mean().backward()
        if by_gradient and step >= STEPS:
            second.zero_grad(set_to_none=True)
        optimizer.step()
    start, middle = seen.values()
    return middle - start, second.weight.detach() - middle, start


def shown(name, result):
    move, later, start = result
    mean = (move + later).abs().mean().item()
    cosine = nn.functional.cosine_similarity(move.flatten(), later.flatten(), dim=0).item()
    print(f"{name:24} weights of mean size {start.abs().mean():.3f} moved by {mean:.3f}, both halves' cosine {cosine:.4f}")
    return mean, cosine


adam = shown("AdamW", drift(lambda groups: torch.optim.AdamW(groups, lr=1e-2)))
prodigy = shown("Prodigy", drift(lambda groups: Prodigy(groups, lr=1.0)))
skipped = shown("Prodigy, no gradients", drift(lambda groups: Prodigy(groups, lr=1.0), by_gradient=True))
assert adam[0] == 0 and skipped[0] == 0
assert prodigy[0] > 1 and prodigy[1] > 0.999

torch.manual_seed(0)
trained, kept = nn.Parameter(torch.randn(8)), nn.Parameter(torch.ones(8))
optimizer = Prodigy([{"params": [trained]}, {"params": [kept], "lr": 0.0}], lr=1.0, weight_decay=0.01)
for _ in range(300):
    optimizer.zero_grad()
    ((trained - 1) * kept).square().sum().backward()
    optimizer.step()
print(f"lr=0 from the start, weight_decay 0.01: multiplied by {kept.mean().item():.4f}")
assert kept.max() < 1
print("as described: a group with lr=0 moves")
PY
