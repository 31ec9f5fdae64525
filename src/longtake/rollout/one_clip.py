"""One clip: what a model without frame conditions can do."""

from typing import Literal

from longtake.rollout.base import Chunk, Draws, Request, Rollout, State, clip_seeds


class OneClip(Rollout):
    """A single clip; more are refused."""

    kind: Literal["one_clip"] = "one_clip"

    def step(self, draws: Draws, request: Request, state: State) -> Chunk:
        """Draw the clip.

        Raises:
            ValueError: asked for a second one.
        """
        if state.step:
            raise ValueError(
                f"this model makes clips of {draws.clip.spec.clip[0]} frames; a longer video needs "
                "the rollout autoregressive or hierarchical, and a model trained for it"
            )
        z = draws.clip(request.signals, clip_seeds(request.seeds, "clip", state.step)).z
        return Chunk(z, State(state.step + 1))
