"""Sparse keyframes first, then the frames between them (LVDM, hierarchical generation)."""

from collections.abc import Mapping, Set
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from longtake.diffusion.signals import context_frames
from longtake.diffusion.signals.signal import rows
from longtake.noise import derive
from longtake.rollout.base import (
    Chunk,
    Request,
    Role,
    Rollout,
    SampleClips,
    Samplers,
    State,
    following,
)
from longtake.rollout.clip_by_clip import Autoregressive


class Hierarchical(Rollout):
    """Keyframes are predicted, and every pair of them is filled (LVDM, hierarchical generation).

    Unlike the official code, which fills a third of the pairs, one by one, every pair is filled,
    and those of ``clips_per_step`` keyframe clips in one batch. Clean keyframes enter the output.

    Attributes:
        keyframes: rollout of the keyframes.
        clips_per_step: keyframe clips that are sampled before their pairs are filled together; more
            of them take more memory and give the same video.
    """

    renamed: ClassVar[Mapping[str, str]] = {"keys": "keyframes", "clips_a_step": "clips_per_step"}
    adds: ClassVar[Mapping[Role, Set[str]]] = {**Autoregressive.adds, "interpolator": {"context"}}

    kind: Literal["hierarchical"] = "hierarchical"
    keyframes: Autoregressive = Autoregressive()
    clips_per_step: Annotated[int, Ge(1)] = 1

    def grain(self, samplers: Samplers) -> int:
        """Frames of the pairs that the keyframe clips of a step complete."""
        fresh = samplers["first"].spec.frames - self.keyframes.overlap_latent_frames
        spec = samplers["interpolator"].spec
        frames_per_pair = (spec.frames - 1) * spec.clip[0] // spec.frames
        return self.clips_per_step * fresh * frames_per_pair

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        """Sample some keyframes and fill the pairs they complete.

        The last keyframe is held back: it starts the next chunk.
        """
        spec = samplers["first"].spec
        latents = {"tail": state.latents["tail"]} if state.step else {}
        inner = State(state.step * self.clips_per_step, latents, state.memory)
        keyframes = [state.latents["left"]] if state.step else []
        for _ in range(self.clips_per_step):
            clip, inner, _ = self.keyframes.step(samplers, request, inner)
            keyframes.extend(clip.unbind(spec.time_axis))
        first = self._pairs_before(state.step, spec.frames)
        z = _fill(samplers["interpolator"], request, keyframes, first)
        latents = {**inner.latents, "left": keyframes[-1].clone()}
        return Chunk(z, State(state.step + 1, latents, inner.memory))

    def _pairs_before(self, step: int, frames: int) -> int:
        """Number of pairs filled before a step; the same whatever ``clips_per_step``."""
        clips = step * self.clips_per_step
        overlap = self.keyframes.overlap_latent_frames
        return frames - 1 + (clips - 1) * (frames - overlap) if clips else 0


def _fill(sample: SampleClips, request: Request, keyframes: list[Tensor], first: int) -> Tensor:
    """Fill the pairs of neighbouring keyframes; ``first`` is the number of the first pair."""
    spec, pairs = sample.spec, len(keyframes) - 1
    ends = {0: torch.cat(keyframes[:-1]), spec.frames - 1: torch.cat(keyframes[1:])}
    samples = torch.arange(len(request.seeds)).repeat(pairs)
    signals = context_frames(spec, ends, rows(following(request.signals), samples))
    seeds = [
        derive(seed, "between", pair)  # a seed path: the word decides the video
        for pair in range(first, first + pairs)
        for seed in request.seeds
    ]
    z = sample(signals, seeds, request.on_evaluation, request.guidance).z
    filled = z.narrow(spec.time_axis, 0, spec.frames - 1)
    filled = filled.unflatten(0, (pairs, len(request.seeds)))
    return torch.cat(list(filled), dim=spec.time_axis)
