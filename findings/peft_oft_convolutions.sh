#!/usr/bin/env bash
# peft 0.21.2: OFT scrambles the pixels that 3 x 3 convolutions read, already when the adapter is new.
#
# Expected: orthogonal fine-tuning rotates weights. `init_weights=True`, the default, begins with the identity, so that a
#   new adapter changes nothing, and `merge_and_unload` keeps the outputs of the adapter.
# Happens: the layer of Conv2d (peft/tuners/oft/layer.py) unfolds its input into patches, rotates them and joins them by
#   `F.fold`. `_fold` views an array (batch, channels, rows, columns, 3, 3) as (batch, channels * 9, rows * columns) without
#   moving the axes, so that patches return to wrong places; nor is the sum divided by the number of patches of a pixel.
#   Merging rotates the weight instead, which is right. There is no error and no warning.
# Seen (Conv2d of 8 to 16 channels on 12 x 12 latents; outputs with an adapter compared with the original's):
#     kernel, adapter               correlation     norm divided by the original's
#     3, new                           0.04            2.5
#     3, new, merged                   1.00            1.0
#     3, random rotations              0.04            2.5         against the same adapter merged
#     1, new or rotated                1.00            1.0
#   One pixel of 1 becomes nine, spread over the frame.
# Consequence: U-Nets over frames or planes with OFT on their ResNet blocks begin from noise instead of the pretrained model, and
#   what the adapter then learns is of no use when it is merged.
# Way around: OFT on linear layers and 1 x 1 convolutions alone; for other convolutions `BOFTConfig`, whose merged and
#   unmerged outputs are the same.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 peft==0.21.2 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - 2> log <<'PY' || { cat log; exit 1; }
from copy import deepcopy

import torch
from peft import BOFTConfig, OFTConfig, get_peft_model
from torch import nn


@torch.no_grad()
def outputs(original, config, z, rotated):
    """What the layer gives with an adapter, unmerged and merged."""
    model = get_peft_model(nn.Sequential(deepcopy(original)), config).eval()
    for name, weight in model.named_parameters():
        if rotated and f".{type(config).__name__[:-6].lower()}_R" in name:
            weight.normal_(std=0.05)
    return model(z), model.merge_and_unload()(z)


def correlation(a, b):
    return torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1].item()


for kernel in (3, 1):
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 16, kernel, padding=kernel // 2, bias=False).eval()
    z = torch.randn(4, 8, 12, 12)
    expected = conv(z)
    oft = OFTConfig(target_modules=["0"], oft_block_size=4)
    new, new_merged = outputs(conv, oft, z, rotated=False)
    turned, turned_merged = outputs(conv, oft, z, rotated=True)
    print(f"kernel {kernel}, new: {correlation(new, expected):.2f}, norm {new.norm() / expected.norm():.1f}")
    print(f"kernel {kernel}, rotated: {correlation(turned, turned_merged):.2f}, norm {turned.norm() / turned_merged.norm():.1f}")
    torch.testing.assert_close(new_merged, expected, rtol=1e-4, atol=1e-4)
    if kernel == 3:
        assert abs(correlation(new, expected)) < 0.1 and abs(correlation(turned, turned_merged)) < 0.1
        assert new.norm() > 2 * expected.norm()
    else:
        torch.testing.assert_close(new, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(turned, turned_merged, rtol=1e-4, atol=1e-4)
    boft = BOFTConfig(target_modules=["0"], boft_block_size=4)
    torch.testing.assert_close(*outputs(conv, boft, z, rotated=True), rtol=1e-4, atol=1e-4)

pixel = torch.zeros(1, 8, 12, 12)
pixel[0, 2, 5, 6] = 1
read = []
model = get_peft_model(nn.Sequential(nn.Conv2d(8, 16, 3, padding=1)), OFTConfig(target_modules=["0"], oft_block_size=4))
next(m for m in model.modules() if isinstance(m, nn.Conv2d)).register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
model.eval()(pixel)
places = read[0].nonzero()[:, 2:].tolist()
print("the pixel at [5, 6] is read at", places)
assert len(places) == 9 and [5, 6] not in places
print("as described: convolutions read scrambled pixels")
PY
