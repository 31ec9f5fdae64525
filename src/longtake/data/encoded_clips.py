"""Latents of clips that are encoded whenever training draws them, without a cache (LVDM, PVDM)."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import torch

from longtake.autoencoders import VideoAutoencoder
from longtake.data.cache_plan import CachePlan, PlannedClips
from longtake.data.clips import Clip, ClipReader, ClipSource, Draw
from longtake.data.encode import encode_clips, latent_moments
from longtake.data.latent_cache import CachedClip, ClipLatents
from longtake.data.latents import cached_shape
from longtake.diffusion.signals import ABSENT
from longtake.latents import LatentScaling
from longtake.noise import generator

THREADS = 4  # that decode the clips of a batch
MEASURED_CLIPS = 64


@dataclass
class EncodedClips(ClipLatents):
    """Latents of a source's clips, encoded each time: another start and crop every epoch.

    Attributes:
        source: source of the clips; their length must be that of a whole number of windows, each as
            long as the autoencoder's clips.
        autoencoder: autoencoder on its device.
        batch: number of windows that are encoded at once.
        overlap_frames: number of frames of video that neighbouring windows of a clip share.
        seed: seed of everything random about the clips.
    """

    source: ClipSource
    autoencoder: VideoAutoencoder
    batch: int
    overlap_frames: int
    seed: int

    def __post_init__(self) -> None:
        self._reader = ClipReader(self.source)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, places: Sequence[tuple[int, int]]) -> list[CachedClip]:
        with ThreadPoolExecutor(THREADS) as pool:
            clips = [*pool.map(lambda place: self._clip(*place), places)]
        found = encode_clips(self.autoencoder, clips, self.batch, self.overlap_frames)
        labels = [ABSENT if clip.label is None else clip.label for clip in clips]
        return [
            CachedClip(posterior=posterior, label=label, item=clip.video)
            for posterior, label, clip in zip(found, labels, clips, strict=True)
        ]

    def caption(self, item: int) -> str:
        return self.source.caption(item) or ""

    @property
    def shape(self) -> tuple[int, ...]:
        return cached_shape(self.source.plan, self.autoencoder.spec, self.overlap_frames)

    @property
    def latent_scaling(self) -> LatentScaling:
        return self._measured

    @cached_property
    def _measured(self) -> LatentScaling:
        """Shift and scale of 64 clips at most, spread evenly over the source."""
        some = min(MEASURED_CLIPS, len(PlannedClips(self.source, CachePlan())))
        clips = PlannedClips(self.source, CachePlan(clips=some, seed=self.seed))
        posteriors = (
            encode_clips(self.autoencoder, [clip], self.batch, self.overlap_frames)[0]
            for clip in clips
        )
        mean, std = latent_moments(posteriors, self.source.name)
        return LatentScaling(shift=-mean, scale=1 / std)

    def _clip(self, epoch: int, item: int) -> Clip:
        return self._reader.clip(self._draws(epoch, item))

    def _draws(self, epoch: int, item: int) -> Iterator[Draw]:
        """The clip of an item in an epoch, then those that take its place if it is damaged."""
        yield item, generator(self.seed, "clip", epoch, item), None
        for attempt in count(1):
            random = generator(self.seed, "instead of encoded clip", epoch, item, attempt)
            yield int(torch.randint(len(self), (), generator=random)), random, None
