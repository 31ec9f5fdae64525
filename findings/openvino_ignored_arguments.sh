#!/usr/bin/env bash
# OpenVINO 2026.4.1: converted networks divide negative integers wrongly, and `beta`, `correction` and `decimals` are ignored.
#
# Expected: a network that `openvino.convert_model` accepts gives what it gives in PyTorch; operations and arguments that
#   are not supported are refused ("OpConversionFailure"), as hardshrink, trunc and many others are.
# Happens: these are converted without an error or a warning and give other numbers, in float32 (INFERENCE_PRECISION_HINT):
#   `//` and `torch.div(..., rounding_mode="floor")` of integers round towards zero instead of down; `softplus` leaves out
#   `beta` and `threshold`; `var` and `std` with `correction=2` divide by N - 1; `round` leaves out `decimals`.
#   The division is wrong in programs of `torch.export`, too; the others there are right or refused.
# Seen (modules given to `convert_model`):
#                                       PyTorch                     OpenVINO
#     [-6, -5, -4, -1, 0, 4] // 3       [-2, -2, -2, -1, 0, 1]      [-2, -1, -1, 0, 0, 1]
#     softplus(-6.0, beta=0.1)          4.375                       0.0025
#     std of -6 to 6, correction=2      4.068                       3.894
#     round(0.857, decimals=1)          0.9                         1.0
# Consequence: positions relative to a frame (distances, windows, the latent frame of a frame: (t - 1) // 4 of frame 0 is -1) and
#   their biases are other ones before it than after it; variances made positive by softplus with `beta` are other ones.
#   Samples look plausible and are not those of the network.
# Way around: `torch.floor(a / b)` of floats, which is right; `softplus(beta * x) / beta`; compare each converted network
#   with PyTorch on one input before using it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 openvino==2026.4.1 packaging==26.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - 2> log <<'PY' || { cat log; exit 1; }
import sys

sys.modules["openvino_telemetry"] = None
import openvino
import torch
import torch.nn.functional as F
from torch import nn


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def outputs(function, x, exported):
    """What PyTorch and OpenVINO give."""
    module = Function(function).eval()
    converted = openvino.convert_model(torch.export.export(module, (x,)) if exported else module, example_input=None if exported else x)
    compiled = openvino.compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return module(x), torch.from_numpy(compiled([x.numpy()])[0].copy())


numbers = torch.tensor([-6, -5, -4, -1, 0, 4])
reals = torch.arange(-6.0, 7.0)
wrong = {
    "//": (lambda x: x // 3, numbers),
    "div, rounding_mode=floor": (lambda x: torch.div(x, 3, rounding_mode="floor"), numbers),
    "softplus, beta=0.1": (lambda x: F.softplus(x, beta=0.1), reals),
    "std, correction=2": (lambda x: x.std(0, correction=2), reals),
    "var, correction=2": (lambda x: x.var(0, correction=2), reals),
    "round, decimals=1": (lambda x: (x / 7).round(decimals=1), reals),
}
right = {
    "floor of a quotient": (lambda x: torch.floor(x / 3).long(), numbers),
    "%": (lambda x: x % 3, numbers),
    "softplus": (F.softplus, reals),
    "softplus, scaled": (lambda x: F.softplus(0.1 * x) / 0.1, reals),
    "std": (lambda x: x.std(0), reals),
    "round": (lambda x: (x / 7).round(), reals),
}
for exported in (False, True):
    for name, (function, x) in (wrong | right).items():
        if exported and name in wrong and x is reals:
            continue
        expected, given = outputs(function, x, exported)
        print(f"exported: {exported}, {name}: {expected.tolist()} in PyTorch, {given.tolist()}")
        equal = torch.allclose(given.double(), expected.double(), rtol=1e-3, atol=1e-4)
        assert equal == (name in right), name
print("as described: arguments are ignored")
PY
