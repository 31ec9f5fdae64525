"""What a rollout is: clips of a fixed length become a video of any length, one step at a time.

A rollout knows neither network nor sampler. It asks for clips under conditions and yields latents
as they are ready, so a video of any length needs the memory of a few clips.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from longtake.config import Config
from longtake.diffusion.clip_sampler import OnEvaluation, Sampled
from longtake.diffusion.signals import Signals
from longtake.latents import LatentSpec
from longtake.noise import derive


@runtime_checkable
class DrawClips(Protocol):
    """Draws a batch of clips' latents under a condition, row ``i`` from ``seeds[i]`` alone."""

    @property
    def spec(self) -> LatentSpec:
        """The latents that are drawn."""
        ...

    def __call__(
        self, signals: Signals, seeds: Sequence[int], on_evaluation: OnEvaluation | None = None
    ) -> Sampled:
        """Latents; context frames come back as they were given."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The trained models a rollout draws from.

    Attributes:
        clip: draws the first clip, and those that follow unless ``later`` does.
        later: draws the clips that go on from another, of the same latents; None: ``clip``.
        between: draws the clip between two keyframes; None where there is no model for that.
    """

    clip: DrawClips
    later: DrawClips | None = None
    between: DrawClips | None = None

    def following(self, signals: Signals, seeds: Sequence[int]) -> Tensor:
        """Latents of clips that continue another."""
        return (self.later or self.clip)(signals, seeds).z


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The videos that are wanted.

    Attributes:
        seeds: one a video; all that is random about it follows from its seed.
        signals: what holds for a whole video, such as its label; one row a video.
    """

    seeds: tuple[int, ...]
    signals: Signals = field(default_factory=dict)


class State(NamedTuple):
    """Where a rollout stands: enough to go on as if it had not been stopped.

    Attributes:
        step: steps made.
        frames: latents that later steps are conditioned on.
    """

    step: int = 0
    frames: Mapping[str, Tensor] = {}


class Chunk(NamedTuple):
    """What one step yields.

    Attributes:
        z: latents that follow, in order of time, those of the chunk before.
        state: where the rollout stands after them.
    """

    z: Tensor
    state: State


class _Joint(NamedTuple):
    """What clips can be joined by, and a rollout that does so."""

    what: str
    rollout: str


_JOINTS = {
    "context": _Joint("frames of the clip that it draws", "autoregressive"),
    "previous": _Joint("the latent of the clip before", "next_clip"),
}
"""By name of a signal."""


class Rollout(Config, ABC):
    """A strategy for long video.

    Attributes:
        needs: the signals by which it joins clips; a network must read them.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    def check(self, reads: Set[str]) -> None:
        """Make sure that a network which reads these signals can be used.

        Raises:
            ValueError: it does not read what this rollout joins clips by.
        """
        lacking = sorted(self.needs - reads)
        if lacking:
            able = [_JOINTS[name].rollout for name in sorted(_JOINTS.keys() & reads)]
            raise ValueError(
                f"the rollout {type(self).__name__} gives the network {_JOINTS[lacking[0]].what}, "
                "which this model's does not read; choose rollout.kind="
                f"{' or '.join(able or ['one_clip'])}, or a model that was trained for it"
            )

    @abstractmethod
    def step(self, draws: Draws, request: Request, state: State) -> Chunk:
        """Make the next latents. A function of its arguments alone."""

    def __call__(
        self, draws: Draws, request: Request, state: State | None = None
    ) -> Iterator[Chunk]:
        """Yield chunks in order of time, without end: the caller takes as many as it wants."""
        state = State() if state is None else state
        while True:
            chunk = self.step(draws, request, state)
            yield chunk
            state = chunk.state


def clip_seeds(seeds: Sequence[int], *path: int | str) -> tuple[int, ...]:
    """Seeds of one clip of each video."""
    return tuple(derive(seed, *path) for seed in seeds)
