"""Sparse keyframes first, then the frames between them (LVDM, hierarchical generation)."""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from longtake.diffusion.signals import context_frames
from longtake.diffusion.signals.signal import rows as select_rows
from longtake.noise import derive
from longtake.rollout.autoregressive import Autoregressive
from longtake.rollout.base import Chunk, Draws, Request, Rollout, State


class Hierarchical(Rollout):
    """LVDM, hierarchical generation: keyframes are predicted, every pair of them is filled.

    Unlike the official code, which fills a third of the pairs, one by one, every pair is filled,
    and those of ``clips_a_step`` keyframe clips in one batch. Clean keyframes enter the output.

    Attributes:
        keys: rollout of the keyframes.
        clips_a_step: keyframe clips that are drawn before their pairs are filled together; more of
            them take more memory and give the same video.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"context"})

    kind: Literal["hierarchical"] = "hierarchical"
    keys: Autoregressive = Autoregressive()
    clips_a_step: Annotated[int, Ge(1)] = 1

    def step(self, draws: Draws, request: Request, state: State) -> Chunk:
        """Draw some keyframes and fill the pairs they complete.

        The last keyframe is held back: it starts the next chunk.
        """
        axis = draws.clip.spec.time_axis
        inner = State(
            state.step * self.clips_a_step,
            {"tail": state.frames["tail"]} if state.step else {},
        )
        keys = [state.frames["left"]] if state.step else []
        for _ in range(self.clips_a_step):
            clip, inner = self.keys.step(draws, request, inner)
            keys.extend(clip.unbind(axis))
        first = self._pairs_before(state.step, draws.clip.spec.frames)
        z = self._fill(draws, request, keys, first)
        return Chunk(z, State(state.step + 1, {**inner.frames, "left": keys[-1].clone()}))

    def _pairs_before(self, step: int, frames: int) -> int:
        """Pairs filled before a step, so that a pair's number does not tell of ``clips_a_step``."""
        clips = step * self.clips_a_step
        return frames - 1 + (clips - 1) * (frames - self.keys.overlap) if clips else 0

    def _fill(self, draws: Draws, request: Request, keys: list[Tensor], first: int) -> Tensor:
        if draws.between is None:
            raise ValueError(
                "a hierarchical rollout needs a model for the frames between keyframes; "
                "this model has none: use the autoregressive rollout"
            )
        spec = draws.between.spec
        axis = spec.time_axis
        pairs = list(pairwise(keys))
        rows = torch.arange(len(request.seeds)).repeat(len(pairs))
        ends = {
            0: torch.cat([left for left, _ in pairs]),
            spec.frames - 1: torch.cat([right for _, right in pairs]),
        }
        condition = context_frames(spec, ends, select_rows(request.signals, rows))
        seeds = [
            derive(seed, "between", pair)
            for pair in range(first, first + len(pairs))
            for seed in request.seeds
        ]
        z = draws.between(condition, seeds).z
        filled = z.narrow(axis, 0, spec.frames - 1).unflatten(0, (len(pairs), len(request.seeds)))
        return torch.cat(list(filled), dim=axis)
