"""Each clip starts with the last frames of the clip before it (LVDM, prediction)."""

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from longtake.diffusion.signals import context_frames, no_context
from longtake.latents import LatentSpec
from longtake.rollout.base import (
    Chunk,
    Draws,
    Request,
    Rollout,
    State,
    clip_seeds,
)


class Autoregressive(Rollout):
    """LVDM, autoregressive prediction.

    Attributes:
        overlap: latent frames that two neighbours share; the paper's is 1.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"context"})

    kind: Literal["autoregressive"] = "autoregressive"
    overlap: Annotated[int, Ge(1)] = 1

    def step(self, draws: Draws, request: Request, state: State) -> Chunk:
        """Draw the first clip, or the next one after the frames that are known."""
        spec = draws.clip.spec
        axis = spec.time_axis
        self._check(spec)
        seeds = clip_seeds(request.seeds, "clip", state.step)
        if state.step == 0:
            z = draws.clip({**no_context(spec, len(seeds)), **request.signals}, seeds).z
            fresh = z
        else:
            tail = state.frames["tail"]
            known = {i: tail.select(axis, i) for i in range(self.overlap)}
            z = draws.following(context_frames(spec, known, request.signals), seeds)
            fresh = z.narrow(axis, self.overlap, spec.frames - self.overlap)
        tail = z.narrow(axis, spec.frames - self.overlap, self.overlap)
        return Chunk(fresh, State(state.step + 1, {"tail": tail.clone()}))

    def _check(self, spec: LatentSpec) -> None:
        if self.overlap >= spec.frames:
            raise ValueError(
                f"overlap={self.overlap} must be under the clip's {spec.frames} latent frames"
            )
