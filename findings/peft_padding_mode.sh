#!/usr/bin/env bash
# peft 0.21.2: adapters of convolutions pad with zeros, whatever their layer's `padding_mode`, and merging them changes the borders.
#
# Expected: `merge_and_unload` "merges the adapter layers into the base model", whose outputs stay those with the adapter.
#   `padding_mode` is an argument of nn.Conv3d as `stride` and `padding` are, which the adapter takes over.
# Happens: the added layer of LoRA gets kernel size, stride and padding of the original (peft/tuners/lora/layer.py,
#   `_ConvNd.update_layer`) but not its `padding_mode`; DoRA calls `F.conv3d` with the number alone, LoHa and LoKr call
#   `F.conv2d`. The original pads by "replicate", "reflect" or "circular", the adapter by zeros. Merged, the update is in the
#   original's weight and is padded like it. BOFT has the same. Reported for LoRA:
#   https://github.com/huggingface/peft/issues/3697 (dilation is lost, too, which raises).
# Seen (Conv3d 8 to 16 channels, kernel 3, on 6 x 12 x 12 latents; difference between merged and adapter, root mean square,
#   as a part of the change made by the adapter; in brackets inside, without the outer cells):
#     padding_mode       LoRA              DoRA
#     zeros              0.00 (0.00)       0.00 (0.00)
#     replicate          0.50 (0.00)       0.44 (0.00)
#     reflect            0.49 (0.00)       0.43 (0.00)
#     circular           0.50 (0.00)       0.44 (0.00)
# Consequence: in video autoencoders that pad so ("reflect" in the decoders of LTX-2 and KVAE in diffusers; "circular" for
#   panoramas and tiles) an adapter learns borders with zeros; merged, borders and, with padding in time, the
#   first and last frames of every clip are other than in validation. A seamless model has seams with the adapter.
# Way around: do the padding by `F.pad` before a convolution with padding=0; or validate what is merged.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 peft==0.21.2 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - 2> log <<'PY' || { cat log; exit 1; }
from copy import deepcopy

import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
from torch import nn


def root_mean_square(x):
    return x.square().mean().sqrt()


@torch.no_grad()
def difference(original, config, z):
    """Merged against unmerged, everywhere and inside, in units of what the adapter changes."""
    torch.manual_seed(1)
    model = get_peft_model(nn.Sequential(deepcopy(original)), config).eval()
    for name, weight in model.named_parameters():
        if weight.requires_grad and "magnitude" not in name:
            weight.normal_(std=0.1)
    adapted = model(z)
    change = root_mean_square(adapted - original(z))
    error = model.merge_and_unload()(z) - adapted
    inside = error[(..., *[slice(1, -1)] * (z.ndim - 2))]
    return (root_mean_square(error) / change).item(), (root_mean_square(inside) / change).item()


kinds = {
    "LoRA": (3, LoraConfig(target_modules=["0"], r=4)),
    "DoRA": (3, LoraConfig(target_modules=["0"], r=4, use_dora=True)),
    "LoHa": (2, LoHaConfig(target_modules=["0"], r=4)),
    "LoKr": (2, LoKrConfig(target_modules=["0"], r=4)),
}
for name, (dims, config) in kinds.items():
    for padding_mode in ("zeros", "replicate", "reflect", "circular"):
        torch.manual_seed(0)
        convolution = (nn.Conv3d if dims == 3 else nn.Conv2d)(8, 16, 3, padding=1, padding_mode=padding_mode)
        z = torch.randn((2, 8, 6, 12, 12) if dims == 3 else (2, 8, 12, 12))
        everywhere, inside = difference(convolution, deepcopy(config), z)
        print(f"{name}, {padding_mode}: {everywhere:.2f} ({inside:.2f})")
        assert inside < 1e-4 and (everywhere < 1e-4 if padding_mode == "zeros" else everywhere > 0.15)
print("as described: adapters pad with zeros")
PY
