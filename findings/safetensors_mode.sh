#!/usr/bin/env bash
# safetensors 0.8.0: `save_file` makes files that their owner alone can read, and replaces links.
#
# Expected: a file is made with the permissions that the umask leaves (0644 under umask 022), as by
#   `open(path, "wb")`, by `torch.save`, and by safetensors 0.7.0; and writing to a symbolic link
#   writes the file that it leads to. The documentation of `save_file`
#   (https://huggingface.co/docs/safetensors/api/numpy) says "Saves a dictionary of tensors into raw
#   bytes in safetensors format" and nothing about either.
# Happens: the file has mode 0600 whatever the umask, and a link is replaced by a file of its own;
#   the file that it led to stays as it was.
# Seen (umask 022):
#     0.7.0: mode 644, the link is still a link and its target is new
#     0.8.0: mode 600, the link is a file and its target is old
# Consequence: weights on a cluster's shared disk, or in an image that runs as another user, cannot
#   be read by anyone else after an upgrade; a `latest.safetensors` that is a link no longer updates
#   what it names.
# Way around: take the mode of a file made by `open` and `os.chmod` after `save_file`; resolve links
#   before.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
umask 022
cat >try.py <<'PY'
import os
import sys

import numpy as np
from safetensors import __version__
from safetensors.numpy import load_file, save_file

old, new = {"x": np.zeros(2)}, {"x": np.ones(2)}
save_file(old, "a.safetensors")
mode = oct(os.stat("a.safetensors").st_mode & 0o777)
os.symlink("a.safetensors", "link.safetensors")
save_file(new, "link.safetensors")
found = mode, os.path.islink("link.safetensors"), float(load_file("a.safetensors")["x"][0])
print(__version__, "mode, still a link, value in the file it leads to:", *found)
wanted = ("0o644", True, 1.0) if __version__ == "0.7.0" else ("0o600", False, 0.0)
assert found == wanted, (found, wanted)
PY
for version in 0.7.0 0.8.0; do
    python3 -m venv "venv_$version"
    "venv_$version/bin/pip" install -q "safetensors==$version" numpy==2.4.6
    rm -f ./*.safetensors
    "venv_$version/bin/python" try.py
done
echo "as described: 0.8.0 makes files for their owner alone and replaces links"
