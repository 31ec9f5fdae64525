"""Opens the latents that a run trains on: a latent cache, or clips encoded when they are drawn."""

from pathlib import Path

from longtake.autoencoders import VideoAutoencoder
from longtake.data.cache_plan import CachePlan, PlannedClips, warn_of_few_clips
from longtake.data.clips import ClipSource
from longtake.data.encoded_clips import EncodedClips
from longtake.data.latent_cache import ClipLatents, LatentCache
from longtake.data.latents import build_cache
from longtake.distributed import Ranks
from longtake.progress import ProgressCallback
from longtake.training.config import TrainingConfig

VALIDATION, VALIDATION_CLIPS = "validation", 64


def open_latents(
    folder: Path,
    source: ClipSource,
    autoencoder: VideoAutoencoder,
    plan: CachePlan | None,
    ranks: Ranks,
    report: ProgressCallback,
    *,
    overlap_frames: int,
    training: TrainingConfig,
) -> ClipLatents:
    """Encode the clips of ``plan`` to a latent cache in ``folder`` and open it.

    ``report`` is called with the number of clips done and their total; ``overlap_frames`` is the
    number of frames of video that neighbouring windows of a clip share. If ``plan`` is None,
    nothing is encoded yet: clips are encoded whenever training draws them, as many windows at once
    as a batch of ``training`` has. Warns of a cache with few clips.

    Raises:
        ValueError: clips and autoencoder do not fit each other, or latents are not finite.
        CheckpointError: the folder holds a cache of something else, or a broken one.
    """
    if plan is None:
        return EncodedClips(source, autoencoder, training.batch, overlap_frames, training.seed)
    cache = build_cache(folder, source, autoencoder, plan, ranks, report, overlap_frames)
    warn_of_few_clips(len(cache), training.batch)
    return cache


def open_held_out(
    folder: Path,
    source: ClipSource | None,
    autoencoder: VideoAutoencoder,
    plan: CachePlan | None,
    ranks: Ranks,
    *,
    overlap_frames: int,
) -> LatentCache | None:
    """Latents of at most 64 clips, spread over the held-out videos ``source``; None without these.

    They are cached in ``validation`` in ``folder``, encoded as many at once as ``plan`` says.
    ``overlap_frames`` is the number of frames of video that neighbouring windows of a clip share.
    """
    if source is None:
        return None
    clips = min(VALIDATION_CLIPS, len(PlannedClips(source, CachePlan())))
    own = CachePlan(clips=clips, batch=(plan or CachePlan()).batch)
    place = folder / VALIDATION
    return build_cache(place, source, autoencoder, own, ranks, overlap_frames=overlap_frames)
