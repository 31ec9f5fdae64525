#!/usr/bin/env bash
# accelerate 1.15.0: with use_seedable_sampler=True, epochs that end with `break` all have the same first clips.
#
# Expected: `DataLoaderConfiguration(use_seedable_sampler=True)` makes the order of a shuffled loader reproducible; "on
#   average the differences are negligible" (its docstring). Each pass over the loader has an order of its own, as with
#   PyTorch's sampler and as in complete epochs here.
# Happens: the loader counts its epochs after its last batch, and the sampler's seed is that count. A pass that ends before,
#   by `break` or by `islice`, is not counted, and the next pass begins the same order again.
# Seen (16 clips in batches of 2, clips of three passes that end after 4 batches):
#     without the option     10 4 3 2 13 8 1 14    8 13 9 15 14 4 7 10    5 7 13 1 15 9 10 12
#     with it                12 10 9 6 11 8 13 5   12 10 9 6 11 8 13 5    12 10 9 6 11 8 13 5
# Consequence: a training with a fixed number of steps per epoch (before each validation or sampling) sees the same
#   clips in every epoch and never the rest: of a large video set, a few thousand clips, which it learns by heart.
#   Losses fall well. Only runs that were made reproducible are concerned.
# Way around: `loader.set_epoch(epoch)` before every pass; or one endless iterator over whole epochs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 accelerate==1.15.0 huggingface_hub==2.4.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'PY'
from itertools import islice

from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed
from torch.utils.data import DataLoader

CLIPS = range(16)


def prepared(seedable):
    set_seed(0)
    config = DataLoaderConfiguration(use_seedable_sampler=seedable)
    return Accelerator(cpu=True, dataloader_config=config).prepare(DataLoader(CLIPS, 2, shuffle=True))


def passes(loader, batches, set_epoch=False):
    """The clips of three passes that end after a number of batches."""
    found = []
    for epoch in range(3):
        if set_epoch:
            loader.set_epoch(epoch)
        clips = [clip for batch in islice(loader, batches) for clip in batch.tolist()]
        assert len(set(clips)) == len(clips)
        found.append(tuple(clips))
    print("   ", *found)
    return len(set(found))


assert passes(prepared(False), 4) == 3
assert passes(prepared(True), 4) == 1
assert passes(prepared(True), None) == 3
assert passes(prepared(True), 4, set_epoch=True) == 3
print("as described: a pass that is broken off is not counted")
PY
