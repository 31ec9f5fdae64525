"""A long video that begins with given frames: an image, or a video that is continued."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from longtake.config import plural
from longtake.diffusion.signals import Signals, rows
from longtake.generate import LongVideo, Part, VideoStream, check_frames
from longtake.given.encoding import Start, check_size, start
from longtake.rollout import Request, Steering
from longtake.video import to_model

OPENING_CHUNK = 64  # given frames that one part has
FADE = 8
"""Number of frames over which the difference between given and decoded pixels fades."""
SOFTENED = 0.5
"""Share of the decoded change from the last given to the first new frame that is spread over the
``FADE`` frames after it: decoded frames change more between latent frames than real videos do
(docs/results/given_frames.json)."""


@dataclass(frozen=True, kw_only=True)
class StartedVideo(VideoStream):
    """Makes videos that begin with frames that the user gives and continue them.

    The given frames appear unchanged. The frames after them are decoded from latents; the
    reconstruction of the last given frame differs from its pixels. That difference, less half of
    the decoded change at the join, is added to the following frames and fades over eight of them.

    Attributes:
        video: the model.
        frames: first frames of every video, at the model's frame size and rate.

    Raises:
        ValueError: ``frames`` have another size, or the model cannot continue a video.
        FloatingPointError: a latent of the given frames is not finite.
    """

    video: LongVideo
    frames: UInt8[np.ndarray, "t h w 3"]

    def __post_init__(self) -> None:
        check_size(self.video, self.frames)
        _ = self._start  # encodes, or raises a ValueError

    @property
    def grain(self) -> int:
        """Number of frames that each rollout step but the first adds; steering acts at steps."""
        return self.video.grain

    @property
    def sampled_from(self) -> int:
        return len(self.frames) - self._start.shared

    @property
    def first_step_frames(self) -> int:
        return self.video.rollout.first_step_frames(self.video.samplers, self._start.shared)

    @torch.inference_mode()
    def __call__(
        self,
        request: Request,
        frames: int,
        state: Mapping[str, Tensor] | None = None,
        steering: Steering | None = None,
    ) -> Iterator[Part]:
        """Yield ``frames`` frames of each requested video, given frames included, in order of time.

        Arguments are those of ``VideoStream.__call__``.

        Raises:
            ValueError: ``frames`` is not more than the number of given frames, or a network does
                not read a signal.
        """
        check_frames(frames)
        self.check_length(frames)
        state = state or {}
        position = int(state.get("given.opening", 0))
        yield from self._opening(position, len(request.seeds))
        yield from self._rest(request, frames - len(self.frames), state, steering)

    def check_length(self, frames: int, closing: int = 0) -> None:
        """Raise a ValueError unless ``frames`` is more than the number of given frames.

        ``closing`` more frames, which close a loop, are counted in the error message.
        """
        if frames <= len(self.frames):
            end = f" and the {closing} that close the loop" if closing else ""
            given = plural(len(self.frames), "given frame")
            raise ValueError(
                f"frames={frames + closing} must be more than the {given} "
                f"with which the video begins{end}; ask for more"
            )

    def _opening(self, position: int, videos: int) -> Iterator[Part]:
        """Yield the given frames from index ``position`` on, for each of ``videos`` videos."""
        for first in range(position, len(self.frames), OPENING_CHUNK):
            part = self.frames[first : first + OPENING_CHUNK]
            pixels = to_model(part)[None].expand(videos, -1, -1, -1, -1)
            yield Part(pixels, {"given.opening": torch.tensor(first + len(part))}, {})

    def _rest(
        self, request: Request, frames: int, state: Mapping[str, Tensor], steering: Steering | None
    ) -> Iterator[Part]:
        """Yield ``frames`` sampled frames after the given ones, without those before ``state``."""
        start = self._start
        inner = state if "step" in state else None
        made, rest = int(state.get("given.made", 0)), state.get("given.rest")
        signals = {**request.signals, **_expanded(start.signals, len(request.seeds))}
        joined, changes, copy = replace(request, signals=signals), {}, start.copy
        for part in self._joined(joined, frames + start.shared, inner, steering):
            pixels, changes = part.pixels, {**changes, **part.changes}
            last = start.shared - made - 1  # place of the last given frame's copy in this part
            if 0 <= last < pixels.shape[2]:
                copy = pixels[:, :, last]
            made += pixels.shape[2]
            pixels = pixels[:, :, max(last + 1, 0) :]
            if not pixels.shape[2]:
                continue
            if rest is None:
                assert copy is not None
                rest = to_model(self.frames[-1:])[:, 0].to(copy) - copy
                rest = rest - SOFTENED * (pixels[:, :, 0] - copy)
            number = torch.arange(made - pixels.shape[2], made) - start.shared + 1
            share = (1 - number / (FADE + 1)).clamp_min(0).to(pixels)
            pixels = pixels + share[:, None, None] * rest[:, :, None].to(pixels)
            known = {"given.opening": torch.tensor(len(self.frames)), "given.rest": rest}
            yield Part(pixels, {**part.state, **known, "given.made": torch.tensor(made)}, changes)
            changes = {}

    @cached_property
    def _start(self) -> Start:
        return start(self.video, self.frames)

    @cached_property
    def _joined(self) -> LongVideo:
        """The model, in which the network that continues videos samples the first clip too."""
        samplers = self.video.samplers
        return replace(self.video, samplers={**samplers, "first": samplers["next"]})


def _expanded(signals: Signals, videos: int) -> Signals:
    return rows(signals, torch.zeros(videos, dtype=torch.long))
