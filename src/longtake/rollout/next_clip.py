"""Each clip is sampled under the whole latent of the clip before it (PVDM)."""

from collections.abc import Mapping, Set
from typing import ClassVar, Literal

from longtake.diffusion.clip_sampler import OnEvaluation
from longtake.diffusion.signals import previous_signal
from longtake.rollout.base import (
    Chunk,
    Request,
    Role,
    Rollout,
    Samplers,
    State,
    clip_seeds,
    following,
)


class NextClip(Rollout):
    """Clip follows clip (PVDM, long video generation).

    In paper and official code no frame is in two clips. A denoiser that was trained on overlapping
    clips makes overlapping clips here; the decoder fades from one to the next.

    The first clip has no previous clip unless the request has the signal ``previous``.
    """

    adds: ClassVar[Mapping[Role, Set[str]]] = {
        "first": frozenset(),
        "next": frozenset({"previous"}),
    }

    kind: Literal["next_clip"] = "next_clip"

    def grain(self, samplers: Samplers) -> int:
        """Frames that a clip adds."""
        spec = samplers["first"].spec
        return spec.clip[0] - spec.clip_overlap_frames

    def step(
        self,
        samplers: Samplers,
        request: Request,
        state: State,
        on_evaluation: OnEvaluation | None = None,
    ) -> Chunk:
        """Sample the first clip, or the next one."""
        sample, signals = samplers["first"], request.signals
        if state.step:
            sample = samplers["next"]
            before = previous_signal(state.latents["previous"])
            signals = {**following(signals, state.memory), **before}
        seeds = clip_seeds(request.seeds, "clip", state.step)
        z, memory = sample(signals, seeds, on_evaluation, request.guidance)
        return Chunk(z, State(state.step + 1, {"previous": z}, memory))
