#!/usr/bin/env bash
# datasets 5.2.0: streamed splits made by take and skip overlap when their loaders have different numbers of workers.
#
# Expected: `take(n)` is "only the first n elements" and `skip(n)` leaves these out (their docstrings), so
#   `clips.take(n)` and `clips.skip(n)` are a validation and a training set without a common clip; the number of
#   workers of a `DataLoader` changes the order of clips and not which clips there are.
# Happens: the shards are dealt out to the workers and n is divided among them: each worker takes, or skips, the
#   first n / num_workers clips of its own shards. Which clips these are depends on `num_workers`. Validation
#   is usually loaded with fewer workers than training, and then the two sets share clips, and others
#   are in neither. No error, no warning.
# Seen (24 clips in 4 shards of 6, take(8) and skip(8)):
#     workers of       clips of validation              in training too       in neither
#     take    skip
#        0       0     0 to 7                           none                  none
#        0       2     0 to 7                           4 5                   8 9
#        0       4     0 to 7                           2 3 4 5               12 13 18 19
#        2       4     0 1 2 3 6 7 8 9                  2 3 8 9               12 13 18 19
#        4       4     0 1 6 7 12 13 18 19              none                  none
# Consequence: half of the validation set is trained on, and its loss, FVD or the share of copied clips says
#   so only as a success. Two runs that differ in their number of workers are validated on other clips. The files of a
#   video data set are often sorted by source, so the clips of a split come from other sources too.
# Way around: split by files or shards before streaming; or the same `num_workers`, not above the number of
#   shards, in both loaders; or `filter` on a property of the clip (a hash of its name).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 datasets==5.2.0 huggingface_hub==2.4.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 venv/bin/python -W ignore - <<'PY'
from datasets import Dataset
from torch.utils.data import DataLoader

CLIPS = set(range(24))


def loaded(dataset, num_workers):
    """The clips that a loader gives, without their order; none of them twice."""
    loader = DataLoader(dataset, batch_size=2, num_workers=num_workers)
    clips = [int(clip) for batch in loader for clip in batch["clip"]]
    assert len(clips) == len(set(clips))
    return set(clips)


stream = Dataset.from_dict({"clip": sorted(CLIPS)}).to_iterable_dataset(num_shards=4)
validation, training = stream.take(8), stream.skip(8)
common = {}
for of_take, of_skip in ((0, 0), (0, 2), (0, 4), (2, 4), (4, 4)):
    taken, rest = loaded(validation, of_take), loaded(training, of_skip)
    assert len(taken) == 8 and len(rest) == 16
    both, neither = taken & rest, CLIPS - taken - rest
    print(f"    {of_take} {of_skip}   {sorted(taken)}   {sorted(both)}   {sorted(neither)}")
    common[of_take, of_skip] = both
assert common[0, 0] == common[4, 4] == set()
assert common[0, 2] == {4, 5} and common[0, 4] == {2, 3, 4, 5} and common[2, 4] == {2, 3, 8, 9}
assert loaded(validation, 0) == set(range(8)) != loaded(validation, 4)

test, rest = stream.filter(lambda clip: clip["clip"] % 3 == 0), stream.filter(lambda clip: clip["clip"] % 3)
assert loaded(test, 0) | loaded(rest, 4) == CLIPS and not loaded(test, 0) & loaded(rest, 4)
print("as described: which clips are taken and skipped depends on the workers")
PY
