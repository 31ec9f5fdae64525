"""Each clip is sampled under the whole latent of the clip before it (PVDM)."""

from collections.abc import Mapping, Set
from typing import ClassVar, Literal

from longtake.diffusion.signals import previous_signal
from longtake.rollout.base import Chunk, Request, Role, Rollout, Samplers, State, clip_seeds


class NextClip(Rollout):
    """Clip follows clip (PVDM, long video generation).

    In paper and official code no frame is in two clips. A denoiser that was trained on overlapping
    clips makes overlapping clips here; the decoder fades from one to the next.

    The first clip has none before it; a request whose signals have ``previous`` continues that.
    """

    needs: ClassVar[Mapping[Role, Set[str]]] = {
        "first": frozenset(),
        "next": frozenset({"previous"}),
    }

    kind: Literal["next_clip"] = "next_clip"

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        """Sample the first clip, or the next one."""
        seeds = clip_seeds(request.seeds, "clip", state.step)
        if state.step == 0:
            z = samplers["first"](request.signals, seeds).z
        else:
            previous = state.latents["previous"]
            z = samplers["next"]({**request.signals, **previous_signal(previous)}, seeds).z
        return Chunk(z, State(state.step + 1, {"previous": z}))
