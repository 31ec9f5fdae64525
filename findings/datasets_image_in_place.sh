#!/usr/bin/env bash
# datasets 5.2.0: images that Pillow changed in place are stored as they were in their files.
#
# Expected: a data set stores the image that it is given. Pillow's `thumbnail`, `paste`, `putpixel`, `putalpha` and
#   `ImageOps.exif_transpose(in_place=True)` change an image in place, `ImageDraw` draws into it, and `seek` chooses
#   one of its frames (https://pillow.readthedocs.io/en/stable/reference/Image.html).
# Happens: an image opened from a file keeps its `filename`, and `Image` stores that path, or the bytes of that file,
#   instead of the pixels. What was done to the image after `open` is lost, without an error. `resize`, `crop` and
#   `convert` give new images, which have no file name and are stored as they are.
# Seen (files of 160 x 120 shrunk to 64 x 48; a GIF whose frame k is grey of 40 k):
#                                       JPEG         PNG
#     thumbnail, from_list              160 x 120    160 x 120
#     thumbnail, from_generator         160 x 120    160 x 120
#     thumbnail, map                    160 x 120    160 x 120
#     resize, map                       64 x 48      64 x 48
#     thumbnail and copy, from_list     64 x 48      64 x 48
#     a black box painted over          not there    not there
#     GIF after seek(3): grey of 0, frame 0
# Consequence: the "small" copy of a set of frames is as large as the original; faces and logos that were painted
#   over are in the published set; all frames taken from one animation are its first. Images made in memory
#   are stored as they are, so a test with synthetic ones does not show it.
# Way around: give away `image.copy()`, which has no file name; or use the methods that return a new image.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile datasets==5.2.0 huggingface_hub==2.4.0 pillow==13.0.0 numpy==2.4.6
cd "$work"
HF_HUB_OFFLINE=1 HF_HOME="$work" venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import numpy as np
from datasets import Dataset, Features, Image
from PIL import Image as Pillow

OLD, NEW = (160, 120), (64, 48)
FEATURES = Features({"image": Image()})


def shrink(example):
    """Shrinks an image in place."""
    example["image"].thumbnail((64, 64))
    assert example["image"].size == NEW
    return example


def black_out(example):
    """Paints over its upper left corner."""
    example["image"].paste(0, (0, 0, 60, 60))
    assert corner(example["image"]) == 0
    return example


def corner(image):
    return np.asarray(image)[:40, :40].mean()


def opened(name):
    return {"image": Pillow.open(name)}


def copied(example):
    return {"image": example["image"].copy()}


def stored(*examples):
    return Dataset.from_list(list(examples), features=FEATURES)[0]["image"]


def shrunk(name):
    yield shrink(opened(name))


pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
for name in ("a.jpg", "a.png"):
    Pillow.fromarray(pixels).save(name)
    files = Dataset.from_dict({"image": [name]}, features=FEATURES)
    sizes = [
        stored(shrink(opened(name))).size,
        Dataset.from_generator(shrunk, gen_kwargs={"name": name}, features=FEATURES)[0]["image"].size,
        files.map(shrink)[0]["image"].size,
        files.map(lambda example: {"image": example["image"].resize(NEW)})[0]["image"].size,
        stored(copied(shrink(opened(name)))).size,
    ]
    print(name, sizes)
    assert sizes == [OLD, OLD, OLD, NEW, NEW]
    boxes = [corner(files.map(change)[0]["image"]) for change in (black_out, lambda x: copied(black_out(x)))]
    print("   mean level of the painted corner, in place and as a copy", boxes)
    assert boxes[0] > 100 and boxes[1] < 5
frames = [Pillow.fromarray(np.full((32, 32), 40 * k, np.uint8)) for k in range(5)]
frames[0].save("a.gif", save_all=True, append_images=frames[1:])
example = opened("a.gif")
example["image"].seek(3)
images = example["image"], stored(example), stored(copied(example))
given, kept, copy = (np.asarray(image.convert("L")).mean() for image in images)
print("GIF at frame 3: grey", given, "stored", kept, "copied and stored", copy)
assert (given, kept, copy) == (120, 0, 120)
print("as described: the file is stored, not the image")
PY
