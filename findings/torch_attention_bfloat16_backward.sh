#!/usr/bin/env bash
# torch 2.13.0 on a CPU: the backward pass of fused attention is several times slower in bfloat16.
#
# Expected: on a CPU with AVX512-BF16 or AMX, bfloat16 makes attention faster, or no slower, in both
#   directions; https://docs.pytorch.org/docs/stable/amp.html puts scaled_dot_product_attention on
#   the list of operators that CPU autocast runs in bfloat16.
# Happens: the forward pass is as fast or faster; the backward pass takes 2 to 10 times as long as
#   in float32, most of all for short sequences and few channels a head, as video UNets have them.
# Seen (ms of forward and backward together; float32, bfloat16, bfloat16 computed in float32 with
#   casts of queries, keys, values and result; one thread, Xeon with AMX; rows, tokens, keys, channels):
#     64 x 4 heads, 256 tokens, 256 keys, 16 channels    61   138    75
#     64 x 4 heads, 256 tokens,  32 keys, 16 channels    12   105    17
#     64 x 4 heads,  64 tokens,  64 keys, 24 channels     8    52    13
#     64 x 4 heads,  16 tokens,  16 keys, 36 channels     2    23     2
# Consequence: a third of a training step of a small text-to-video UNet under CPU autocast was this
#   one operator, and all that bfloat16 had gained elsewhere was lost, without a warning.
# Way around: leave autocast around the call and compute it in float32:
#   `F.scaled_dot_product_attention(q.float(), k.float(), v.float()).to(q.dtype)`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import statistics
import time

import torch
import torch.nn.functional as F

torch.manual_seed(0)


def seconds(attend, inputs):
    """CPU seconds of a forward and backward pass."""
    started = time.process_time()
    out = attend(*inputs)
    torch.autograd.grad(out, inputs, torch.ones_like(out))
    return time.process_time() - started


def widened(*inputs):
    return F.scaled_dot_product_attention(*(x.float() for x in inputs)).bfloat16()


attention = F.scaled_dot_product_attention
for tokens, keys, channels in ((256, 256, 16), (256, 32, 16), (64, 64, 24), (16, 16, 36)):
    shapes = [(64, 4, number, channels) for number in (tokens, keys, keys)]
    single = [torch.randn(shape, requires_grad=True) for shape in shapes]
    half = [x.detach().bfloat16().requires_grad_() for x in single]
    ways = ((attention, single), (attention, half), (widened, half))
    rounds = [[seconds(*way) for way in ways] for _ in range(6)][1:]
    float32, bfloat16, cast = (1e3 * statistics.median(times) for times in zip(*rounds))
    print(
        f"{tokens:4} tokens {keys:4} keys {channels:3} channels:  float32 {float32:6.1f} ms"
        f"  bfloat16 {bfloat16:6.1f} ms  cast {cast:6.1f} ms"
    )
    assert bfloat16 > 1.5 * float32, "the backward pass in bfloat16 is no longer slow"
    assert bfloat16 > 1.3 * cast, "casting to float32 is no longer faster"
PY
echo "as described: bfloat16 attention trains slower than float32 attention on a CPU"
