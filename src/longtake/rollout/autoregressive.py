"""Each clip starts with the last frames of the clip before it (LVDM, prediction)."""

from collections.abc import Mapping, Set
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from longtake.diffusion.clip_sampler import OnEvaluation
from longtake.diffusion.signals import context_frames, no_context
from longtake.latents import LatentSpec
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


class Autoregressive(Rollout):
    """Prediction from the last frames (LVDM, autoregressive prediction).

    Attributes:
        overlap_latent_frames: latent frames that neighbouring clips share; 1 in the paper.
    """

    renamed: ClassVar[Mapping[str, str]] = {"overlap": "overlap_latent_frames"}
    adds: ClassVar[Mapping[Role, Set[str]]] = {
        "first": frozenset(),
        "next": frozenset({"context"}),
    }

    kind: Literal["autoregressive"] = "autoregressive"
    overlap_latent_frames: Annotated[int, Ge(1)] = 1

    def grain(self, samplers: Samplers) -> int:
        """Frames that a clip adds."""
        spec = samplers["first"].spec
        return (spec.frames - self.overlap_latent_frames) * spec.clip[0] // spec.frames

    def step(
        self,
        samplers: Samplers,
        request: Request,
        state: State,
        on_evaluation: OnEvaluation | None = None,
    ) -> Chunk:
        """Sample the first clip, or the next one after the last frames."""
        sample, signals = samplers["first"], request.signals
        spec, overlap = sample.spec, self.overlap_latent_frames
        axis = spec.time_axis
        self._check_overlap(spec)
        if state.step:
            sample = samplers["next"]
            tail = dict(enumerate(state.latents["tail"].unbind(axis)))
            signals = context_frames(spec, tail, following(signals, state.memory))
        elif "context" in sample.reads:
            signals = {**no_context(spec, len(request.seeds)), **signals}
        seeds = clip_seeds(request.seeds, "clip", state.step)
        z, memory = sample(signals, seeds, on_evaluation, request.guidance)
        fresh = z.narrow(axis, overlap, spec.frames - overlap) if state.step else z
        tail = z.narrow(axis, spec.frames - overlap, overlap)
        return Chunk(fresh, State(state.step + 1, {"tail": tail.clone()}, memory))

    def _check_overlap(self, spec: LatentSpec) -> None:
        if self.overlap_latent_frames >= spec.frames:
            raise ValueError(
                f"overlap_latent_frames={self.overlap_latent_frames} must be under the clip's "
                f"{spec.frames} latent frames"
            )
