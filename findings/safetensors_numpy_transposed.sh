#!/usr/bin/env bash
# safetensors 0.8.0: transposed and sliced NumPy arrays are saved with their values in the wrong places.
#
# Expected: `safetensors.numpy.save_file({"video": video.transpose(3, 0, 1, 2)}, path)` saves the array, as
#   `np.save` does and as safetensors did up to 0.7.0; or it raises, as `safetensors.torch.save_file`
#   does for a transposed tensor. Its docstring asks for "contiguous and dense" arrays, and a transposed
#   array of frames is dense.
# Happens: the shape of the array is written with the bytes as they lie in memory. Loading gives the right
#   shape and dtype, the right mean, std and histogram, and every value in another place. No error, no
#   warning.
# Seen (a video of 4 frames, 8 x 8 pixels, RGB; share of the values that are equal after a round trip):
#                                              0.7.0    0.8.0
#     frames as they are (t h w c)              1.00     1.00
#     transpose to (c t h w)                    1.00     0.00
#     np.moveaxis to (t c h w)                  1.00     0.01
#     the left half of each frame               1.00     0.03
#     a transposed matrix                       1.00     0.17
# Consequence: caches of latents or frames that were turned into channels-first by `transpose` hold noise with
#   the right statistics; weights converted from JAX or TensorFlow, where `kernel.T` and
#   `transpose(4, 3, 0, 1, 2)` are the usual steps, load strictly and compute nonsense.
# Way around: `np.ascontiguousarray(x)` on everything that is saved, or 0.7.0. Reported as
#   https://github.com/safetensors/safetensors/issues/825.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
cd "$work"
cat > round_trip.py <<'PY'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

video = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
matrix = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
cases = {
    "frames as they are (t h w c)": video,
    "transpose to (c t h w)": video.transpose(3, 0, 1, 2),
    "np.moveaxis to (t c h w)": np.moveaxis(video, 3, 1),
    "the left half of each frame": video[:, :, :4],
    "a transposed matrix": matrix.T,
}
print("safetensors", safetensors.__version__)
equal = {}
for name, array in cases.items():
    save_file({"x": array}, "x.safetensors")
    loaded = load_file("x.safetensors")["x"]
    assert loaded.shape == array.shape and loaded.dtype == array.dtype
    equal[name] = np.mean(loaded == array)
    print(f"    {name:32} {equal[name]:.2f}")
    save_file({"x": np.ascontiguousarray(array)}, "x.safetensors")
    assert np.array_equal(load_file("x.safetensors")["x"], array)
whole = equal.pop("frames as they are (t h w c)")
assert whole == 1
if sys.argv[1] == "right":
    assert all(share == 1 for share in equal.values())
else:
    assert all(share < 0.6 for share in equal.values())
PY
for version in 0.7.0:right 0.8.0:wrong; do
  "$work/venv/bin/pip" install -q --no-compile "safetensors==${version%:*}" numpy==2.4.6
  venv/bin/python round_trip.py "${version#*:}"
done
echo "as described: 0.8.0 saves transposed arrays in the order of memory"
