#!/usr/bin/env bash
# litdata 0.2.76: all workers, ranks and epochs of a CombinedStreamingDataset draw its sources in one and the same order.
#
# Expected: "Stratified (default): each batch mixes samples from multiple datasets according to the weights" (README). The
#   source of each clip of a global batch is drawn independently, and every epoch draws anew, as it shuffles clips anew.
# Happens: `_CombinedDatasetIterator` (litdata/streaming/combined.py) makes `random.Random(seed)` of the `seed` alone (42), without
#   the worker, the rank or the epoch. Every worker of every rank begins the same sequence of sources. Batches come
#   from the workers in turn, so each draw is repeated num_workers times in a row, on all ranks at once.
# Seen (two sources with weights 0.5 and 0.5, batch_size=1, two ranks; the sources a and b of the first steps):
#     workers    rank 0, epoch 1             rank 1, epoch 1             rank 0, epoch 2
#        1       baaabbbaaaabaabb...         baaabbbaaaabaabb...         baaabbbaaaabaabb...
#        4       bbbbaaaaaaaaaaaa...         bbbbaaaaaaaaaaaa...         bbbbaaaaaaaaaaaa...
#   With four workers, all 8 clips of four steps on two ranks are of one source, always; by chance 1 time in 128.
# Consequence: video models are often trained with one clip a GPU, so a step's gradient is of one source on all GPUs, and so
#   are those of num_workers steps in a row: with 64 GPUs and 8 workers, 512 clips of one source for each draw. The loss
#   goes up and down with it, the more so the more workers and GPUs there are, and a longer training does not average
#   over the order, as every epoch has the same. With larger batches, num_workers batches in a row, on all ranks,
#   have the same share of each source.
# Way around: mix the sources before `optimize`; or give each rank a `seed` of its own, with `num_workers=1`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 litdata==0.2.76 numpy==2.4.6
cd "$work"
cat > example.py <<'PY'
import os
import sys

from litdata import CombinedStreamingDataset, StreamingDataLoader, StreamingDataset, optimize

CLIPS, STEPS = 160, 64


def clip(number):
    return {"clip": number}


def loader(rank, num_workers, **options):
    """The loader of one of two ranks, as litdata finds them in the environment."""
    os.environ.update(WORLD_SIZE="2", GLOBAL_RANK=str(rank))
    sources = [StreamingDataset(name, shuffle=True) for name in ("a", "b")]
    mixed = CombinedStreamingDataset(sources, weights=[0.5, 0.5], iterate_over_all=False, **options)
    return StreamingDataLoader(mixed, batch_size=1, num_workers=num_workers)


def first_steps(loader):
    """The clips of the first steps of an epoch, and their sources."""
    clips = [int(batch["clip"]) for batch in loader][:STEPS]
    return clips, "".join("ab"[clip // CLIPS] for clip in clips)


def mixtures(num_workers):
    rank_0, rank_1 = loader(0, num_workers), loader(1, num_workers)
    (clips, first), (others, second), (later, third) = map(first_steps, (rank_0, rank_1, rank_0))
    assert not set(clips) & set(others) and clips != later
    print(f"    {num_workers}   {first[:32]}   {second[:32]}   {third[:32]}", flush=True)
    assert first == second == third and 0.2 < first.count("a") / STEPS < 0.8
    return first


def write():
    for source, first in (("a", 0), ("b", CLIPS)):
        inputs = list(range(first, first + CLIPS))
        optimize(fn=clip, inputs=inputs, output_dir=source, chunk_size=20, num_workers=1, verbose=False)


def read():
    one, four = mixtures(1), mixtures(4)
    assert all(len(set(four[step : step + 4])) == 1 for step in range(0, STEPS, 4))
    assert four[::4] == one[: STEPS // 4]
    assert first_steps(loader(0, 1, seed=0))[1] != first_steps(loader(1, 1, seed=1))[1]
    print("as described: one order of sources for all")


if __name__ == "__main__":
    write() if sys.argv[1] == "write" else read()
PY
export OMP_NUM_THREADS=1
venv/bin/python -W ignore example.py write > log 2>&1 || { cat log; exit 1; }
venv/bin/python -W ignore example.py read 2> log || { cat log; exit 1; }
