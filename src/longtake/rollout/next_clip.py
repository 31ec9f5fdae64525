"""Each clip is drawn under the whole latent of the clip before it (PVDM)."""

from typing import ClassVar, Literal

from longtake.diffusion.signals import previous_signal
from longtake.rollout.base import Chunk, Draws, Request, Rollout, State, clip_seeds


class NextClip(Rollout):
    """PVDM, long video: clip follows clip.

    In paper and official code no frame is in two of them. Where a denoiser was trained on clips
    that overlap, so do those that are drawn here; to fade from one to the next is the decoder's.

    The first clip has none before it; a request whose signals have ``previous`` continues that.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"previous"})

    kind: Literal["next_clip"] = "next_clip"

    def step(self, draws: Draws, request: Request, state: State) -> Chunk:
        """Draw the first clip, or the next one."""
        seeds = clip_seeds(request.seeds, "clip", state.step)
        if state.step == 0:
            z = draws.clip(request.signals, seeds).z
        else:
            previous = state.frames["previous"]
            z = draws.following({**request.signals, **previous_signal(previous)}, seeds)
        return Chunk(z, State(state.step + 1, {"previous": z}))
