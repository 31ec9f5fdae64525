#!/usr/bin/env bash
# litdata 0.2.76: vectors of another type than those of the first clip are read as wrong numbers, absent numbers as 0.
#
# Expected: `optimize` stores what its function returns, and `StreamingDataset` gives it back, as is true of tensors with two
#   axes or more; or an error for a clip that does not fit the others, as for a float where the first clip had an int.
# Happens: `BinaryWriter.serialize` (litdata/streaming/writer.py) infers the format from the first clip that a worker gets.
#   The type of a tensor or array with one axis is written there alone (`NoHeaderTensorSerializer` and
#   `NoHeaderNumpySerializer`, litdata/streaming/serializers.py): the bytes of all later clips are stored as they are and read
#   as the first clip's type. `wrap_for_pytree` (litdata/types.py) puts 0, 0.0, False or "" where a later clip lacks
#   a field, and leaves out fields that the first clip lacks.
# Seen (the first clip, and what is read of the second):
#     field     first clip            second clip, written        second clip, read
#     pooled    float32, 4 numbers    float16, four times 0.5     float32, twice 0.0000306
#     scores    tensor([0.5, 1.0])    tensor([1, 0])              tensor([1.4e-45, 0, 0, 0])
#     audio     int16, 4 samples      float32: 0, 1, 2, 3         0, 0, 0, 16256, 0, 16384, 0, 16448
#     latents   float32, 1 x 2        float16, 1 x 2              as written
#     motion    0.5                   -                           0.0
#     caption   -                     "a dog"                     -
# Consequence: pooled text embeddings, scores, frame times or audio of most clips are noise or zeros, and one captioned
#   source among several loses its captions, if the first clip is not typical. `torch.tensor` of Python numbers is enough:
#   its type depends on whether one has a decimal point. Where sizes are not compared, training goes on with it.
# Way around: the same fields in every clip, with types that are given (`torch.tensor(scores, dtype=torch.float32)`), or two axes
#   (`scores[None]`); read some clips back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 litdata==0.2.76 numpy==2.4.6
cd "$work"
cat > example.py <<'PY'
import numpy as np
import torch
from litdata import StreamingDataset, optimize


def clip(number):
    """Clip 0 has other types than the rest, and other fields."""
    first = number == 0
    wide = torch.float32 if first else torch.float16
    fields = {
        "number": number,
        "pooled": torch.full((4,), 0.5, dtype=wide),
        "scores": torch.tensor([0.5, 1.0] if first else [1, 0]),
        "audio": np.arange(4, dtype=np.int16 if first else np.float32),
        "latents": torch.ones(1, 2, dtype=wide),
    }
    return fields | ({"motion": 0.5} if first else {"caption": "a dog"})


if __name__ == "__main__":
    optimize(fn=clip, inputs=[0, 1, 2], output_dir="clips", chunk_size=3, num_workers=1, verbose=False)
    dataset = StreamingDataset("clips")
    clips = {item["number"]: item for item in (dataset[index] for index in range(3))}
    for number in (0, 1):
        print(clips[number], flush=True)
    written, read = clip(1), clips[1]
    assert all(clips[0][name].dtype == clip(0)[name].dtype for name in ("pooled", "scores", "audio", "latents"))
    assert clips[0]["scores"].tolist() == [0.5, 1.0] and clips[0]["motion"] == 0.5

    assert torch.equal(written["latents"], read["latents"]) and read["latents"].dtype == torch.float16
    assert read["pooled"].dtype == torch.float32 and len(read["pooled"]) == 2 and read["pooled"].max() < 1e-4
    assert torch.equal(read["pooled"], written["pooled"].view(torch.float32))
    assert torch.equal(read["scores"], written["scores"].view(torch.float32)) and len(read["scores"]) == 4
    assert np.array_equal(read["audio"], written["audio"].view(np.int16)) and len(read["audio"]) == 8
    assert read["motion"] == 0.0 and "motion" not in written
    assert "caption" not in read and written["caption"] == "a dog"
    print("as described: clips are read with the types and fields of the first")
PY
OMP_NUM_THREADS=1 venv/bin/python -W ignore example.py > log 2>&1 || { cat log; exit 1; }
grep -E "number|described" log
