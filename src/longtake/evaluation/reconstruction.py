"""Quality of an autoencoder's reconstructions: PSNR, SSIM, perceptual distance, FVD."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.autoencoders.base import VideoAutoencoder
from longtake.checkpoint import weights_hash
from longtake.config import digest
from longtake.data.source import VideoSource
from longtake.data.views import ResizedVideos
from longtake.evaluation.extraction import FeatureRequest, network_of
from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.evaluation.protocols import Protocol
from longtake.evaluation.result import Result, Score
from longtake.evaluation.selection import choose_clips, usable_videos
from longtake.losses.frames import FrameDistance
from longtake.metrics.pairs import pair_scores
from longtake.metrics.uncertainty import fvd_interval
from longtake.reconstruct import reconstruct_frames

NO_FLOOR = "perfect reconstructions are at 0"
UNITS = {"psnr": "dB", "frame_psnr": "dB"}


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
    """Measure clips of real videos against their reconstructions by an autoencoder.

    PSNR, SSIM and perceptual distance are means over clips. FVD (``rfvd``) has no floor (real
    against real); its interval is from a bootstrap of pairs. It runs on one process, and no
    features are cached. Frames are resized and cropped to ``size`` (height, width; None: the
    autoencoder's). ``name`` is that of the autoencoder, ``perceptual`` the name of a perceptual
    distance, and the distance (None: none). ``protocol.draws`` and ``settings.cache`` are not used.

    Raises a ValueError if videos do not fit the protocol or are too few, a CheckpointError if the
    feature network lacks weights, a FloatingPointError if a latent or frame is not finite.
    """
    began, device = time.perf_counter(), settings.ranks.device
    height, width = size or autoencoder.spec.clip[1:]
    usable = usable_videos(ResizedVideos(source, height, width), protocol, "real")
    network = network_of(protocol, settings.weights)
    network.network.to(device)
    request = FeatureRequest(
        source=usable.source,
        side="real",
        protocol=protocol,
        positions=choose_clips(usable, count=protocol.n, seed=settings.seed),
        seed=settings.seed,
        network=network,
    )
    total, rows, pairs = len(request.positions), [], []
    settings.report("clips and reconstructions", 0, total)
    clips = usable.source.read_clips(request.positions, protocol.frames, protocol.real_stride)
    for position, original in zip(request.positions, clips, strict=True):
        again = reconstruct_frames(autoencoder, original, name=usable.source.title(position.video))
        pairs.append(pair_scores(original, again, device, perceptual))
        rows.append(request.features([original, again]))
        settings.report("clips and reconstructions", len(rows), total)
    scores = _scores(request, torch.stack(rows, 1), pairs)
    weights, real = weights_hash(autoencoder), usable.record()
    contents = [real.contents, [list(position) for position in request.positions], weights]
    made = {"name": f"reconstructions by {name}", "contents": digest(contents), "videos": total}
    return Result.of(
        protocol,
        real,
        real.model_copy(update={**made, "about": {"autoencoder": weights}}),
        scores,
        seed=settings.seed,
        seconds={"all": time.perf_counter() - began},
    )


def _scores(
    request: FeatureRequest, features: Float[Tensor, "2 n d"], pairs: Sequence[Mapping[str, float]]
) -> dict[str, Score]:
    """FVD from the features of clips and of reconstructions, and means of the scores of pairs."""
    protocol, videos = request.protocol, [position.video for position in request.positions]
    of_clips: Any = {"real_videos": videos, "generated_videos": videos, "paired": True}
    found = fvd_interval(*features, **of_clips, correction=protocol.correction, seed=request.seed)
    of = f"{protocol.title('rfvd')} of {len(videos)} pairs"
    rfvd = Score.of(found, of=of, unit=protocol.unit, least=0.0)
    scores = {protocol.metric("rfvd"): rfvd.model_copy(update={"no_floor": NO_FLOOR})}
    for metric in pairs[0]:
        values, unit = [pair[metric] for pair in pairs], UNITS.get(metric, "")
        scores[metric] = Score.mean(values, videos=videos, unit=unit)
    return scores
