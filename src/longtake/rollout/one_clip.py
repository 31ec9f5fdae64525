"""One clip: what a model without frame conditions can do."""

from typing import Literal

from longtake.rollout.base import Chunk, Request, Rollout, Samplers, State, clip_seeds


class OneClip(Rollout):
    """A single clip; more are refused."""

    kind: Literal["one_clip"] = "one_clip"

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
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
        z = sample(request.signals, clip_seeds(request.seeds, "clip", state.step)).z
        return Chunk(z, State(state.step + 1))
