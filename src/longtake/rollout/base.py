"""Rollout: clips of a fixed length become a video of any length, one step at a time.

A rollout does not know how clips are sampled. It asks for clips conditioned on signals and yields
latents as they are ready, so a video of any length needs the memory of a few clips.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from longtake.config import Config
from longtake.diffusion.clip_sampler import ClipSampler, Sampled
from longtake.diffusion.guidance import Guidance
from longtake.diffusion.signals import CONTEXT, Signal, Signals, check_read
from longtake.latents import LatentSpec
from longtake.noise import derive
from longtake.progress import ProgressCallback, no_progress

Role = Literal["first", "next", "interpolator"]
"""What a network samples: first clips, clips that continue a video, clips between two keyframes."""

OF_FIRST_CLIP = frozenset({*CONTEXT, "previous"})
"""Names of signals that condition only the first clip; other signals condition the whole video."""


Samplers = Mapping[Role, ClipSampler]
"""Sampler of each role; ``next`` and ``first`` may be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The videos to sample, as a batch.

    Attributes:
        seeds: one per video; all randomness of a video follows from its seed.
        signals: what the videos are conditioned on, such as labels, by name; one sample per video.
            Context frames and ``previous`` condition the first clip only (in a hierarchical rollout
            the first keyframes); other signals condition every clip.
        guidance: replaces the guidance of every clip sampler; None keeps it.
        on_evaluation: called before each guided estimate of a clip, for which guidance may evaluate
            networks more than once, with the number of estimates done and the total number for the
            clip; a rollout replaces it by that of its ``Steering``.
    """

    seeds: tuple[int, ...]
    signals: Signals = field(default_factory=dict)
    guidance: Guidance | None = None
    on_evaluation: ProgressCallback = no_progress


class Change(NamedTuple):
    """A change of signals or guidance from one rollout step until the next change.

    Attributes:
        signals: added to the signals of the request; those of the same name are replaced.
        guidance: replaces the guidance of the request; None keeps it.
    """

    signals: Mapping[str, Signal] = {}
    guidance: Guidance | None = None

    def then(self, change: "Change") -> "Change":
        """Merge with a later change, which takes precedence."""
        return Change({**self.signals, **change.signals}, change.guidance or self.guidance)

    def of(self, request: "Request", steering: "Steering") -> "Request":
        """Return ``request`` with this change applied and the callbacks of ``steering``."""
        return replace(
            request,
            signals={**request.signals, **self.signals},
            guidance=self.guidance or request.guidance,
            on_evaluation=steering.on_evaluation,
        )


class Cancelled(Exception):  # noqa: N818 (nothing failed)
    """Raised when a callback cancels sampling; the video can resume after its last ``Chunk``."""


@dataclass(frozen=True, kw_only=True)
class Steering:
    """Callbacks that change, watch or cancel a video while it is sampled.

    Attributes:
        change: called once before each rollout step with the step's number, from 0; returns what
            changes from this step on, or None. Each step but the first adds ``Rollout.grain``
            frames of video.
        cancel: called before each guided estimate of a clip; returning True raises ``Cancelled``.
        progress: called before each guided estimate of a clip, for which guidance may evaluate
            networks more than once, with the number of estimates done and the total number for the
            clip.
    """

    change: Callable[[int], Change | None] = lambda step: None
    cancel: Callable[[], bool] = lambda: False
    progress: ProgressCallback = no_progress

    def on_evaluation(self, done: int, total: int) -> None:
        """Call ``cancel``; raise ``Cancelled`` if it returns True, else call ``progress``.

        ``done`` and ``total`` count the guided estimates of the clip being sampled.
        """
        if self.cancel():
            raise Cancelled
        self.progress(done, total)


class State(NamedTuple):
    """State of a rollout between two steps, from which it continues bit for bit.

    Attributes:
        step: number of steps made.
        latents: latents that later steps are conditioned on, by name.
        memory: tensors that clip samplers returned for the clips that follow, such as a key-value
            cache, by signal name.
        change: all changes of signals and guidance so far, merged.
    """

    step: int = 0
    latents: Mapping[str, Tensor] = {}
    memory: Mapping[str, Tensor] = {}
    change: Change = Change()


class Chunk(NamedTuple):
    """Result of one step of a rollout.

    Attributes:
        z: latents of the frames that this step adds to the video.
        state: the rollout's state after the step.
        change: the change made before the step; None if there was none.
    """

    z: Tensor
    state: State
    change: Change | None = None


_JOINS = {
    "context": ("frames of the clip that it samples", "autoregressive"),
    "previous": ("the latent of the clip before", "next_clip"),
}
"""What each signal that joins clips gives the network, and a rollout that adds it."""


class Rollout(Config, ABC):
    """A strategy that samples a long video clip by clip.

    Attributes:
        adds: names of the signals that the rollout adds to a request's, by role of the network that
            must read them: ``first``, ``next`` or ``interpolator``.
        frame_times: whether latent frames of a clip have different times, which the network must
            have been trained with (``diffusion.time_per_frame``).
    """

    adds: ClassVar[Mapping[Role, Set[str]]] = {"first": set()}
    frame_times: ClassVar[bool] = False

    def check(self, samplers: Samplers, signals: Signals | None = None) -> None:
        """Raise a ValueError unless every role's network exists and reads all its signals.

        An interpolator need not read labels or text: the keyframes that it is given show them.
        Clips must also share fewer frames than they have.

        Args:
            samplers: clip sampler of each role of the model: ``first``, ``next``, ``interpolator``.
            signals: what the request conditions videos on, by name, besides what the rollout adds;
                None: nothing.
        """
        name = type(self).__name__
        for role, added in self.adds.items():
            if role not in samplers:
                raise ValueError(
                    f"the rollout {name} needs a network in the role {role!r}; this model has "
                    f"{', '.join(samplers)}; choose another rollout.kind, or a model that has one"
                )
            reads = samplers[role].reads
            if lacking := sorted(added - reads):
                able = [rollout for signal, (_, rollout) in _JOINS.items() if signal in reads]
                raise ValueError(
                    f"the rollout {name} gives the network {_JOINS[lacking[0]][0]}, "
                    "which this model's does not read; choose rollout.kind="
                    f"{' or '.join(able or ['one_clip'])}, or a model that was trained for it"
                )
            if self.frame_times:
                _check_frame_times(name, samplers[role])
            given = (signals or {}).keys() - (frozenset() if role == "first" else OF_FIRST_CLIP)
            if role != "interpolator":
                check_read(f"the network in the role {role!r}", reads, given)
        if (overlap := self.context_latent_frames) > 1:  # 1 may mean: no such setting
            check_overlap(overlap, samplers["first"].spec.frames)

    @abstractmethod
    def grain(self, samplers: Samplers) -> int:
        """Number of frames of video that each step but the first adds, for clip samplers by role.

        A change of signals or guidance (``Steering``) takes effect where a step begins.
        """

    @abstractmethod
    def first_step_frames(self, samplers: Samplers, given_frames: int = 0) -> int:
        """Number of frames of video that the first step adds, given frames included.

        Each later step adds ``grain`` frames.

        Args:
            samplers: clip sampler of each role: ``first``, ``next``, ``interpolator``.
            given_frames: number of frames at the start of the first clip that the request gives as
                context frames.
        """

    def most_frames(self, samplers: Samplers) -> int | None:
        """Number of frames of the longest video that can be made; None: any length."""
        del samplers
        return None

    @property
    def context_latent_frames(self) -> int:
        """Number of latent frames at the end of a clip that condition the next clip.

        1 also for a rollout that has no such setting.
        """
        return 1

    def latent_stride(self, samplers: Samplers) -> int:
        """Distance in the video, in latent frames, of neighbouring frames of the first clip.

        1, unless that clip has keyframes, between which others are filled in.
        """
        del samplers
        return 1

    @abstractmethod
    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        """Sample the latents of the step that follows ``state``; depends on the arguments alone.

        Args:
            samplers: clip sampler of each role.
            request: seeds, signals and guidance of the videos, which are sampled as one batch.
            state: state after the step before; ``State()`` before the first.
        """

    def __call__(
        self,
        samplers: Samplers,
        request: Request,
        state: State | None = None,
        steering: Steering | None = None,
    ) -> Iterator[Chunk]:
        """Yield the latents of each step in order of time, without end; stop when there are enough.

        Args:
            samplers: clip sampler of each role: ``first``, ``next``, ``interpolator``.
            request: seeds, signals and guidance of the videos, which are sampled as one batch.
            state: that of the ``Chunk`` after which the videos continue; None: they begin.
            steering: callbacks that change, watch or cancel the videos; None: none.

        Raises:
            ValueError: the networks do not suit the rollout or do not read a signal.
            Cancelled: ``steering`` asked for it.
        """
        self.check(samplers, request.signals)
        return self._chunks(samplers, request, state or State(), steering or Steering())

    def _chunks(
        self, samplers: Samplers, request: Request, state: State, steering: Steering
    ) -> Iterator[Chunk]:
        """Make chunk after chunk from ``state`` on; changes are asked for before each step."""
        total = state.change
        while True:
            change = steering.change(state.step)
            if change is not None:
                total = total.then(change)
            wanted = total.of(request, steering)
            self.check(samplers, wanted.signals)
            chunk = self.step(samplers, wanted, state)
            state = chunk.state._replace(change=total)
            yield Chunk(chunk.z, state, change)


def needed_for_longer(spec: LatentSpec) -> str:
    """Say in a sentence which rollouts make longer videos than one clip of latents of a shape."""
    kinds = "next_clip" if spec.frame_axis is None else "autoregressive or hierarchical"
    return (
        f"this model makes clips of {spec.clip[0]} frames; a longer video needs the rollout "
        f"{kinds} (rollout.kind), and a model trained for it"
    )


def check_overlap(overlap: int, frames: int) -> None:
    """Raise a ValueError unless ``overlap`` is less than ``frames``, a clip's latent frames."""
    if overlap >= frames:
        raise ValueError(
            f"overlap_latent_frames={overlap} must be under the clip's {frames} latent frames"
        )


