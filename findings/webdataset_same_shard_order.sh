#!/usr/bin/env bash
# webdataset 1.0.2: shardshuffle gives the same order of shards in every epoch, so with_epoch never reads most of them.
#
# Expected: `WebDataset(shards, shardshuffle=100)` shuffles the shards anew in each epoch, as `shuffle(n)` does with
#   clips. `with_epoch(n)` should "change the epoch to return the given number of samples", and a training of many
#   such epochs sees all clips.
# Happens: without a `seed`, `WebDataset.__init__` (webdataset/compat.py) draws one and passes it to `filters.shuffle`,
#   whose `_shuffle` makes a new generator of it in each epoch. Every epoch of a data set object, and of its copies in
#   the workers of a loader, has one order. `detshuffle=True` counts epochs, but in the worker's copy: a worker that is
#   started for each epoch, as those of a `DataLoader` without `persistent_workers`, always begins with epoch 0.
#   Known as https://github.com/webdataset/webdataset/pull/502 (open) and issue 172; the README does not say it.
# Seen (100 shards of 20 clips, no seed, 20 epochs; the place of a clip in an epoch is between 0 and 1):
#                                               shard orders    mean change of place    clips ever seen
#                                                               from epoch to epoch     with with_epoch(500)
#     shardshuffle=100                                 1               0                    500 of 2,000
#     shardshuffle=100, then shuffle(100)              -               0.05                 600 of 2,000
#     detshuffle=True, one process                    20               0.33               2,000 of 2,000
#     detshuffle=True, a new process an epoch          1               0                      -
# Consequence: with short epochs, 70 % of this data set are never trained on, while loss and validation look as usual.
#   With whole epochs, clips of the same shards (of one film, source or genre) meet in the same batches each time, and the
#   same sources end each epoch. Shards are large for video, so a buffer of clips does not make up for it.
# Way around: `resampled=True`; or `persistent_workers=True` with `detshuffle=True`; or `SimpleShardList` and `wds.shuffle`
#   without a seed in a `DataPipeline`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile webdataset==1.0.2 numpy==2.4.6
cd "$work"
venv/bin/python - <<'PY'
import multiprocessing

import numpy as np
import webdataset as wds

SHARDS, CLIPS_OF_A_SHARD, EPOCHS = 100, 20, 20
names = [f"clips-{shard:03}.tar" for shard in range(SHARDS)]
for shard, name in enumerate(names):
    with wds.TarWriter(name) as sink:
        for clip in range(shard * CLIPS_OF_A_SHARD, (shard + 1) * CLIPS_OF_A_SHARD):
            sink.write({"__key__": f"{clip:04}", "txt": "a clip"})


def epoch(dataset):
    """The numbers of the clips of one epoch, in order."""
    return [int(clip["__key__"]) for clip in dataset]


def shard_orders(epochs):
    return len({tuple(clip // CLIPS_OF_A_SHARD for clip in clips) for clips in epochs})


def change_of_place(epochs):
    """Mean distance of a clip's places in two epochs that follow each other, as a fraction of the epoch; 1/3 by chance."""
    places = [np.argsort(clips) / len(clips) for clips in epochs]
    return float(np.mean([np.abs(b - a).mean() for a, b in zip(places, places[1:])]))


def seen(dataset):
    """Number of different clips in all epochs of 500."""
    dataset = dataset.with_epoch(500)
    return len({clip for _ in range(EPOCHS) for clip in epoch(dataset)})


def show(name, *values):
    print(f"{name:42}", *values, flush=True)
    return values


def in_new_process(dataset):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(epoch, (dataset,))


dataset = wds.WebDataset(names, shardshuffle=100)
epochs = [epoch(dataset) for _ in range(EPOCHS)]
assert all(sorted(clips) == list(range(2000)) for clips in epochs) and epochs[0] != sorted(epochs[0])
assert show("shardshuffle", shard_orders(epochs), change_of_place(epochs), seen(dataset)) == (1, 0, 500)

dataset = wds.WebDataset(names, shardshuffle=100).shuffle(100)
moved, found = show("shardshuffle, shuffle", change_of_place([epoch(dataset) for _ in range(EPOCHS)]), seen(dataset))
assert moved < 0.08 and found < 1000

dataset = wds.WebDataset(names, shardshuffle=100, detshuffle=True)
epochs = [epoch(dataset) for _ in range(EPOCHS)]
orders, moved, found = show("detshuffle", shard_orders(epochs), change_of_place(epochs), seen(dataset))
assert orders == EPOCHS and moved > 0.25 and found > 1900

dataset = wds.WebDataset(names, shardshuffle=100, detshuffle=True)
epochs = [in_new_process(dataset) for _ in range(4)]
assert show("detshuffle, new processes", shard_orders(epochs), change_of_place(epochs)) == (1, 0)

dataset = wds.DataPipeline(
    wds.SimpleShardList(names), wds.shuffle(100), wds.tarfile_to_samples(), wds.shuffle(100)
)
moved, found = show("pipeline", change_of_place([epoch(dataset) for _ in range(EPOCHS)]), seen(dataset))
assert moved > 0.25 and found > 1900
print("as described: one order of shards in all epochs")
PY
