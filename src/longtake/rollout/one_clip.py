"""One clip: what a model without frame conditions can do."""

from typing import Literal

from longtake.diffusion.clip_sampler import OnEvaluation
from longtake.rollout.base import Chunk, Request, Rollout, Samplers, State, clip_seeds


class OneClip(Rollout):
    """A single clip; a longer video is an error."""

    kind: Literal["one_clip"] = "one_clip"

    def grain(self, samplers: Samplers) -> int:
        """Frames of the clip."""
        return samplers["first"].spec.clip[0]

    def step(
        self,
        samplers: Samplers,
        request: Request,
        state: State,
        on_evaluation: OnEvaluation | None = None,
    ) -> Chunk:
        """Sample the clip.

        Raises:
            ValueError: this is not the first step.
        """
        sample = samplers["first"]
        if state.step:
            raise ValueError(
                f"this model makes clips of {sample.spec.clip[0]} frames; a longer video needs "
                "the rollout autoregressive or hierarchical, and a model trained for it"
            )
        seeds = clip_seeds(request.seeds, "clip", state.step)
        z, memory = sample(request.signals, seeds, on_evaluation, request.guidance)
        return Chunk(z, State(state.step + 1, memory=memory))
