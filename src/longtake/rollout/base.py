"""Rollout: clips of a fixed length become a video of any length, one step at a time.

A rollout does not know networks or samplers. It asks for clips under conditions and yields latents
as they are ready, so a video of any length needs the memory of a few clips.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.config import Config
from longtake.diffusion.condition import ABSENT, Condition, KnownFrames
from longtake.latents import LatentSpec
from longtake.noise import derive

Role = Literal["first", "next", "interpolator"]
"""What a network draws: first clips, clips that continue a video, clips between two keyframes."""


@runtime_checkable
class SampleClips(Protocol):
    """Samples a batch of clips' latents under a condition, row ``i`` from ``seeds[i]`` alone."""

    @property
    def spec(self) -> LatentSpec:
        """Latents that are sampled."""
        ...

    @property
    def reads(self) -> frozenset[str]:
        """Fields of ``Condition`` that the network reads."""
        ...

    def __call__(self, condition: Condition, seeds: Sequence[int]) -> Tensor:
        """Latents ``(B, C, *dims)``; given frames are in their places, without noise."""
        ...


Samplers = Mapping[Role, SampleClips]
"""Sampler of each role; ``next`` and ``first`` may be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Videos to make.

    Attributes:
        seeds: one per video; all randomness of a video follows from its seed.
        condition: what holds for a whole video, such as its label; one row per video.
    """

    seeds: tuple[int, ...]
    condition: Condition = Condition()  # noqa: RUF009


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
    "known": _Join("frames of the clip that it draws", "autoregressive"),
    "previous": _Join("the latent of the clip before", "next_clip"),
}
"""By field of ``Condition``."""


class Rollout(Config, ABC):
    """A strategy for long video.

    Attributes:
        needs: by role, the fields of ``Condition`` that the rollout sets; the network in that role
            must read them.
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


def nothing_known(sample: SampleClips, request: Request) -> Condition:
    """The request's condition with no frame given (LVDM: mask 0, no noise level)."""
    batch = len(request.seeds)
    known = KnownFrames(
        z=torch.zeros(batch, *sample.spec.shape),
        mask=torch.zeros(batch, sample.spec.frames, dtype=torch.bool),
        t=torch.full((batch,), float(ABSENT)),
    )
    return replace(request.condition, known=known)


def with_known(
    spec: LatentSpec, condition: Condition, frames: Mapping[int, Float[Tensor, "b ..."]]
) -> Condition:
    """A condition with clean frames given, from a map of latent frame index to latent frame."""
    first = next(iter(frames.values()))
    z = first.new_zeros(len(first), *spec.shape)
    mask = torch.zeros(len(first), spec.frames, dtype=torch.bool, device=first.device)
    axis = time_axis(spec)
    for index, frame in frames.items():
        z.select(axis, index).copy_(frame)
        mask[:, index] = True
    return replace(condition, known=KnownFrames(z=z, mask=mask, t=first.new_zeros(len(first))))


def time_axis(spec: LatentSpec) -> int:
    """Axis of time in a batched latent.

    Raises:
        ValueError: the latent has none, so single frames cannot be given.
    """
    if spec.frame_axis is None:
        raise ValueError(
            f"a latent of shape {spec.shape} has no time axis, so no frames of it can be given; "
            "use a rollout that conditions on whole clips"
        )
    return spec.frame_axis
