"""Each clip starts with the last frames of the clip before it (LVDM, prediction)."""

from collections.abc import Mapping, Set
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from longtake.latents import LatentSpec
from longtake.rollout.base import (
    Chunk,
    Request,
    Role,
    Rollout,
    Samplers,
    State,
    clip_seeds,
    nothing_known,
    time_axis,
    with_known,
)


class Autoregressive(Rollout):
    """Prediction from the last frames (LVDM, autoregressive prediction).

    Attributes:
        overlap_latent_frames: latent frames that neighbouring clips share; 1 in the paper.
    """

    renamed: ClassVar[Mapping[str, str]] = {"overlap": "overlap_latent_frames"}
    needs: ClassVar[Mapping[Role, Set[str]]] = {
        "first": frozenset(),
        "next": frozenset({"known"}),
    }

    kind: Literal["autoregressive"] = "autoregressive"
    overlap_latent_frames: Annotated[int, Ge(1)] = 1

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        """Sample the first clip, or the next one after the frames that are known."""
        spec, overlap = samplers["first"].spec, self.overlap_latent_frames
        axis = time_axis(spec)
        self._check_overlap(spec)
        seeds = clip_seeds(request.seeds, "clip", state.step)
        if state.step == 0:
            z = samplers["first"](nothing_known(samplers["first"], request), seeds)
            fresh = z
        else:
            tail = state.latents["tail"]
            known = {i: tail.select(axis, i) for i in range(overlap)}
            z = samplers["next"](with_known(spec, request.condition, known), seeds)
            fresh = z.narrow(axis, overlap, spec.frames - overlap)
        tail = z.narrow(axis, spec.frames - overlap, overlap)
        return Chunk(fresh, State(state.step + 1, {"tail": tail.clone()}))

    def _check_overlap(self, spec: LatentSpec) -> None:
        if self.overlap_latent_frames >= spec.frames:
            raise ValueError(
                f"overlap_latent_frames={self.overlap_latent_frames} must be under the clip's "
                f"{spec.frames} latent frames"
            )
