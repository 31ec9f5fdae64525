#!/usr/bin/env bash
# muon-optimizer 0.1.0: kernels of Conv3d are orthogonalised in slices of height and width, with steps many times too large.
#
# Expected: kernels of convolutions are updated as matrices (output channels x everything else): "Hidden convolutional weights
#   can be trained using Muon by viewing them as 2D", and `lr` is "in units of spectral norm per update". The usage of its
#   README passes all parameters with `p.ndim >= 2`.
# Happens: `muon_update` (muon.py) flattens only tensors of 4 dimensions (Conv2d, whose update then fails by its shape). A
#   kernel of Conv3d has 5, and the Newton-Schulz iteration works on the last two: each slice of height x width is made
#   orthogonal for itself. Of a temporal kernel (3, 1, 1) a slice is one number, so every weight is moved by the same
#   amount, as in sign descent. There is no error and no warning.
# Seen (first step of SingleDeviceMuon with lr 1, 64 channels; spectral norm of the update as a matrix of 64 rows; in brackets
#   that of the same gradient given as a matrix):
#     kernel         random gradient    gradient of rank 1
#     3 x 3 x 3      26 (0.9)           174 (0.7)
#     1 x 3 x 3      17 (1.0)           101 (0.7)
#     3 x 1 x 1      15 (1.1)           76 (0.7)             every weight moved by 0.688
# Consequence: with learning rates for Muon, which are in units of the spectral norm, 3-D autoencoders and U-Nets take steps
#   13 to 250 times as long in their convolutions as in their linear layers, and their channels are not orthogonalised.
# Way around: AdamW for kernels of Conv3d, or an optimiser whose parameters are views, `weight.view(len(weight), -1)`.
#   `torch.optim.Muon` refuses what is not 2-D.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 muon-optimizer==0.1.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import torch
from muon import SingleDeviceMuon
from torch import nn

CHANNELS = 64


def stepped(gradient, shape):
    """Update of a weight of this shape by one step with learning rate 1."""
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = gradient.reshape(shape).clone()
    SingleDeviceMuon([weight], lr=1.0).step()
    return -weight.data


def spectral_norm(update):
    return torch.linalg.matrix_norm(update.reshape(CHANNELS, -1), 2).item()


norms = {}
for kernel in ((3, 3, 3), (1, 3, 3), (3, 1, 1)):
    shape = nn.Conv3d(CHANNELS, CHANNELS, kernel).weight.shape
    torch.manual_seed(0)
    columns = shape[1:].numel()
    for name, gradient in (
        ("random", torch.randn(CHANNELS, columns)),
        ("rank 1", torch.randn(CHANNELS, 1) * torch.randn(1, columns)),
    ):
        update = stepped(gradient, shape)
        flat = stepped(gradient, (CHANNELS, columns))
        norms[kernel, name] = spectral_norm(update)
        sizes = update.abs().quantile(torch.tensor([0.05, 0.5, 0.95]))
        print(
            f"Conv3d {kernel}, {name} gradient: spectral norm {norms[kernel, name]:.2f}, flattened {spectral_norm(flat):.2f}; "
            "sizes of weights' steps (5, 50, 95 %):", *(f"{size:.3f}" for size in sizes)
        )
        assert 0.5 < spectral_norm(flat) < 1.3 and norms[kernel, name] > 10 * spectral_norm(flat)
        if kernel == (3, 1, 1):
            assert sizes[2] - sizes[0] < 0.02 and torch.equal(update.sign(), gradient.reshape(shape).sign())
print("as described: slices of height and width are orthogonalised")
PY
