"""Rollout: clips of a fixed length become a video of any length, one step at a time.

A rollout does not know networks or samplers. It asks for clips under signals and yields latents
as they are ready, so a video of any length needs the memory of a few clips.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from longtake.config import Config
from longtake.diffusion.clip_sampler import OnEvaluation, Sampled
from longtake.diffusion.signals import Signals
from longtake.latents import LatentSpec
from longtake.noise import derive

Role = Literal["first", "next", "interpolator"]
"""What a network draws: first clips, clips that continue a video, clips between two keyframes."""


@runtime_checkable
class SampleClips(Protocol):
    """Samples a batch of clips' latents under signals, row ``i`` from ``seeds[i]`` alone."""

    @property
    def spec(self) -> LatentSpec:
        """Latents that are sampled."""
        ...

    @property
    def reads(self) -> frozenset[str]:
        """Names of the signals that the network reads."""
        ...

    def __call__(
        self, signals: Signals, seeds: Sequence[int], on_evaluation: OnEvaluation | None = None
    ) -> Sampled:
        """Latents; context frames come back as they were given."""
        ...


Samplers = Mapping[Role, SampleClips]
"""Sampler of each role; ``next`` and ``first`` may be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Videos to make.

    Attributes:
        seeds: one per video; all randomness of a video follows from its seed.
        signals: what holds for a whole video, such as its label; one row per video.
    """

    seeds: tuple[int, ...]
    signals: Signals = field(default_factory=dict)


class State(NamedTuple):
    """Position of a rollout: enough to continue as if it had not stopped.

    Attributes:
        step: number of steps made.
        latents: latents that later steps are conditioned on, by name.
    """

    step: int = 0
    latents: Mapping[str, Tensor] = {}


class Chunk(NamedTuple):
    """Result of one step.

    Attributes:
        z: latents that follow those of the chunk before.
        state: position of the rollout after them.
    """

    z: Tensor
    state: State


class _Join(NamedTuple):
    """A way to join clips, and a rollout that uses it."""

    what: str
    rollout: str


_JOINS = {
    "context": _Join("frames of the clip that it draws", "autoregressive"),
    "previous": _Join("the latent of the clip before", "next_clip"),
}
"""By name of a signal."""


class Rollout(Config, ABC):
    """A strategy for long video.

    Attributes:
        needs: by role, the signals that the rollout sets; the network in that role must read them.
    """

    needs: ClassVar[Mapping[Role, Set[str]]] = {"first": frozenset()}

    @property
    def roles(self) -> Set[Role]:
        """Roles in which clips are sampled."""
        return self.needs.keys()

    def check(self, samplers: Samplers) -> None:
        """Make sure that these samplers can be rolled out so.

        Raises:
            ValueError: a role is not filled, or its network does not read what joins the clips.
        """
        for role, needs in self.needs.items():
            if role not in samplers:
                raise ValueError(
                    f"the rollout {type(self).__name__} needs a network in the role {role!r}; this "
                    f"model has {', '.join(samplers)}; choose another rollout.kind, or a model "
                    "that has one"
                )
            reads = samplers[role].reads
            lacking = sorted(needs - reads)
            if lacking:
                able = [_JOINS[name].rollout for name in sorted(_JOINS.keys() & reads)]
                what = _JOINS[lacking[0]].what
                raise ValueError(
                    f"the rollout {type(self).__name__} gives the network {what}, "
                    "which this model's does not read; choose rollout.kind="
                    f"{' or '.join(able or ['one_clip'])}, or a model that was trained for it"
                )

    @abstractmethod
    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        """Make the next latents. A function of its arguments alone."""

    def __call__(
        self, samplers: Samplers, request: Request, state: State | None = None
    ) -> Iterator[Chunk]:
        """Yield chunks in order of time, without end: the caller takes as many as it needs."""
        state = State() if state is None else state
        while True:
            chunk = self.step(samplers, request, state)
            yield chunk
            state = chunk.state


def clip_seeds(seeds: Sequence[int], *path: int | str) -> tuple[int, ...]:
    """Seeds of one clip of each video."""
    return tuple(derive(seed, *path) for seed in seeds)
