#!/usr/bin/env bash
# huggingface_hub 2.4.0: models of PyTorchModelHubMixin are loaded without the weights that do not fit.
#
# Expected: `PyTorchModelHubMixin` gives a network `save_pretrained` and `from_pretrained`
#   (https://huggingface.co/docs/huggingface_hub/package_reference/mixins). A weight that the file
#   lacks is an error in PyTorch (`load_state_dict(strict=True)` is the default) and in
#   `safetensors.torch.load_model` (strict too), and a warning in transformers and diffusers.
# Happens: the mixin passes `strict=False` by default and drops the list of missing and unexpected
#   names that loading returns. Weights not found keep their random start, without a warning.
# Seen (a file of the usual prefix "module." of DistributedDataParallel or "_orig_mod." of
#   torch.compile; a layer renamed since the file was saved):
#     file              weights loaded   warnings
#     as saved               4 of 4          0
#     prefix module.         0 of 4          0
#     prefix _orig_mod.      0 of 4          0
#     renamed layer          2 of 4          0
# Consequence: a network of random weights runs, in eval mode and with the right shapes. It looks
#   like a badly trained model; fine-tuning from it trains from scratch.
# Way around: `Model.from_pretrained(path, strict=True)`, which raises RuntimeError for each of them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 huggingface_hub==2.4.0 safetensors==0.8.0 \
  numpy==2.4.6
cd "$work"
HF_HUB_OFFLINE=1 venv/bin/python - <<'PY'
import logging
import warnings

import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import save_file

records = []
handler = logging.Handler()
handler.emit = records.append
for name in (None, "huggingface_hub"):
    logging.getLogger(name).addHandler(handler)


class Net(torch.nn.Module, PyTorchModelHubMixin):
    def __init__(self, channels=8):
        super().__init__()
        self.inner = torch.nn.Linear(channels, channels)
        self.outer = torch.nn.Linear(channels, channels)


def loaded(title, rename):
    """The number of weights of the file found in the loaded network, and of warnings."""
    trained = Net()
    trained.save_pretrained("model")
    weights = trained.state_dict()
    save_file({rename(key): value for key, value in weights.items()}, "model/model.safetensors")
    records.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net = Net.from_pretrained("model")
    same = sum(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    told = len(caught) + sum(record.levelno >= logging.WARNING for record in records)
    print(f"{title:18} {same} of {len(weights)} weights, {told} warnings")
    try:
        Net.from_pretrained("model", strict=True)
    except RuntimeError:
        assert same < len(weights)
    else:
        assert same == len(weights)
    return same, told


assert loaded("as saved", lambda key: key) == (4, 0)
assert loaded("prefix module.", lambda key: f"module.{key}") == (0, 0)
assert loaded("prefix _orig_mod.", lambda key: f"_orig_mod.{key}") == (0, 0)
assert loaded("renamed layer", lambda key: key.replace("outer", "head")) == (2, 0)
print("as described: weights that do not fit are left out in silence")
PY
