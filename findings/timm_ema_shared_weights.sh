#!/usr/bin/env bash
# timm 1.0.31: ModelEmaV3 averages a weight that several layers share once for each of them, or multiplies it.
#
# Expected: `ModelEmaV3(model, decay=d)` keeps d * average + (1 - d) * weight of every weight; "set
#   dtype=torch.float32 to keep the EMA in float32 (2x the EMA memory) for a low precision model" (its docstring,
#   https://github.com/huggingface/pytorch-image-models/blob/main/timm/utils/model_ema.py).
# Happens: it goes through the entries of `state_dict()`. A weight with N names (a layer that N blocks share, an
#   embedding tied to the output layer) has N entries on the same memory and is averaged N times a step, with
#   decay d^N. If average and model differ in dtype, all entries are first multiplied by d, then (1 - d) * weight
#   is added N times: where d is 0, as it is in the first step when `step` is given, N times the
#   weight. Only `exclude_buffers=True` goes through `parameters()`, which has each weight once.
# Seen (decay 0.9999; the average after updates by a weight that is 1 all along, 0 at first where no step is given):
#                                                      own weight   2 names   28 names
#     float32, 1000 updates                                0.0952    0.1813     0.9392
#     float32, 1000 updates, exclude_buffers               0.0952    0.0952     0.0952
#     bfloat16 to float32, step=1                          1         2         28
#     bfloat16 to float32, step=1 ... 1000                 1         1.8189     2.6463
#     bfloat16 to float32, step=1 ... 1000, exclude_buffers 1        1          1
# Consequence: a transformer whose blocks share their modulation or whose tokens are tied has, in its average, some
#   weights averaged over 1/N of the steps; trained in bfloat16 it has them up to N times too large for tens
#   of thousands of steps, and samples of the average are noise while the trained weights work.
# Way around: `exclude_buffers=True`, or torch.optim.swa_utils.AveragedModel.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
"$work/venv/bin/pip" install -q --no-compile --no-deps timm==1.0.31
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import importlib.util
import sysconfig

import torch

# The module alone: `import timm` asks for torchvision, which averages do not need.
place = sysconfig.get_path("purelib") + "/timm/utils/model_ema.py"
spec = importlib.util.spec_from_file_location("model_ema", place)
timm = importlib.util.module_from_spec(spec)
spec.loader.exec_module(timm)

DECAY = 0.9999


class Model(torch.nn.Module):
    """Blocks that share one layer of a single weight."""

    def __init__(self, blocks):
        super().__init__()
        shared = torch.nn.Linear(1, 1, bias=False)
        self.blocks = torch.nn.ModuleList(torch.nn.Sequential(shared) for _ in range(blocks))


def average(blocks, updates, dtype=torch.float32, steps=False, **options):
    """The average of a weight of 1, from 0 on."""
    model = Model(blocks).to(dtype)
    (weight,) = model.parameters()
    torch.nn.init.zeros_(weight)
    averaged = timm.ModelEmaV3(model, decay=DECAY, dtype=torch.float32, **options)
    torch.nn.init.ones_(weight)
    for step in range(1, updates + 1):
        averaged.update(model, step=step if steps else None)
    return next(averaged.module.parameters()).item()


def show(name, *arguments, **options):
    row = [average(blocks, *arguments, **options) for blocks in (1, 2, 28)]
    print(f"{name:54}", *(f"{value:9.4f}" for value in row))
    return row


def near(values, wanted):
    return all(abs(value - want) < 2e-3 for value, want in zip(values, wanted, strict=True))


once = 1 - DECAY**1000
low = {"dtype": torch.bfloat16, "steps": True}
assert near(show("float32", 1000), [1 - DECAY ** (1000 * names) for names in (1, 2, 28)])
assert near(show("float32, exclude_buffers", 1000, exclude_buffers=True), [once] * 3)
assert near(show("bfloat16 to float32, step=1", 1, **low), [1, 2, 28])
one, two, many = show("bfloat16 to float32, step=1 ... 1000", 1000, **low)
assert abs(one - 1) < 2e-3 and two > 1.7 and many > 2
assert near(show("bfloat16 to float32, exclude_buffers", 1000, exclude_buffers=True, **low), [1] * 3)
print("as described: shared weights are averaged once for each of their names, or multiplied")
PY
