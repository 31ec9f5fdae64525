"""Videos of one clip in which frames that the user gives stand at stated places."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from longtake.config import plural
from longtake.diffusion.signals import CONTEXT, context_frames, rows
from longtake.generate import (
    LongVideo,
    Part,
    VideoStream,
    change_state,
    check_frames,
    stored_change,
)
from longtake.given.encoding import check_size, encoded, frames_per_latent, held
from longtake.given.filled import check_text, readable
from longtake.given.started import FADE, SOFTENED
from longtake.latents import finite
from longtake.rollout import Request, Role, Steering
from longtake.rollout.base import sample_clip
from longtake.video import to_model

Given = Float[Tensor, "1 3 1 h w"]
"""A frame that the user gives, in [-1, 1]."""


@dataclass(frozen=True, kw_only=True)
class PlacedVideo(VideoStream):
    """Makes videos of one clip, in which given frames stand at stated places, unchanged.

    A latent frame stands for several frames of the clip. A single given frame is encoded as a still
    video to the latent frame in which it lies; several fill whole latent frames. The network
    samples the others: it must have been trained with these latent frames as context frames.

    At the given frames the decoded ones differ. Differences on both sides of new frames, less half
    of the decoded change there, are added to the new frames and fade over eight of them.

    Attributes:
        video: the model.
        frames: given frames, of the model's frame size and rate, by the place of the first of them:
            its index in the clip, from 0.
        first: index, in the clip, of the video's first frame.
        last: index, in the clip, of the video's last frame; None: that of the clip.

    Raises:
        ValueError: given frames have another size, or a place outside the video; or no network of
            the model was trained with context frames there.
        FloatingPointError: a latent of the given frames is not finite.
    """

    video: LongVideo
    frames: Mapping[int, UInt8[np.ndarray, "t h w 3"]]
    first: int = 0
    last: int | None = None

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError("frames={}: expected some frames by their place in the clip")
        for frames in self.frames.values():
            check_size(self.video, frames)
        _ = self.role
        clip, end = self._clip_frames, max(k + len(each) for k, each in self.frames.items())
        last = self.first + self.length - 1
        if not (0 <= self.first <= min(self.frames) and end <= last + 1 <= clip):
            raise ValueError(
                f"first={self.first}, last={last}: given frames have the places "
                f"{min(self.frames)} to {end - 1} of a clip of {plural(clip, 'frame')}; the video "
                "must contain them"
            )

    @property
    def role(self) -> Role:
        """Role of the network that samples the clip; a ValueError if the model has none."""
        roles = _roles(self.video)
        mask = _mask(self.video, roles[0], self.frames)
        for role in roles:
            if any(case.draws(mask) for case in self.video.context_cases.get(role, ())):
                return role
        raise ValueError(_untrained(self.video, mask))

    @property
    def length(self) -> int:
        """Number of frames of the longest video: from ``first`` to ``last``."""
        last = self._clip_frames - 1 if self.last is None else self.last
        return last + 1 - self.first

    @property
    def _clip_frames(self) -> int:
        return self.video.samplers[self.role].spec.clip[0]

    @property
    def grain(self) -> int:
        """Number of frames of the video, which is made in one step."""
        return self.length

    @torch.inference_mode()
    def __call__(
        self,
        request: Request,
        frames: int,
        state: Mapping[str, Tensor] | None = None,
        steering: Steering | None = None,
    ) -> Iterator[Part]:
        """Yield the first ``frames`` frames of the requested videos, given frames included.

        Arguments are those of ``VideoStream.__call__``.

        Raises:
            ValueError: ``frames`` is not from the number up to the last given frame to ``length``,
                or a network does not read a signal.
        """
        check_frames(frames)
        self.check_length(frames)
        check_text(self.video, self.role, request)
        if (state or {}).get("given.clip") is not None:
            return
        steering = steering or Steering()
        change, total = steering.change(0), stored_change({})
        if change is not None:
            total = total.then(change)
        pixels = self._clip(total.of(request, steering))[:, :, self.first :][:, :, :frames]
        stored = {"given.clip": torch.tensor(1), **change_state(total)}
        yield Part(pixels, stored, {} if change is None else {0: change})

    def check_length(self, frames: int) -> None:
        """Raise a ValueError unless a video of ``frames`` frames has all given ones."""
        least = max(place + len(given) for place, given in self.frames.items()) - self.first
        if frames < least:
            raise ValueError(
                f"frames={frames} must be at least {least}, to hold the last given frame; ask for "
                "more"
            )
        if frames > self.length:
            raise ValueError(
                f"frames={frames} must be at most {self.length}: given frames have their places in "
                "one clip of this model; ask for fewer"
            )

    def _clip(self, request: Request) -> Float[Tensor, "b 3 t h w"]:
        """Sample and decode the clip, with the given frames in it."""
        sample, videos = self.video.samplers[self.role], len(request.seeds)
        keys = _latents(self.video, self.frames)
        signals = context_frames(sample.spec, keys)
        signals = rows(signals, torch.zeros(videos, dtype=torch.long))
        signals = {**readable(self.video, self.role, request.signals), **signals}
        z, _ = sample_clip(sample, signals, request, 0)
        names = [f"seed {seed}" for seed in request.seeds]
        latents = self.video.latent_scaling.inverse(finite(z, "sampled latents", names, 0))
        decoded = torch.cat(list(self.video.autoencoder.stream_decode([latents])), 2)
        given = {
            place + i: to_model(frames[i : i + 1])[None].to(decoded)
            for place, frames in self.frames.items()
            for i in range(len(frames))
        }
        return _joined(finite(decoded, "decoded frames", names, 0), given)


def ending_with(
    video: LongVideo, image: UInt8[np.ndarray, "1 h w 3"], frames: int | None = None
) -> PlacedVideo:
    """Make videos of ``frames`` frames of which the last is ``image``; None: as many as possible.

    Raises:
        ValueError: the model was not trained to be given the last frame, or ``frames`` is not from
            2 to the greatest possible number, which counts from a clip's first frame to the first
            frame of its last latent frame.
    """
    spec = video.samplers[_roles(video)[0]].spec
    last = (spec.frames - 1) * frames_per_latent(video)
    first = 0 if frames is None else max(last + 1 - frames, 0)
    made = PlacedVideo(video=video, frames={last: image}, first=first, last=last)
    if frames is not None and frames < 2:
        raise ValueError(f"frames={frames} must be at least 2: the last one is the given image")
    made.check_length(last + 1 if frames is None else frames)
    return made


def _roles(video: LongVideo) -> Sequence[Role]:
    """Roles whose networks sample neighbouring latent frames and read context frames.

    All sample clips of one shape. A ValueError if there are none.
    """
    own: Sequence[Role] = ("first", "next", "interpolator")
    if video.rollout.latent_stride(video.samplers) > 1:  # first clips are of keyframes
        own = ("interpolator",)
    reading = {role for role, each in video.samplers.items() if CONTEXT[0] in each.reads}
    found: Sequence[Role] = [role for role in own if role in reading]
    if not found:
        raise ValueError(
            "this model's networks read no single frames of the clip that they sample, so none can "
            "be given at a place of it; choose a model that reads context frames"
        )
    spec = video.samplers[found[0]].spec
    return [role for role in found if video.samplers[role].spec == spec]


def _mask(
    video: LongVideo, role: Role, frames: Mapping[int, UInt8[np.ndarray, "t h w 3"]]
) -> Bool[Tensor, "f"]:
    """Latent frames of a clip in which given frames lie; a ValueError if they do not fit there."""
    spec, factor = video.samplers[role].spec, frames_per_latent(video)
    mask = torch.zeros(spec.frames, dtype=torch.bool)
    for place, given in sorted(frames.items()):
        end = place + len(given)
        if not 0 <= place < end <= spec.clip[0]:
            raise ValueError(
                f"given frames have the places {place} to {end - 1}, expected 0 to "
                f"{spec.clip[0] - 1}, those of one clip of this model"
            )
        if len(given) > 1 and (place % factor or end % factor):
            raise ValueError(
                f"given frames have the places {place} to {end - 1}, which do not fill whole "
                f"latent frames of this model; begin at a multiple of {factor}, with a number of "
                f"frames that is a multiple of {factor}"
            )
        filled = slice(place // factor, -(-end // factor))
        if mask[filled].any():
            begin = place // factor * factor
            raise ValueError(
                f"the places {begin} to {begin + factor - 1} are one latent frame of this model, "
                "for which frames are given twice; give one image or a whole video of them"
            )
        mask[filled] = True
    if mask.all():
        raise ValueError(
            "given frames fill the whole clip, so there is nothing to make; give fewer"
        )
    return mask


def _untrained(video: LongVideo, mask: Bool[Tensor, "f"]) -> str:
    """Say that no network was trained with the context frames of ``mask``."""
    factor, latents = frames_per_latent(video), mask.nonzero()[:, 0].tolist()
    places = ", ".join(f"{i * factor} to {(i + 1) * factor - 1}" for i in latents)
    kind = "last" if latents == [len(mask) - 1] else "any"
    return (
        f"this model does not state that it was trained with only frames {places} of a clip of "
        f"{len(mask) * factor} given; train one with the case {{kind: {kind}}} in "
        "clip.context.cases, or choose a model that was"
    )


def _latents(
    video: LongVideo, frames: Mapping[int, UInt8[np.ndarray, "t h w 3"]]
) -> dict[int, Float[Tensor, "1 c h w"]]:
    """Latents of given frames, as denoisers read them, by index of the latent frame."""
    axis, factor = video.autoencoder.spec.time_axis, frames_per_latent(video)
    found: dict[int, Tensor] = {}
    for place, given in frames.items():
        if len(given) == 1:
            z = held(video, to_model(given)[None])
        else:
            z = encoded(video, given, len(given) // factor)
        found |= dict(enumerate(z.unbind(axis), place // factor))
    return found


def _joined(
    decoded: Float[Tensor, "b 3 t h w"], given: Mapping[int, Given]
) -> Float[Tensor, "b 3 t h w"]:
    """Put given frames in their places, and fade the differences there over the frames beside."""
    pixels = decoded.clone()
    for place, frame in given.items():
        pixels[:, :, place : place + 1] = frame
    places = sorted(given)
    for left, right in pairwise([-1, *places, decoded.shape[2]]):
        new = torch.arange(left + 1, right)
        inside = left in given and right in given
        span = min(FADE + 1, right - left) if inside else FADE + 1
        for place, step in ((left, 1), (right, -1)):
            if place in given and len(new):
                copy, beside = (decoded[:, :, i : i + 1] for i in (place, place + step))
                rest = given[place] - copy - SOFTENED * (beside - copy)
                share = (1 - (new - place).abs() / span).clamp_min(0).to(decoded)
                pixels[:, :, left + 1 : right] += share[:, None, None] * rest
    return pixels
