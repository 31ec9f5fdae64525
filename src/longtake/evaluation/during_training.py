"""FVD and KVD of a model that still trains, under a small protocol."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from longtake.autoencoders import VideoAutoencoder
from longtake.config import Config
from longtake.data.source import VideoSource
from longtake.data.views import ResizedVideos
from longtake.distributed import Ranks
from longtake.evaluation.extraction import (
    FeatureCache,
    FeatureRequest,
    extract,
    network_of,
)
from longtake.evaluation.protocols import Protocol, Side, protocol
from longtake.evaluation.selection import choose_clips, usable_videos
from longtake.features import i3d
from longtake.metrics.frechet import fvd
from longtake.metrics.kernel import kvd
from longtake.model import VideoModel
from longtake.model_videos import ModelVideos
from longtake.reconstruct import reconstruct_frames

LOGGER = logging.getLogger("longtake")
BATCH = 8
FRAMES = Protocol.model_fields["frames"].default  # of a clip of both protocols
Values = Mapping[str, float | str]


class EvaluationPlan(Config):
    """How a run measures its model every ``training.evaluate_every`` steps.

    The numbers of one run, FVD and KVD, can be compared from step to step. With so few clips FVD is
    far from 0 even between equal distributions, so that it is not a result to publish.

    Attributes:
        clips: number of real clips, and of sampled or reconstructed clips, at least 4.
        frames: number of frames of a clip; if a run's ``preview_frames`` is less, that number.
    """

    clips: Annotated[int, Ge(4)] = 64
    frames: Annotated[int, Ge(1)] = FRAMES

    def at_most(self, frames: int) -> "EvaluationPlan":
        """Copy of this plan whose clips have at most ``frames`` frames."""
        return self.model_copy(update={"frames": min(self.frames, frames)})


class TrainingEvaluation:
    """Measures a model in training: every time on the same real clips, with the same seeds.

    The evaluation protocol is ``longtake`` or, if the weights of I3D are missing, ``trial``, whose
    features of an untrained network say nothing about quality. Each process computes everything,
    because sharded networks run on all processes at once.

    Args:
        real: real videos.
        size: height and width in pixels to which real frames are resized.
        plan: number and length of clips.
        device: device of the networks.

    Raises:
        ValueError: no real video is as long as a clip, or clips have fewer than the 9 frames that
            I3D needs.
        CheckpointError: the weights of I3D are damaged.
    """

    def __init__(
        self, real: VideoSource, size: Sequence[int], plan: EvaluationPlan, device: torch.device
    ) -> None:
        height, width = size
        own = [] if plan.frames == FRAMES else [f"frames={plan.frames}"]
        self.protocol, self._device = small_protocol(real, plan.clips, own), device
        self._network = network_of(self.protocol)
        self._network.network.to(device)
        self._real = self._request(ResizedVideos(real, height, width), "real")
        self._real.features([*self._real.clips([0])])  # a fault is found before the first step

    def samples(self, model: VideoModel) -> Values:
        """Sample clips from ``model``; return their FVD and KVD by name, and the protocol.

        The names are ``fvd`` and ``kvd``, or ``random_features_fd`` and ``random_features_kd``;
        ``protocol`` is the protocol's name, number of clips and hash. If a sample is not finite,
        a warning is logged and nothing is returned.
        """
        videos = ModelVideos(
            model_name="the model in training",
            model=model,
            sampling=model.index.sampling,
            videos=self.protocol.n,
            frames=self.protocol.span("generated"),
            batch=BATCH,
        )
        try:
            found = self._features(self._request(videos, "generated"))
        except FloatingPointError as error:  # as samples of a young network may be
            LOGGER.warning("the model in training is not evaluated at this step: %s", error)
            return {}
        scores = {"fvd": fvd(self._real_features, found), "kvd": kvd(self._real_features, found)}
        return self._named(scores)

    def reconstructions(self, autoencoder: VideoAutoencoder) -> Values:
        """Reconstruct the real clips; return the FVD of reconstructions by name, and the protocol.

        The name is ``rfvd`` or ``random_features_rfd``; ``protocol`` is the protocol's name, number
        of clips and hash.

        Raises:
            FloatingPointError: a reconstruction is not finite.
        """
        rows = [
            self._real.features([reconstruct_frames(autoencoder, clip, name="a clip")])
            for clip in self._real.clips(range(self.protocol.n))
        ]
        return self._named({"rfvd": fvd(self._real_features, torch.cat(rows))})

    def _named(self, scores: Mapping[str, float]) -> Values:
        used = f"{self.protocol.name}, {self.protocol.n} clips, {self.protocol.hash}"
        return {**{self.protocol.metric(k): v for k, v in scores.items()}, "protocol": used}

    def _request(self, source: VideoSource, side: Side) -> FeatureRequest:
        usable = usable_videos(source, self.protocol, side)
        return FeatureRequest(
            source=usable.source,
            side=side,
            protocol=self.protocol,
            positions=choose_clips(usable, count=self.protocol.n),
            seed=0,
            network=self._network,
        )

    def _features(self, request: FeatureRequest) -> Float[Tensor, "n d"]:
        none = FeatureCache(folder=None)
        return extract(request, cache=none, ranks=Ranks(device=self._device), batch=BATCH)

    @cached_property
    def _real_features(self) -> Float[Tensor, "n d"]:
        return self._features(self._real)


def open_evaluation(
    real: VideoSource,
    size: Sequence[int],
    plan: EvaluationPlan,
    device: torch.device,
    model: VideoModel | None = None,
) -> TrainingEvaluation | None:
    """Open a ``TrainingEvaluation``; None if that is impossible, after a warning that says why.

    Args:
        real: real videos.
        size: height and width in pixels to which real frames are resized.
        plan: number and length of clips.
        device: device of the networks.
        model: the model whose samples are to be measured; None if reconstructions are.
    """
    try:
        if model is not None:
            model.long_video()
            model.request([0])
        opened = TrainingEvaluation(real, size, plan, device)
    except ValueError as error:
        LOGGER.warning("the model is not evaluated during training: %s", error)
        return None
    if opened.protocol.unit:
        LOGGER.warning(
            "FVD is not measured during training, because the weights of I3D are missing (%s); "
            "distances of random features, which say nothing about quality, are logged instead",
            i3d.HOW,
        )
    return opened


def small_protocol(real: VideoSource, clips: int, changes: Sequence[str] = ()) -> Protocol:
    """Evaluation protocol for few clips: ``longtake``, or ``trial`` if I3D's weights are missing.

    It leaves out videos that are too short, and takes several clips of a video if needed.

    Args:
        real: real videos.
        clips: number of clips, at least 4.
        changes: ``a.b=value`` changes of the protocol's fields.

    Raises:
        ValueError: all videos are too short, or a field or value is not valid.
    """
    name = "longtake" if i3d.cache_path().exists() else "trial"
    found = protocol(name, changes, clips)
    needed = found.needed("real")
    long_enough = sum(info.frames >= needed for info in real.infos())
    if not long_enough:
        raise ValueError(
            f"{real.name}: no video has the {needed} frames of a clip; add longer videos"
        )
    each = -(-2 * clips // long_enough)
    own = ["unfit=skip", "rates=any", f"clips_per_video={each}"]
    return protocol(name, [*changes, *own], clips)
