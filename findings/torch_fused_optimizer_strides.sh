#!/usr/bin/env bash
# torch 2.13.0 on a CPU: fused optimisers pair weights and gradients by place in memory, not by index.
#
# Expected: `fused=True` is one more implementation of the same update, chosen for speed
#   (https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html), and a gradient is a
#   tensor like any other: its strides do not matter. On CUDA a mismatch is reported to raise
#   (https://github.com/pytorch/pytorch/issues/106951).
# Happens: on a CPU, where weight and gradient have equal shapes and different strides, fused SGD,
#   Adagrad, Adam and AdamW walk both as they lie in memory, so each weight is moved by the gradient
#   of another one. `loss.backward()` copies a gradient into the layout of its weight and hides
#   this; `torch.autograd.grad` does not, and for a convolution of channels-last input it returns a
#   channels-last gradient of a contiguous weight.
# Seen (one step, learning rate 0.1, weight of 16 x 8 x 3 x 3; largest difference from foreach=True):
#     SGD 1.4e-01   Adagrad 2.0e-01   Adam 2.0e-01   AdamW 2.0e-01
#     after p.grad = torch.empty_like(p).copy_(grad): 0 to 3e-08
# Consequence: training loops that assign `p.grad` themselves (adaptive adversarial weights,
#   gradient surgery or penalties, hand-written accumulation or all-reduce) train convolutions by
#   shuffled gradients: whole steps are wrong, nothing is raised, and the loss may still fall.
# Way around: `p.grad = torch.empty_like(p).copy_(grad)`, or leave `fused` off on a CPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import torch
from torch import nn


def weight_after_a_step(kind, relaid, **how):
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 16, 3)
    x = torch.randn(2, 8, 9, 9).contiguous(memory_format=torch.channels_last)
    (grad,) = torch.autograd.grad(layer(x).square().sum(), layer.weight)
    assert grad.stride() != layer.weight.stride() and grad.shape == layer.weight.shape
    grad = grad / grad.abs().max()
    layer.weight.grad = torch.empty_like(layer.weight).copy_(grad) if relaid else grad
    kind([layer.weight], lr=0.1, **how).step()
    return layer.weight.detach()


for kind in (torch.optim.SGD, torch.optim.Adagrad, torch.optim.Adam, torch.optim.AdamW):
    off = [
        (weight_after_a_step(kind, relaid, fused=True)
         - weight_after_a_step(kind, relaid, foreach=True)).abs().max().item()
        for relaid in (False, True)
    ]
    plain = weight_after_a_step(kind, False, foreach=False, **({"fused": False}))
    assert torch.allclose(plain, weight_after_a_step(kind, False, foreach=True), atol=1e-6)
    print(f"{kind.__name__:8} gradient as returned {off[0]:.1e}   in the weight's layout {off[1]:.1e}")
    assert off[0] > 0.05 and off[1] < 1e-6
print("as described: fused steps take the gradients of other weights")
PY
