"""A video whose end meets its beginning: the gap from the last frame to the first is filled."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.config import plural
from longtake.generate import (
    LongVideo,
    Part,
    VideoStream,
    change_state,
    check_frames,
    stored_change,
)
from longtake.given.filled import fill_factor, fill_gap
from longtake.noise import derive
from longtake.rollout import Request, Steering

DEPTH = 2
"""Number of rounds, in each of which the gaps between all neighbours are filled: 24 frames in two
rounds with a network that fills in 4. After one round, frames change two to three times as much as
in real videos (docs/log.md)."""


@dataclass(frozen=True, kw_only=True)
class LoopedVideo(VideoStream):
    """Makes a video and closes it: the frame after its last one is its first one.

    The interpolation network fills between the last and the first frame, as in ``FilledVideo``,
    then between all neighbours of what it made: in two rounds.

    Attributes:
        video: the model, with a network in the role ``interpolator``.
        opening: makes the frames before the gap: ``video`` itself, or a ``StartedVideo`` of it.

    Raises:
        ValueError: the model has no such network.
    """

    video: LongVideo
    opening: VideoStream

    def __post_init__(self) -> None:
        if "interpolator" not in self.video.samplers:
            raise ValueError(
                "this model has no network that fills in between two frames (the role "
                "interpolator), so no end can be led back to the beginning; choose a model that "
                "has one"
            )

    @property
    def grain(self) -> int:
        """Number of frames that each step of ``opening`` but the first adds."""
        return self.opening.grain

    @property
    def sampled_from(self) -> int:
        return self.opening.sampled_from

    @property
    def first_step_frames(self) -> int:
        return self.opening.first_step_frames

    def steps(self, frames: int) -> int:
        """Number of rollout steps in a video of ``frames`` frames, before those that close it."""
        return self.opening.steps(frames - self.closing)

    @property
    def closing(self) -> int:
        """Number of frames that fill the gap between the last and the first frame."""
        return fill_factor(self.video) ** DEPTH - 1

    def check_length(self, frames: int) -> None:
        """Raise a ValueError unless a loop of ``frames`` frames has two before its closing ones."""
        if frames < self.closing + 2:
            raise ValueError(
                f"frames={frames} must be at least {self.closing + 2}: "
                f"{plural(self.closing, 'frame')} lead from the end back to the beginning; "
                "ask for more"
            )

    @torch.inference_mode()
    def __call__(
        self,
        request: Request,
        frames: int,
        state: Mapping[str, Tensor] | None = None,
        steering: Steering | None = None,
    ) -> Iterator[Part]:
        """Yield exactly ``frames`` frames of each requested video, in order of time.

        Arguments are those of ``VideoStream.__call__``; ``frames`` counts the closing ones too.

        Raises:
            ValueError: ``frames`` is too small for a loop, or a network does not read a signal.
        """
        check_frames(frames)
        self.check_length(frames)
        rest, state = frames - self.closing, dict(state or {})
        made = int(state.get("loop.made", 0))
        if made < rest:
            for part in self.opening(request, rest, state or None, steering):
                pixels = part.pixels[:, :, : rest - made]
                made += pixels.shape[2]
                state = {
                    **part.state,
                    "loop.made": torch.tensor(made),
                    "loop.first": state.get("loop.first", pixels[:, :, :1].clone()),
                    "loop.last": pixels[:, :, -1:].clone(),
                }
                yield Part(pixels, state, part.changes)
        if made < frames:
            change = stored_change(state)
            wanted = change.of(request, steering or Steering())
            pixels = self._closing(wanted, state["loop.last"], state["loop.first"], rest - 1)
            yield Part(pixels, {"loop.made": torch.tensor(frames), **change_state(change)}, {})

    def _closing(
        self, request: Request, last: Tensor, first: Tensor, place: int
    ) -> Float[Tensor, "b 3 t h w"]:
        """Fill the gap between the last frame, of index ``place``, and the first one."""
        frames = [last, first]
        for depth in range(DEPTH):
            found = []
            for pair in range(len(frames) - 1):
                seeds = [derive(seed, "loop", depth, pair) for seed in request.seeds]
                ends = frames[pair], frames[pair + 1]
                new = fill_gap(self.video, request, seeds, *ends, place=place)
                found += [frames[pair], *new.split(1, 2)]
            frames = [*found, first]
        return torch.cat(frames[1:-1], 2)