def _check_frame_times(rollout: str, sample: ClipSampler) -> None:
    """Raise a ValueError, which names ``rollout``, unless a sampler can give frames own times."""
    each = f"the rollout {rollout} gives each latent frame of a clip its own time"
    if sample.spec.frame_axis is None:
        raise ValueError(
            f"{each}, but this model's latents have no time axis; choose rollout.kind=next_clip or "
            "one_clip"
        )
    if not (sample.denoiser.per_frame and sample.diffusion.time_per_frame):
        raise ValueError(
            f"{each}, and this model's network was not trained so (diffusion.time_per_frame=true); "
            "choose another rollout.kind, or a model that was"
        )
    if not sample.sampler.per_frame:
        raise ValueError(
            f"{each}, which {type(sample.sampler).__name__} does not support; choose "
            "sampler.kind=ddim"
        )
    if sample.pattern.per_frame:
        raise ValueError(
            f"{each}, and so does the time pattern {type(sample.pattern).__name__}; set "
            "pattern.kind=together, or choose another rollout.kind"
        )


def sample_clip(sample: ClipSampler, signals: Signals, request: Request, step: int) -> Sampled:
    """Sample one clip for each video of a request, under ``signals``.

    Seeds are derived from those of the request and ``step``, the number of the rollout's step.
    """
    seeds = tuple(derive(seed, "clip", step) for seed in request.seeds)
    return sample(signals, seeds, request.on_evaluation, request.guidance)


def following(signals: Signals, memory: Mapping[str, Tensor] | None = None) -> Signals:
    """Signals for a clip after the first, from the request's and from what samplers returned.

    Signals of the first clip only (context frames, ``previous``) are dropped; each tensor of
    ``memory`` becomes a signal of its name; None: there is none.
    """
    kept = {name: signal for name, signal in signals.items() if name not in OF_FIRST_CLIP}
    return kept | {name: Signal(value=x, null=x) for name, x in (memory or {}).items()}
