"""Each clip starts with the last frames of the clip before it (LVDM, prediction)."""

from collections.abc import Mapping, Set
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

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
)


class Autoregressive(Rollout):
    """Prediction from the last frames (LVDM, autoregressive prediction).

    Attributes:
        overlap_latent_frames: latent frames that neighbouring clips share; 1 in the paper.
    """

    renamed: ClassVar[Mapping[str, str]] = {"overlap": "overlap_latent_frames"}
    needs: ClassVar[Mapping[Role, Set[str]]] = {
        "first": frozenset(),
        "next": frozenset({"context"}),
    }

    kind: Literal["autoregressive"] = "autoregressive"
    overlap_latent_frames: Annotated[int, Ge(1)] = 1

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        """Sample the first clip, or the next one after the frames that are known."""
        spec, overlap = samplers["first"].spec, self.overlap_latent_frames
        axis = spec.time_axis
        self._check_overlap(spec)
        seeds = clip_seeds(request.seeds, "clip", state.step)
        if state.step == 0:
            z = samplers["first"]({**no_context(spec, len(seeds)), **request.signals}, seeds).z
            fresh = z
        else:
            tail = state.latents["tail"]
            known = {i: tail.select(axis, i) for i in range(overlap)}
            z = samplers["next"](context_frames(spec, known, request.signals), seeds).z
            fresh = z.narrow(axis, overlap, spec.frames - overlap)
        tail = z.narrow(axis, spec.frames - overlap, overlap)
        return Chunk(fresh, State(state.step + 1, {"tail": tail.clone()}))

    def _check_overlap(self, spec: LatentSpec) -> None:
        if self.overlap_latent_frames >= spec.frames:
            raise ValueError(
                f"overlap_latent_frames={self.overlap_latent_frames} must be under the clip's "
                f"{spec.frames} latent frames"
            )
