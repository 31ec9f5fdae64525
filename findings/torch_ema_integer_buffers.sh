#!/usr/bin/env bash
# PyTorch 2.13.0: an EMA of weights and buffers takes 1 off integer buffers that never change.
#
# Expected: the average of a value that stays the same is that value. The documentation
#   (https://pytorch.org/docs/stable/generated/torch.optim.swa_utils.AveragedModel.html) shows an EMA of weights
#   and buffers by `get_ema_multi_avg_fn(0.9)` and `use_buffers=True`, and recommends the latter as one of two
#   ways to treat batch normalisation. It says nothing of integers.
# Happens: an integer buffer is averaged in float32 as `p * decay + p * (1 - decay)` and copied back, which
#   cuts the fraction off. Where the sum is rounded to a little under the integer, 1 is lost at the second
#   update, for good. `get_ema_avg_fn` does the same. Whether it happens hangs on the decay: not with 0.99 or
#   0.999, but with 0.9 and 0.9999.
# Seen (a buffer of the integers from 0 to 999, which no step changes):
#     decay      values that are 1 too small
#     0.9        280: 3, 6, 7, 9, 12, 14, 18, 23, ...
#     0.99       none
#     0.999      none
#     0.9999     198: 11, 22, 29, 31, 39, 44, 53, 58, ...
#   A temporal attention over 16 frames with a table of relative positions (an index buffer, as in Swin and
#   T5), no step of training taken: its EMA gives another output than the model.
# Consequence: 0.9999 is the usual decay of diffusion models. `relative_position_index`, `position_ids`,
#   tables of timesteps and scan orders are integer buffers: the averaged model looks up the neighbour of the
#   row that was trained, while the loss curve of the model itself is right. A counter such as
#   `num_batches_tracked` stops: its average never gains the whole 1 that it needs to move.
# Way around: `use_buffers=False` (the default: buffers are copied), or copy the integer buffers of the model
#   after every update.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

FRAMES, WIDTH, UPDATES = 16, 8, 10


class TemporalAttention(nn.Module):
    """Attention along frames with a learned bias per distance of two frames."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.bias = nn.Parameter(torch.randn(2 * FRAMES - 1))
        at = torch.arange(FRAMES)
        self.register_buffer("relative_position_index", at[:, None] - at + FRAMES - 1)

    def forward(self, x):
        bias = self.bias[self.relative_position_index]
        return scaled_dot_product_attention(*self.qkv(x).chunk(3, dim=-1), attn_mask=bias)


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("index", torch.arange(1000))
        self.register_buffer("count", torch.tensor(0))


def averaged(model, decay, use_buffers=True, multi=True, step=None):
    average = {"multi_avg_fn": get_ema_multi_avg_fn(decay)} if multi else {"avg_fn": get_ema_avg_fn(decay)}
    ema = AveragedModel(model, use_buffers=use_buffers, **average)
    for _ in range(UPDATES):
        if step:
            step(model)
        ema.update_parameters(model)
    return ema.module


torch.manual_seed(0)
x = torch.randn(2, FRAMES, WIDTH)
expected = {0.9: 280, 0.99: 0, 0.999: 0, 0.9999: 198}
for decay, count in expected.items():
    for multi in (True, False):
        model = Counter()
        lost = model.index - averaged(model, decay, multi=multi).index
        assert set(lost.tolist()) <= {0, 1} and lost.sum() == count
    model = TemporalAttention()
    whole = model(x)
    change = (averaged(model, decay)(x) - whole).abs().max().item()
    copied = (averaged(model, decay, use_buffers=False)(x) - whole).abs().max().item()
    print(f"    decay {decay:<7} {count:3} of 1000 too small: {lost.nonzero().flatten()[:8].tolist()};"
          f" output of the attention changed by {change:.2f} (buffers copied: {copied:.0e})")
    assert copied < 1e-5 and (change > 0.1) == (count > 0)

counted = averaged(Counter(), 0.9, step=lambda m: m.count.add_(1)).count.item()
print(f"    a counter, 1 to {UPDATES}: its average is {counted}")
assert counted == 1
print("as described: integer buffers lose 1")
PY
