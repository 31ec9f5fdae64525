#!/usr/bin/env bash
# torchinfo 1.8.0: a transformer of any length has the multiply-adds of one token, and transposed convolutions too many.
#
# Expected: "Total mult-adds" of `summary` is the number of multiplications of a forward pass with the given input.
# Happens: `calculate_macs` (torchinfo/layer_info.py) multiplies the weights of a linear layer by the first axis of its output, the batch,
#   whatever axes follow (https://github.com/TylerYep/torchinfo/issues/77, mended in 2024, not released). Those of ConvTranspose3d
#   it multiplies by the size of its output, but each weight meets each position of its input. Products of two
#   activations, such as attention, count 0, as does all of nn.MultiheadAttention; nothing says so.
# Seen (mult-adds of `summary`, divided by those of the formula, and by the count of FlopCounterMode, which agrees with it):
#     block of a video transformer, 4 x 4 x 4 tokens of 64            0.013
#     the same, 16 x 16 x 16 tokens                                   0.00002
#     Linear, the 3 x 4 x 5 tokens of 2 clips as a batch of 120       1.0        as (2, 3, 4, 5, channels): 0.017
#     Conv3d, stride 2                                                1.0
#     ConvTranspose3d, stride 2                                       8.0
#     ConvTranspose3d, stride (1, 2, 2)                               4.0
# Consequence: tables that compare 3-D U-Nets with transformers over space and time, or clips of different length, are wrong
#   by factors of thousands in favour of the transformer; decoders seem 8 times as expensive as their encoders.
# Way around: `torch.utils.flop_counter.FlopCounterMode` on device "meta".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 torchinfo==1.8.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - 2> log <<'PY' || { cat log; exit 1; }
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchinfo import summary

WIDTH = 64


class Block(nn.Module):
    """Attention and MLP over all tokens of a clip."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH, bias=False))

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out((q @ k.transpose(-1, -2)).softmax(-1).matmul(v).transpose(1, 2).flatten(2))
        return x + self.mlp(x)


def share(name, network, shape, multiplications):
    """Mult-adds that torchinfo reports, divided by those of the formula."""
    reported = summary(network, input_size=shape, verbose=0).total_mult_adds
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.to("meta")(torch.empty(shape, device="meta"))
    assert counter.get_total_flops() == 2 * multiplications
    print(f"{name}: {reported / multiplications:.5f}")
    return reported / multiplications


for side in (4, 16):
    tokens = side**3
    multiplications = tokens * 12 * WIDTH**2 + 2 * tokens**2 * WIDTH
    reported = share(f"block, {tokens} tokens", Block(), (1, tokens, WIDTH), multiplications)
    assert abs(reported * multiplications - 12 * WIDTH**2) < 0.5
linear = {shape: nn.Linear(WIDTH, WIDTH, bias=False) for shape in ((120, WIDTH), (2, 3, 4, 5, WIDTH))}
shares = [share(f"Linear, {shape}", layer, shape, 120 * WIDTH**2) for shape, layer in linear.items()]
assert shares[0] == 1 and abs(shares[1] - 1 / 60) < 1e-6
positions = 4 * 8 * 8
assert share("Conv3d", nn.Conv3d(8, 16, 2, stride=2, bias=False), (1, 8, 4, 8, 8), positions // 8 * 8 * 16 * 8) == 1
for stride, factor in ((2, 8), ((1, 2, 2), 4)):
    layer = nn.ConvTranspose3d(8, 16, stride, stride=stride, bias=False)
    assert share(f"ConvTranspose3d, stride {stride}", layer, (1, 8, 4, 8, 8), positions * layer.weight.numel()) == factor
print("as described: tokens are not counted")
PY
