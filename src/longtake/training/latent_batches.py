"""Batches of latents for training a denoiser, all that is random about them drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, NamedTuple

import torch
from annotated_types import Ge, Interval
from jaxtyping import Float
from torch import Tensor

from longtake.config import Config
from longtake.data.latent_cache import CachedClip, ClipLatents
from longtake.data.order import Order
from longtake.diffusion import Denoiser, Diffusion
from longtake.diffusion import signals as batch
from longtake.diffusion.signals import (
    ABSENT,
    ContextCase,
    ContextPlan,
    Signal,
    Signals,
    context_signals,
    draw_label,
    draw_named_labels,
    draw_text,
    named_label,
    previous_signal,
    split_class,
)
from longtake.latents import LatentScaling, LatentSpec
from longtake.noise import SampleNoise, derive, generator
from longtake.text.encoder import CachedStates

Cut = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor | None]]
"""Function that cuts a clip, and the one before it or None, from scaled latents of a video."""


class TrainingClip(Config):
    """How training cuts a denoiser's clip from a cached one, and which signals it draws for it.

    Attributes:
        stride: distance between neighbouring frames of the clip, in latent frames of the cache; 4
            for LVDM's keyframes.
        label_dropout: probability that a sample's label is dropped, for classifier-free guidance;
            each named label is dropped by itself.
        text_dropout: probability that a sample's caption is replaced by the empty prompt.
        context: how context frames are chosen; None for a network that reads none.
        stills: probability that a sample is a still: a clip of one latent frame (Ho et al. 2022,
            joint training on images and videos). With Stable Diffusion's autoencoder a latent frame
            is an image.
        previous_share: probability that a sample is conditioned on its previous clip; otherwise on
            zeros. 0.3 for UCF-101 and 0.2 for SkyTimelapse in PVDM. The official code draws once
            per batch, we once per sample.
    """

    renamed: ClassVar[Mapping[str, str]] = {"known": "context", "previous": "previous_share"}

    stride: Annotated[int, Ge(1)] = 1
    label_dropout: Annotated[float, Interval(ge=0, le=1)] = 0.1
    text_dropout: Annotated[float, Interval(ge=0, le=1)] = 0.1
    context: ContextPlan | None = None
    previous_share: Annotated[float, Interval(ge=0, le=1)] = 0.0
    stills: Annotated[float, Interval(ge=0, lt=1)] = 0.0

    @property
    def context_cases(self) -> Sequence[ContextCase]:
        """The weighted cases from which context frames are drawn; empty if none are ever drawn."""
        return () if self.context is None else self.context.mixture

    def check(self, denoiser: Denoiser) -> None:
        """Raise a ValueError unless ``denoiser`` reads all signals drawn and needs no others.

        Also if its latents have no time axis for stills, or too few frames for ``context``.
        """
        drawn = {"context": self.context is not None, "previous": self.previous_share > 0}
        named = {name for name in denoiser.reads if name.startswith(named_label(""))}
        always = denoiser.reads & {"label", "previous", "text", *named}
        denoiser.check_signals({*always, *(name for name, given in drawn.items() if given)})
        if self.stills and denoiser.spec.frame_axis is None:
            raise ValueError(
                f"clip.stills={self.stills}: latents of planes have no frames to be stills; set "
                "it to 0"
            )
        if self.context is not None:
            self.context.check(denoiser.spec.frames)

    def check_cached(self, spec: LatentSpec, shape: Sequence[int], source: str = "data") -> None:
        """Raise a ValueError unless clips can be cut from cached latents.

        Args:
            spec: that of the denoiser's latents.
            shape: that of the latents of a cached clip.
            source: name of the setting that holds the clips' plan, for error messages.
        """
        _cutter(shape, spec, self, source)

    def is_still(self, seed: int, number: int) -> bool:
        """Whether training sample ``number`` is a still, a clip of one latent frame.

        Depends on ``seed``, ``number`` and the setting ``stills`` alone.
        """
        if not self.stills:
            return False
        drawn = torch.rand((), generator=generator(seed, "still", number), dtype=torch.float64)
        return drawn.item() < self.stills


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """A batch with everything random drawn: the loss depends on it and the weights alone.

    Attributes:
        z: clean latents, scaled.
        noise: standard normal noise of the same shape.
        t: diffusion times in [0, 1], one per sample or per latent frame.
        signals: what the network is conditioned on, by name.
        stills: the samples that are stills, clips of one latent frame, as a separate batch; None if
            there are none.
    """

    z: Float[Tensor, "b ..."]
    noise: Float[Tensor, "b ..."]
    t: Float[Tensor, "b *f"]
    signals: Signals
    stills: "TrainingBatch | None" = None

    def to(self, device: torch.device) -> "TrainingBatch":
        """Return the batch with all tensors on a device.

        A copy from pinned memory to a GPU does not wait for it.
        """
        ahead = device.type == "cuda"
        z, noise, t = (x.to(device, non_blocking=ahead) for x in (self.z, self.noise, self.t))
        stills = self.stills and self.stills.to(device)
        signals = batch.to(self.signals, device)
        return TrainingBatch(z=z, noise=noise, t=t, signals=signals, stills=stills)

    def pinned(self) -> "TrainingBatch":
        """Return the batch in pinned memory, from which a GPU copies while others compute."""
        z, noise, t = (x.pin_memory() for x in (self.z, self.noise, self.t))
        stills = self.stills and self.stills.pinned()
        signals = batch.pinned(self.signals)
        return TrainingBatch(z=z, noise=noise, t=t, signals=signals, stills=stills)

    def losses(self, diffusion: Diffusion, denoiser: Denoiser) -> Float[Tensor, "b"]:
        """Diffusion loss of each sample under ``denoiser``; those of stills come last."""
        own = diffusion.losses(denoiser, self.z, self.noise, self.t, self.signals)
        return (
            own
            if self.stills is None
            else torch.cat([own, self.stills.losses(diffusion, denoiser)])
        )


@dataclass
class LatentBatches:
    """Makes training batches of latents; sample ``n`` depends on ``seed`` and ``n`` alone.

    Called with the numbers of samples, it returns their batch.

    Attributes:
        latents: latents of the training clips, from a cache or encoded when they are drawn.
        spec: shape of the latents that the denoiser is trained on.
        clip: how a clip is cut from a cached one, and its signals drawn.
        diffusion: diffusion process, which draws the times.
        scaling: maps the autoencoder's latents to the denoiser's.
        seed: seed of everything random.
        reads: names of the signals that the denoiser reads.
        captions: hidden states of the captions; None for training without text.
        labels: number of values of each named label that the denoiser reads; empty for none.

    Raises:
        ValueError: the cached clips are too short for ``clip``, or lack the time axis it needs.
    """

    latents: ClipLatents
    spec: LatentSpec
    clip: TrainingClip
    diffusion: Diffusion
    scaling: LatentScaling
    seed: int = field(kw_only=True)
    reads: frozenset[str] = field(kw_only=True)
    captions: CachedStates | None = field(default=None, kw_only=True)
    labels: Mapping[str, int] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        self._order = Order(self.seed, len(self.latents))
        self._cut = _cutter(self.latents.shape, self.spec, self.clip)

    def __call__(self, numbers: Sequence[int]) -> TrainingBatch:
        """The batch of samples with these numbers, counted since training began."""
        still = [number for number in numbers if self.clip.is_still(self.seed, number)]
        clips = [number for number in numbers if number not in still]
        if not (still and clips):
            return self._batch(numbers)
        return replace(self._batch(clips), stills=self._batch(still))

    def _batch(self, numbers: Sequence[int]) -> TrainingBatch:
        """Batch of the samples with these numbers, which are all stills or all longer clips."""
        places = [self._order(number) for number in numbers]
        drawn = zip(numbers, places, self.latents.read(places), strict=True)
        rows = [self._sample(number, *place, clip) for number, place, clip in drawn]
        noise = SampleNoise([derive(self.seed, "noise", number) for number in numbers])
        z = torch.cat([row.z for row in rows])
        frames = z.shape[2] if self.diffusion.time_per_frame else None
        t = self.diffusion.draw_time(noise, frames)
        if frames is not None:
            own = torch.tensor([row.frame_times for row in rows])
            t = torch.where(own[:, None], t, t[:, :1])
        signals = batch.cat([row.signals for row in rows])
        return TrainingBatch(z=z, t=t, noise=noise.normal(z.shape[1:]), signals=signals)

    def _sample(self, number: int, epoch: int, item: int, clip: CachedClip) -> "_Sample":
        """Sample ``number`` of the run: latent and signals, drawn from its own random stream.

        ``clip`` are the latents of clip ``item`` in epoch ``epoch``.
        """
        random = generator(self.seed, "sample", epoch, item)
        z = clip.posterior.sample(torch.randn(clip.posterior.mean.shape, generator=random))
        z, before = self._cut(self.scaling.forward(z), random)
        signals: dict[str, Signal] = {}
        frame_times = self.diffusion.time_per_frame
        if before is not None and "previous" in self.reads:
            signals |= previous_signal(before)
        if self.clip.context is not None:
            context = self.clip.context.draw(z[0], random)
            signals |= context.signals
            if self.clip.context.cases:
                frame_times = context.frame_times
        if self.clip.is_still(self.seed, number):
            frame = int(torch.randint(z.shape[2], (), generator=random))
            z = z[:, :, frame : frame + 1]
            signals |= _nothing_given(z) if self.clip.context is not None else {}
        if "label" in self.reads:
            signals |= draw_label(clip.label, self.clip.label_dropout, random)
        named = split_class(clip.label, self.labels)
        named = {name: value for name, value in named.items() if named_label(name) in self.reads}
        signals |= draw_named_labels(named, self.clip.label_dropout, random)
        if self.captions is not None:
            states, empty = self.captions(self.latents.caption(clip.item)), self.captions("")
            signals |= draw_text(states, empty, self.clip.text_dropout, random)
        return _Sample(z, signals, frame_times)


def _nothing_given(z: Float[Tensor, "1 c 1 h w"]) -> Signals:
    """Context signals of a still, ``z``, whose only frame is never a context frame."""
    return context_signals(z, torch.zeros(1, 1, dtype=torch.bool), torch.tensor([float(ABSENT)]))


class _Sample(NamedTuple):
    """One training sample as a batch of one, and whether its frames have times of their own."""

    z: Float[Tensor, "1 c ..."]
    signals: Signals
    frame_times: bool


def _cutter(
    shape: Sequence[int], spec: LatentSpec, clip: TrainingClip, source: str = "data"
) -> Cut:
    """Make the function that cuts a denoiser's clips, of ``spec``, from cached ones of ``shape``.

    A ValueError if the cached clips are too short; it names the setting ``source`` of their plan.
    """
    return (_clip_cutter if spec.frame_axis is None else _frame_cutter)(shape, spec, clip, source)


def _frame_cutter(shape: Sequence[int], spec: LatentSpec, clip: TrainingClip, source: str) -> Cut:
    """Make the function that cuts latent frames, ``clip.stride`` apart, from a random first one.

    A ValueError if cached latents of ``shape`` are too short.
    """
    span = (spec.frames - 1) * clip.stride + 1
    if span > shape[1]:
        raise ValueError(
            f"the denoiser's {spec.frames} latent frames at clip.stride={clip.stride} need cached "
            f"clips of {span} latent frames, but they have {shape[1]}; cache longer clips "
            f"({source}.plan.frames) or lower clip.stride"
        )

    def cut(z: Tensor, random: torch.Generator) -> tuple[Tensor, None]:
        first = int(torch.randint(z.shape[2] - span + 1, (), generator=random))
        return z[:, :, first : first + span : clip.stride], None

    return cut


def _clip_cutter(shape: Sequence[int], spec: LatentSpec, clip: TrainingClip, source: str) -> Cut:
    """Make the function that cuts one of several clips, and the one before it or zeros (PVDM).

    A ValueError if cached latents of ``shape`` are too short, or ``clip`` needs a time axis. Unlike
    the official code, which encodes windows that start at any frame at every step, clips start
    where the cache's clips do: a clip's length apart, less the clip overlap.
    """
    size, share = spec.shape[-1], clip.previous_share
    if clip.stride != 1 or clip.context is not None:
        raise ValueError(
            "the latents of a triplane autoencoder have no time axis, so clip.stride must be 1 "
            f"and clip.context null, got stride {clip.stride} and context {clip.context}"
        )
    if shape[-1] < size * (1 + (share > 0)):
        raise ValueError(
            f"a cached video has {shape[-1] // size} clip, but clip.previous_share={share} "
            f"needs a second one after it; cache videos of {2 * spec.clip[0]} frames or more, less "
            f"denoiser.clip_overlap_frames ({source}.plan.frames)"
        )

    def cut(z: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        clips = z.split(size, dim=-1)
        follows = torch.rand((), generator=random).item() < share
        index = int(torch.randint(int(follows), len(clips), (), generator=random))
        return clips[index], clips[index - 1] if follows else torch.zeros_like(clips[index])

    return cut
