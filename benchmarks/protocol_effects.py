"""What single settings of published protocols do to FVD, on videos of a folder.

    python benchmarks/protocol_effects.py FOLDER --json docs/results/protocol_effects.json

The same clips are prepared as a protocol says, and with a setting changed. FVD between both sets of
features is what that setting alone does; it is 0 where it changes nothing. Beside it stands how far
a clip's features move, relative to their norm. Features are cached, so a stopped run continues.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data.source import ClipPosition, VideoSource
from longtake.distributed import Ranks
from longtake.evaluation.extraction import (
    FeatureCache,
    FeatureNetwork,
    FeatureRequest,
    default_cache,
    extract,
    network_of,
)
from longtake.evaluation.protocols import Protocol, protocol
from longtake.evaluation.selection import choose_clips, usable_videos
from longtake.metrics.frechet import fvd

PLAIN = "jpeg=null"
ROWS = (
    ("stylegan-v-fvd16", "JPEG of quality 75", (), (PLAIN,)),
    (
        "stylegan-v-fvd16",
        "Lanczos; not antialiased bilinear",
        (PLAIN,),
        (PLAIN, "filter=bilinear", "antialias=true"),
    ),
    ("stylegan-v-fvd16", "longer side rounded down; not up", (), ("resize=crop",)),
    ("latte-2048", "square before the resize; not after", (), ("resize=crop_down",)),
    ("lvdm-10x2048", "longer side rounded down; not up", (), ("resize=crop",)),
    ("lvdm-10x2048", "levels truncated; not rounded", (), ("treatment.levels=round",)),
    ("pvdm-fvd16", "antialiased; not", (), ("antialias=false",)),
)
"""Protocol, what is looked at, and the settings of both sides."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    measured = Measured(args.folder, args.clips)
    rows = []
    print("| protocol | setting | FVD | features move by |\n| --- | --- | ---: | ---: |")
    for name, what, base, other in ROWS:
        x, y = measured.features(name, base), measured.features(name, other)
        row = {"protocol": name, "setting": what, "fvd": fvd(x, y), "moved": moved(x, y)}
        rows.append(row)
        print(f"| `{name}` | {what} | {row['fvd']:.3g} | {row['moved']:.3f} |", flush=True)
    if args.json:
        videos = [path.name for path in sorted(args.folder.iterdir())]
        about = {"torch": torch.__version__, "videos": videos, "clips": args.clips}
        args.json.write_text(json.dumps(about | {"rows": rows}, indent=2) + "\n")


class Measured:
    """Features of the same clips of a folder's videos under any settings."""

    def __init__(self, folder: Path, clips: int) -> None:
        self.source, self.clips = VideoFolder(path=folder, plan=ClipPlan(frames=1)), clips
        self.network: FeatureNetwork | None = None

    def features(self, name: str, changes: Sequence[str]) -> Tensor:
        """Features of the real side of a protocol with changes."""
        fixed = [f"clips_per_video={self.clips}", "mirror=false", "fewer=refuse", "draws=1"]
        chosen = protocol(name, [*fixed, *changes], n=self.clips)
        usable = usable_videos(self.source, chosen, "real")
        self.network = self.network or network_of(chosen)  # that of all protocols in ROWS
        return prepared(chosen, self.source, choose_clips(usable, count=self.clips), self.network)


def prepared(
    chosen: Protocol, source: VideoSource, positions: Sequence[ClipPosition], known: FeatureNetwork
) -> Tensor:
    """Features of clips that are prepared as a protocol says, by a network that is open already."""
    request = FeatureRequest(
        source=source,
        side="real",
        protocol=chosen,
        positions=positions,
        seed=0,
        network=FeatureNetwork(network=known.network, treat=chosen.treat, identity=known.identity),
    )
    return extract(request, cache=FeatureCache(folder=default_cache()), ranks=Ranks())


def moved(x: Tensor, y: Tensor) -> float:
    """How far features of the same clips are apart, relative to their norm, on average."""
    return float(((x - y).norm(dim=1) / x.norm(dim=1)).mean())


if __name__ == "__main__":
    main()
