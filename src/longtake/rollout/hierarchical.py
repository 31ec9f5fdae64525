"""Sparse keyframes first, then the frames between them (LVDM, hierarchical generation)."""

from collections.abc import Mapping, Set
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from longtake.diffusion.signals import context_frames
from longtake.diffusion.signals.signal import rows as select_rows
from longtake.noise import derive
from longtake.rollout.autoregressive import Autoregressive
from longtake.rollout.base import Chunk, Request, Role, Rollout, Samplers, State


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
    needs: ClassVar[Mapping[Role, Set[str]]] = {
        **Autoregressive.needs,
        "interpolator": frozenset({"context"}),
    }

    kind: Literal["hierarchical"] = "hierarchical"
    keyframes: Autoregressive = Autoregressive()
    clips_per_step: Annotated[int, Ge(1)] = 1

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        """Sample some keyframes and fill the pairs they complete.

        The last keyframe is held back: it starts the next chunk.
        """
        spec = samplers["first"].spec
        axis = spec.time_axis
        inner = State(
            state.step * self.clips_per_step,
            {"tail": state.latents["tail"]} if state.step else {},
        )
        keyframes = [state.latents["left"]] if state.step else []
        for _ in range(self.clips_per_step):
            clip, inner = self.keyframes.step(samplers, request, inner)
            keyframes.extend(clip.unbind(axis))
        z = self._fill(samplers, request, keyframes, self._pairs_before(state.step, spec.frames))
        return Chunk(z, State(state.step + 1, {**inner.latents, "left": keyframes[-1].clone()}))

    def _pairs_before(self, step: int, frames: int) -> int:
        """Number of pairs filled before a step; the same whatever ``clips_per_step``."""
        clips = step * self.clips_per_step
        overlap = self.keyframes.overlap_latent_frames
        return frames - 1 + (clips - 1) * (frames - overlap) if clips else 0

    def _fill(
        self, samplers: Samplers, request: Request, keyframes: list[Tensor], first: int
    ) -> Tensor:
        spec = samplers["interpolator"].spec
        axis = spec.time_axis
        pairs = list(pairwise(keyframes))
        rows = torch.arange(len(request.seeds)).repeat(len(pairs))
        ends = {
            0: torch.cat([left for left, _ in pairs]),
            spec.frames - 1: torch.cat([right for _, right in pairs]),
        }
        condition = context_frames(spec, ends, select_rows(request.signals, rows))
        seeds = [
            derive(seed, "between", pair)  # a seed path: the word decides the video
            for pair in range(first, first + len(pairs))
            for seed in request.seeds
        ]
        z = samplers["interpolator"](condition, seeds).z
        filled = z.narrow(axis, 0, spec.frames - 1).unflatten(0, (len(pairs), len(request.seeds)))
        return torch.cat(list(filled), dim=axis)
