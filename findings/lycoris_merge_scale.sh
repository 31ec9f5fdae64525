#!/usr/bin/env bash
# lycoris-lora 4.1.3: merging LoHa or LoKr applies their scale alpha / dim twice, so that most of what was trained is lost.
#
# Expected: after `merge_to(1.0)` a model gives without the adapter what it gave with it, as with LoRA. The README shows
#   `apply_to` for training and `merge_to` for inference.
# Happens: in lycoris/modules/loha.py and lokr.py `get_weight` gives the product already times `scale` (alpha / dim), which
#   is what forward adds to the weight. `get_diff_weight`, which merging uses, multiplies it by `scale` again. (LoKr of small
#   layers stores its second factor whole; alpha is then dim.) There is no error, and an adapter that is saved and loaded
#   as an adapter is right.
# Seen (temporal convolution and linear layer of 256 channels; change by the merged adapter divided by that of the applied one):
#     alpha / dim      loha      lokr      lora
#     4 / 4            1.00      1.00      1.00
#     2 / 4            0.50      0.50      1.00
#     1 / 4            0.25      0.25      1.00         the defaults of create_lycoris
#     8 / 4            2.00      2.00      1.00
# Consequence: a motion or style adapter that was validated as an adapter is far too weak in the merged model that is
#   deployed or converted.
# Way around: `merge_to(dim / alpha)`; with `dora_wd=True`, where that is wrong too, train with alpha equal to dim.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 lycoris-lora==4.1.3 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - 2> log <<'PY' || { cat log; exit 1; }
from copy import deepcopy
from functools import partial

import torch
from lycoris import create_lycoris, create_lycoris_from_weights
from torch import nn

RANK = 4


def layers():
    torch.manual_seed(0)
    convolution = nn.Conv3d(256, 256, (3, 1, 1), padding=(1, 0, 0))
    return ((convolution, torch.randn(2, 256, 4, 3, 3)), (nn.Linear(256, 256), torch.randn(2, 9, 256)))


@torch.no_grad()
def changes(layer, z, algo, alpha, multiplier=1.0, **options):
    """Changes of the output by an adapter: applied, merged, and applied after loading its weights."""
    model, copy = nn.Sequential(deepcopy(layer)), nn.Sequential(deepcopy(layer))
    before = model(z)
    adapter = create_lycoris(model, 1.0, linear_dim=RANK, linear_alpha=alpha, algo=algo, **options)
    adapter.apply_to()
    for name, weight in adapter.named_parameters():
        if not name.endswith("dora_scale"):
            weight.normal_(std=0.3)
    adapter.eval()
    applied = model(z) - before
    weights = {name: weight.clone() for name, weight in adapter.state_dict().items()}
    adapter.restore()
    adapter.merge_to(multiplier)
    loaded, _ = create_lycoris_from_weights(1.0, "adapter.safetensors", copy, weights_sd=weights)
    loaded.apply_to()
    loaded.eval()
    return applied, model(z) - before, copy(z) - before


close = partial(torch.testing.assert_close, rtol=1e-3, atol=0.01)
for alpha in (4, 2, 1, 8):
    for layer, z in layers():
        for algo in ("loha", "lokr", "lora"):
            applied, merged, loaded = changes(layer, z, algo, alpha)
            twice = 1 if algo == "lora" else alpha / RANK
            ratio = (merged.norm() / applied.norm()).item()
            print(f"{type(layer).__name__}, {algo}, alpha / dim = {alpha} / {RANK}: merged / applied {ratio:.2f}", flush=True)
            close(loaded, applied)
            close(merged, twice * applied)
            assert applied.norm() > 0.01 * layer(z).norm()
for layer, z in layers():
    for algo in ("loha", "lokr"):
        applied, merged, _ = changes(layer, z, algo, 1, multiplier=RANK)
        close(merged, applied)
        for alpha in (RANK, 1):
            applied, merged, _ = changes(layer, z, algo, alpha, dora_wd=True)
            error = ((merged - applied).norm() / applied.norm()).item()
            print(f"{type(layer).__name__}, {algo} with DoRA, alpha / dim = {alpha} / {RANK}: error of merging {error:.2f}")
            assert (error < 1e-3) == (alpha == RANK)
print("as described: the scale is applied twice")
PY
