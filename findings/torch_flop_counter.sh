#!/usr/bin/env bash
# PyTorch 2.13: FlopCounterMode counts no attention on a CPU, nothing of attention layers in eval mode, and grouped convolutions too often.
#
# Expected: `torch.utils.flop_counter.FlopCounterMode` counts the matrix products, convolutions and attention that run, forward and
#   backward, on any device: as many for a network on a CPU as for the same network elsewhere; backward twice forward.
# Happens: operations that it does not know count 0, without a warning. Among them are the fused attention that
#   `scaled_dot_product_attention` takes on a CPU (https://github.com/pytorch/pytorch/issues/195460) and the fused path that
#   nn.MultiheadAttention and nn.TransformerEncoderLayer take in eval mode without gradients, with their linear layers. The
#   gradient of a convolution's weight (`conv_backward_flop`) is counted as if all output channels read all inputs.
# Seen (operations counted, divided by those of the formula; grouped convolutions with 8 channels):
#                                                  forward, training    forward, eval, no_grad     with backward
#     scaled_dot_product_attention                        0                      0                      0
#     the same on device "meta"                           1                      1                      -
#     nn.TransformerEncoderLayer, 256 tokens of 64        0.6                    0                      -
#     Conv3d                                              1                      1                      1
#     Conv3d, groups=4                                    1                      1                      2.0
#     Conv3d, groups=8 (depthwise)                        1                      1                      3.3
# Consequence: sizes of video transformers that are compared or chosen by a count made on a laptop lack what is most expensive in
#   them, the more the longer the clip; the utilisation of a GPU by networks of depthwise 3-D convolutions looks several
#   times as large as it is: of 256 channels, a count 86 times too large.
# Way around: count on device "meta", in train mode with dropout 0, forward only, and take backward as twice that.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - 2> log <<'PY' || { cat log; exit 1; }
from math import prod

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode


def counted(network, x, backward=False):
    with FlopCounterMode(display=False) as counter:
        y = network(x)
        if backward:
            y.sum().backward()
    return counter.get_total_flops()


def attend(x):
    return scaled_dot_product_attention(x, x, x)


TOKENS, WIDTH = 256, 64
attention = 2 * 2 * TOKENS**2 * WIDTH
for device, expected in (("cpu", 0), ("meta", attention)):
    x = torch.randn(1, 4, TOKENS, WIDTH // 4, device=device, requires_grad=True)
    shares = counted(attend, x) / attention, counted(attend, x.detach()) / attention
    print(f"attention on {device}: training {shares[0]}, eval {shares[1]}")
    assert shares == (expected / attention,) * 2
assert counted(attend, torch.randn(1, 4, TOKENS, 16, requires_grad=True), backward=True) == 0

layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True)
x = torch.randn(1, TOKENS, WIDTH)
linear = 2 * TOKENS * (4 * WIDTH**2 + 2 * WIDTH * 4 * WIDTH)
training = counted(layer, x) / (linear + attention)
with torch.no_grad():
    fused = counted(layer.eval(), x)
on_meta = counted(layer.train().to("meta"), x.to("meta"))
print(f"encoder layer: training {training:.2f}, eval {fused}, on meta {on_meta / (linear + attention)}")
assert training == linear / (linear + attention) and fused == 0 and on_meta == linear + attention


def convolution(channels, groups):
    """Shares of the formula for forward and for forward and backward."""
    network = nn.Conv3d(channels, channels, 3, padding=1, groups=groups, bias=False)
    x = torch.randn(1, channels, 4, 6, 6, requires_grad=True)
    flops = 2 * prod(x.shape) * (channels // groups) * 27
    return counted(network, x) / flops, counted(network, x, backward=True) / (3 * flops)


for channels, groups in ((8, 1), (8, 4), (8, 8), (256, 256)):
    forward, both = convolution(channels, groups)
    print(f"Conv3d, {channels} channels, groups {groups}: forward {forward}, with backward {both:.2f}")
    assert forward == 1 and abs(both - (2 + groups) / 3) < 1e-9
print("as described: counts are wrong")
PY
