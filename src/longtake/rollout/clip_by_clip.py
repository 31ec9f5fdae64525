"""Rollouts of one clip per step, each clip sampled under what the clip before it left."""

from collections.abc import Mapping, Set
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from longtake.diffusion.signals import context_frames, no_context, previous_signal
from longtake.rollout.base import (
    Chunk,
    Request,
    Role,
    Rollout,
    Samplers,
    State,
    following,
    sample_clip,
)


class OneClip(Rollout):
    """A single clip; a longer video is an error."""

    kind: Literal["one_clip"] = "one_clip"

    def grain(self, samplers: Samplers) -> int:
        """Frames of the clip."""
        return samplers["first"].spec.clip[0]

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        """Sample the clip; a ValueError if this is not the first step."""
        sample = samplers["first"]
        if state.step:
            raise ValueError(
                f"this model makes clips of {sample.spec.clip[0]} frames; a longer video needs "
                "the rollout autoregressive or hierarchical, and a model trained for it"
            )
        z, memory = sample_clip(sample, request.signals, request, state.step)
        return Chunk(z, State(state.step + 1, memory=memory))


class Autoregressive(Rollout):
    """Each clip starts with the last frames of the clip before (LVDM, autoregressive prediction).

    Attributes:
        overlap_latent_frames: latent frames that neighbouring clips share; 1 in the paper.
    """

    renamed: ClassVar[Mapping[str, str]] = {"overlap": "overlap_latent_frames"}
    adds: ClassVar[Mapping[Role, Set[str]]] = {"first": set(), "next": {"context"}}

    kind: Literal["autoregressive"] = "autoregressive"
    overlap_latent_frames: Annotated[int, Ge(1)] = 1

    def grain(self, samplers: Samplers) -> int:
        """Frames that a clip adds."""
        spec = samplers["first"].spec
        return (spec.frames - self.overlap_latent_frames) * spec.clip[0] // spec.frames

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        """Sample the first clip, or the next one after the last frames."""
        sample, signals = samplers["first"], request.signals
        spec, overlap = sample.spec, self.overlap_latent_frames
        if overlap >= spec.frames:
            raise ValueError(
                f"overlap_latent_frames={overlap} must be under the clip's {spec.frames} latent "
                "frames"
            )
        if state.step:
            sample = samplers["next"]
            tail = dict(enumerate(state.latents["tail"].unbind(spec.time_axis)))
            signals = context_frames(spec, tail, following(signals, state.memory))
        elif "context" in sample.reads:
            signals = {**no_context(spec, len(request.seeds)), **signals}
        z, memory = sample_clip(sample, signals, request, state.step)
        fresh = z.narrow(spec.time_axis, overlap, spec.frames - overlap) if state.step else z
        tail = z.narrow(spec.time_axis, spec.frames - overlap, overlap)
        return Chunk(fresh, State(state.step + 1, {"tail": tail.clone()}, memory))


class NextClip(Rollout):
    """Each clip is sampled under the whole latent of the clip before (PVDM, long video generation).

    In paper and official code no frame is in two clips. A denoiser that was trained on overlapping
    clips makes overlapping clips here; the decoder fades from one to the next.

    The first clip has no previous clip unless the request has the signal ``previous``.
    """

    adds: ClassVar[Mapping[Role, Set[str]]] = {"first": set(), "next": {"previous"}}

    kind: Literal["next_clip"] = "next_clip"

    def grain(self, samplers: Samplers) -> int:
        """Frames that a clip adds."""
        spec = samplers["first"].spec
        return spec.clip[0] - spec.clip_overlap_frames

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        """Sample the first clip, or the next one."""
        sample, signals = samplers["first"], request.signals
        if state.step:
            before = previous_signal(state.latents["previous"])
            sample, signals = samplers["next"], {**following(signals, state.memory), **before}
        z, memory = sample_clip(sample, signals, request, state.step)
        return Chunk(z, State(state.step + 1, {"previous": z}, memory))
