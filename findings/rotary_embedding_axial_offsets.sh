#!/usr/bin/env bash
# rotary-embedding-torch 0.9.1: get_axial_freqs ignores its offsets, or applies those of the first axis to all.
#
# Expected: `get_axial_freqs(frames, height, width, offsets=(first, 0, 0))` gives the angles of a part of a video that
#   begins at frame number `first`: each axis counts from its own offset, whatever was called before.
# Happens: with whole-number positions (`freqs_for="lang"`, the default) and the default cache, the shifted
#   positions of an axis are passed to `forward` without their offset. What comes first is kept as the angles of
#   positions 0, 1, 2 ..., and every axis that is not longer, in this call and in all later ones, gets it.
#   With `freqs_for="pixel"`, as in the README, nothing is kept and all is right.
# Seen (4 frames of 3 x 3, positions as read from the angles):
#                                         frames     height    width
#     offsets (4, 0, 0), first call       4 5 6 7    4 5 6     4 5 6
#     no offsets, after it                4 5 6 7    4 5 6     4 5 6
#     no offsets, first call              0 1 2 3    0 1 2     0 1 2
#     offsets (4, 0, 0), after it         0 1 2 3    0 1 2     0 1 2
# Consequence: a long video made in windows gets the positions of its first window in all of them, so that new frames
#   and kept ones share positions; or the first call moves every later one, in height and width too. A
#   model trained that way and one sampled that way differ, depending on which call came first. Nothing raises.
# Way around: `cache_if_possible=False`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 rotary-embedding-torch==0.9.1 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
from rotary_embedding_torch import RotaryEmbedding

SIZES = 4, 3, 3
PLAIN = [[0, 1, 2, 3], [0, 1, 2], [0, 1, 2]]
SHIFTED = [[4, 5, 6, 7], [0, 1, 2], [0, 1, 2]]
ALL_SHIFTED = [[4, 5, 6, 7], [4, 5, 6], [4, 5, 6]]


def positions(rotary, offsets=None):
    """The positions along frames, height and width: angles of the highest frequency, which is 1."""
    angles = rotary.get_axial_freqs(*SIZES, offsets=offsets)
    axes = angles[:, 0, 0, 0], angles[0, :, 0, 8], angles[0, 0, :, 16]
    found = [axis.tolist() for axis in axes]
    print("   ", offsets, found)
    return found


for calls in (((4, 0, 0), None), (None, (4, 0, 0))):
    rotary = RotaryEmbedding(8)
    found = [positions(rotary, offsets) for offsets in calls]
    assert found == [ALL_SHIFTED if calls[0] else PLAIN] * 2
rotary = RotaryEmbedding(8, cache_if_possible=False)
assert positions(rotary, (4, 0, 0)) == SHIFTED and positions(rotary) == PLAIN
print("as described: offsets meet the cache")
PY
