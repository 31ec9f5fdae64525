#!/usr/bin/env bash
# rotary-embedding-torch 0.9.1: bfloat16 queries of a long video are rotated as if neighbouring tokens had one position.
#
# Expected: rotary embeddings turn a query by its position times the frequency; `rotate_queries_or_keys` computes the
#   angles in float32 (its `forward` switches autocast off for that), and a rotation of bfloat16 queries differs by
#   their rounding, below 0.01.
# Happens: the positions are `torch.arange(seq_len, dtype=t.dtype)`: in bfloat16, whole numbers above 256 are
#   rounded to even ones, above 512 to multiples of 4, and so on. The angles are kept for the next calls, so
#   float32 queries are wrong after the first bfloat16 ones (a validation in bfloat16 during float32 training).
# Seen (unit queries of 2,048 tokens, largest difference from float32; how many of the tokens are told apart):
#     tokens      difference    angles    float32 queries afterwards
#        256           0.002       256           0.000
#        512           0.96        385           0.96
#      1,024           1.68        513           1.68
#      2,048           2.00        641           1.99
# Consequence: 16 frames of 16 x 16 latents are 4,096 tokens: with this embedding along the flattened sequence, 16
#   neighbours share a position at the end, and rotations are off by up to half a turn. A model trained in float32
#   and sampled in bfloat16 is another one beyond 256 tokens, or frames. float16 is right up to 2,048.
# Way around: rotate in float32, `rotate_queries_or_keys(q.float()).to(q)`, from the first call on; or `apply_rotary_emb`
#   with `get_axial_freqs`, whose positions are whole numbers of type int64.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 rotary-embedding-torch==0.9.1 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import torch
from rotary_embedding_torch import RotaryEmbedding, apply_rotary_emb

TOKENS = 2048

queries = torch.zeros(1, 1, TOKENS, 32)
queries[..., 0] = 1
exact = RotaryEmbedding(32).rotate_queries_or_keys(queries)
positions = torch.arange(TOKENS, dtype=torch.float64)
assert (exact[0, 0, :, 0] - positions.cos()).abs().max() < 1e-3

rotary = RotaryEmbedding(32)
rounded = rotary.rotate_queries_or_keys(queries.bfloat16())
afterwards = rotary.rotate_queries_or_keys(queries)


def differences(n):
    """Of the first n tokens: largest differences from float32, and how many rotations there are."""
    first, second = ((x.float() - exact)[0, 0, :n].abs().max().item() for x in (rounded, afterwards))
    angles = len(afterwards[0, 0, :n].unique(dim=0))
    print(f"    {n:6} {first:8.3f} {angles:6} {second:8.3f}")
    return first, angles, second


first, angles, second = differences(256)
assert first < 0.01 and angles == 256 and second == 0
first, angles, second = differences(512)
assert first > 0.9 and angles == 385 and second > 0.9
for n in (1024, TOKENS):
    first, angles, second = differences(n)
    assert first > 1.5 and angles < 0.51 * n and second > 1.5

rotary = RotaryEmbedding(32)
around = rotary.rotate_queries_or_keys(queries.bfloat16().float()).bfloat16()
assert (around.float() - exact).abs().max() < 0.01
half = RotaryEmbedding(32).rotate_queries_or_keys(queries.half())
assert (half.float() - exact).abs().max() < 0.01
around = apply_rotary_emb(RotaryEmbedding(32).get_axial_freqs(TOKENS), queries.bfloat16())
assert (around.float() - exact).abs().max() < 0.01
print("as described: positions are rounded to bfloat16")
PY
