"""The sets of features that metrics ask for, each computed once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from longtake.data.source import ClipPosition, VideoSource
from longtake.data.views import MirroredVideos
from longtake.distributed import Ranks
from longtake.evaluation.extraction import (
    FeatureCache,
    FeatureNetwork,
    FeatureRequest,
    extract,
    network_of,
)
from longtake.evaluation.protocols import Protocol, Side
from longtake.evaluation.result import SourceRecord
from longtake.evaluation.selection import UsableVideos, choose_clips, same_rate, usable_videos
from longtake.features.clip import Clip, read_clip

Rows = Float[Tensor, "n d"]

Report = Callable[[str, int, int], None]
"""Called with a description of the stage, and the numbers of its finished clips and of all."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How an evaluation is computed. Of one protocol, only ``seed`` and ``clip`` change numbers.

    Attributes:
        ranks: processes that share the clips, and the device of this process.
        cache: cache of features; by default nothing is cached.
        batch: number of clips in a forward pass of the feature network.
        weights: file of the feature network's weights; None: the file in the user's cache folder.
        clip: folder of a CLIP model of transformers, which CLIPSIM needs; None: there is none.
        floor: also measure real clips against other real clips.
        limit: also extrapolate FVD to infinitely many clips.
        seed: seed of the choice of clips and of their first frames.
        report: called, as work proceeds, with the name of a stage, and the numbers of its finished
            clips and of all its clips.
    """

    ranks: Ranks = field(default_factory=Ranks)
    cache: FeatureCache = field(default_factory=lambda: FeatureCache(folder=None))
    batch: int = 16
    weights: str | None = None
    clip: Path | None = None
    floor: bool = True
    limit: bool = False
    seed: int = 0
    report: Report = lambda stage, done, total: None


class FeatureSets:
    """The features of real and generated clips that metrics compare, extracted when first needed.

    Args:
        real: real videos; None if no metric compares with real videos.
        generated: generated videos.
        protocol: how videos become clips and features.
        settings: how they are computed.

    Attributes:
        seconds: time spent on extraction so far.

    Raises:
        ValueError: videos do not fit the protocol or each other, or are too few.
    """

    def __init__(
        self,
        real: VideoSource | None,
        generated: VideoSource,
        protocol: Protocol,
        settings: EvaluationSettings,
    ) -> None:
        self.protocol, self.settings, self.seconds = protocol, settings, 0.0
        self._usable: dict[Side, UsableVideos] = {}
        self._originals = {"generated": len(generated)}
        if real is not None:
            self._originals["real"] = len(real)
            real = MirroredVideos(real) if protocol.mirror else real
            self._usable["real"] = usable_videos(real, protocol, "real")
        self._usable["generated"] = usable_videos(generated, protocol, "generated")
        if real is not None:
            _check_comparable(**self._usable)
        for side in self._usable:
            self._positions(side)
        self._features: dict[str, Rows] = {}

    def real(self, draw: int = 0) -> Rows:
        """Features of the protocol's n real clips; ``draw``, from 0, numbers its random choices.

        Raises:
            FloatingPointError: a feature is not finite.
            CheckpointError: weights are missing, or are not those that the protocol names.
        """
        draws = self.protocol.draws
        stage = "real clips" if draws == 1 else f"real clips, draw {draw + 1}/{draws}"
        return self._extract("real", self._positions("real", draw), stage, self._network)

    def generated(self, network: FeatureNetwork | None = None) -> Rows:
        """Features of the protocol's n generated clips, by ``network``; None: by the protocol's.

        Raises:
            FloatingPointError: a feature is not finite.
            CheckpointError: weights are missing, or are not those that the protocol names.
        """
        stage = "generated clips" if network is None else "generated clips, second network"
        positions = self._positions("generated")
        return self._extract("generated", positions, stage, network or self._network)

    def held_out(self) -> Rows | None:
        """Features of as many real clips of other videos than those of ``real(0)``.

        The distance between the two sets is the floor. None if there are too few videos or
        ``settings.floor`` is false; ``no_floor`` says which.

        Raises:
            FloatingPointError: a feature is not finite.
        """
        if self.no_floor:
            return None
        positions = self._positions("real", count=2 * self.protocol.n)[self.protocol.n :]
        return self._extract("real", positions, "real clips for the floor", self._network)

    def videos(self, side: Side) -> list[int]:
        """Number of the video of each clip of ``real()`` or ``generated()``.

        A mirror image has the number of its original: their clips are alike.
        """
        videos = self._originals[side]
        return [position.video % videos for position in self._positions(side)]

    @property
    def no_floor(self) -> str:
        """Why ``held_out`` returns None and there is no floor; empty if it returns features."""
        if not self.settings.floor:
            return "not asked for"
        videos, n = len(self._usable["real"].videos), self.protocol.n
        enough = videos >= 2 * n
        return "" if enough else f"{videos} real videos, {2 * n} are needed for two sets of {n}"

    def captions(self) -> list[str]:
        """Caption of each generated clip, in the order of ``generated()``.

        Raises:
            ValueError: a video has no caption.
        """
        source = self._usable["generated"].source
        videos = [position.video for position in self._positions("generated")]
        found = [source.caption(video) for video in videos]
        if lacking := [video for video, text in zip(videos, found, strict=True) if not text]:
            raise ValueError(
                f"{source.title(lacking[0])}: has no caption to compare the video with; give the "
                "prompts that the videos were made of, or captions"
            )
        return [text for text in found if text]

    @cached_property
    def clip(self) -> Clip:
        """The CLIP model in the folder ``settings.clip``.

        Raises:
            ValueError: ``settings.clip`` is None, or the folder is not that of a CLIP model.
        """
        if self.settings.clip is None:
            raise ValueError(
                "CLIPSIM needs the weights of CLIP, but none are given; set clip to the folder of "
                "a CLIP model of transformers, such as openai/clip-vit-base-patch32"
            )
        return read_clip(self.settings.clip)

    def records(self) -> tuple[SourceRecord | None, SourceRecord]:
        """Descriptions of the real and the generated videos, for the result."""
        real = self._usable.get("real")
        return real and real.record(), self._usable["generated"].record()

    def _positions(self, side: Side, draw: int = 0, count: int | None = None) -> list[ClipPosition]:
        count = count or self.protocol.n
        return choose_clips(self._usable[side], count=count, draw=draw, seed=self.settings.seed)

    def _extract(
        self, side: Side, positions: Sequence[ClipPosition], stage: str, network: FeatureNetwork
    ) -> Rows:
        """Features of clips of one side, extracted once; ``stage`` names the progress."""
        settings = self.settings
        network.network.to(settings.ranks.device)
        request = FeatureRequest(
            source=self._usable[side].source,
            side=side,
            protocol=self.protocol,
            positions=positions,
            seed=settings.seed,
            network=network,
        )
        key = request.key()
        if key not in self._features:
            began = time.perf_counter()
            self._features[key] = extract(
                request,
                cache=settings.cache,
                ranks=settings.ranks,
                batch=settings.batch,
                report=partial(settings.report, stage),
            )
            self.seconds += time.perf_counter() - began
        return self._features[key]

    @cached_property
    def _network(self) -> FeatureNetwork:
        return network_of(self.protocol, self.settings.weights)


def _check_comparable(real: UsableVideos, generated: UsableVideos) -> None:
    """Raise a ValueError unless both have one frame size, and clips of both one frame rate."""
    protocol, names = real.protocol, f"{real.source.name} and {generated.source.name}"
    sizes = [(used.height, used.width) for used in (real, generated)]
    if protocol.resolution is None and sizes[0] != sizes[1]:
        shown = " and ".join(f"{height} x {width}" for height, width in sizes)
        raise ValueError(
            f"{names}: frames are {shown}; bring them to one size, or set resolution=..., to "
            "which real ones are then resized"
        )
    rates = [used.fps and used.fps / protocol.stride(used.side) for used in (real, generated)]
    if protocol.rates == "one" and not same_rate(*rates):
        raise ValueError(
            f"{names}: clips have {rates[0]:g} and {rates[1]:g} frames/s; set real_stride or "
            "generated_stride so that they are alike, or rates=any"
        )
