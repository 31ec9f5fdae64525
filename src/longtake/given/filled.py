"""A video between given frames: every pair of neighbours is filled by the interpolation network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.diffusion.signals import Signals, context_frames
from longtake.generate import (
    LongVideo,
    Part,
    VideoStream,
    change_state,
    check_frames,
    stored_change,
)
from longtake.given.encoding import check_size, frames_per_latent, held
from longtake.given.started import SOFTENED
from longtake.latents import finite
from longtake.noise import derive
from longtake.rollout import Request, Role, Steering
from longtake.rollout.base import following
from longtake.video import to_model


@dataclass(frozen=True, kw_only=True)
class FilledVideo(VideoStream):
    """Fills the gaps between frames that the user gives; these themselves appear unchanged.

    Each given frame is encoded as a still video to one latent frame; the interpolation network
    samples the latent frames between two of them. At both ends of a gap the decoded frames differ
    from the given pixels; these differences, less half of the decoded change between the given and
    the next frame, are added to the new frames, fading from the one into the other.

    Attributes:
        video: the model, with a network in the role ``interpolator``.
        frames: two given frames or more, of the model's frame size.

    Raises:
        ValueError: the model has no such network, ``frames`` have another size, or only one is
            given.
    """

    video: LongVideo
    frames: UInt8[np.ndarray, "t h w 3"]

    def __post_init__(self) -> None:
        check_size(self.video, self.frames)
        if "interpolator" not in self.video.samplers:
            raise ValueError(
                "this model has no network that fills in between two given frames (the role "
                "interpolator); choose a model that has one"
            )
        if len(self.frames) < 2:
            raise ValueError("one frame is given, expected two or more to fill in between")

    @property
    def factor(self) -> int:
        """Distance between two given frames in the video, in frames."""
        return fill_factor(self.video)

    @property
    def length(self) -> int:
        """Number of frames of the whole video, given frames included."""
        return (len(self.frames) - 1) * self.factor + 1

    @property
    def grain(self) -> int:
        """Number of frames from a given frame to the next; steering takes effect there."""
        return self.factor

    def steps(self, frames: int) -> int:
        """Number of gaps in the first ``frames`` frames of the video."""
        return self.step_of(min(frames, self.length - 1))

    @torch.inference_mode()
    def __call__(
        self,
        request: Request,
        frames: int,
        state: Mapping[str, Tensor] | None = None,
        steering: Steering | None = None,
    ) -> Iterator[Part]:
        """Yield the frames of the requested videos, given frames included, in order of time.

        Arguments are those of ``VideoStream.__call__``; ``frames`` counts given frames too, and the
        gap in which the last of them lies is made whole.

        Raises:
            ValueError: ``frames`` is not from 1 to ``length``, or a network does not read a signal.
        """
        check_frames(frames)
        if frames > self.length:
            raise ValueError(
                f"frames={frames} must be at most {self.length}: {len(self.frames)} given frames, "
                f"{self.factor} apart"
            )
        check_text(self.video, "interpolator", request)
        steering = steering or Steering()
        state = state or {}
        total = stored_change(state)
        for pair in range(int(state.get("given.pair", 0)), self.steps(frames)):
            if (change := steering.change(pair)) is not None:
                total = total.then(change)
            pixels = self._pair(total.of(request, steering), pair)
            if pair == len(self.frames) - 2:
                pixels = torch.cat([pixels, self._own(pair + 1, pixels)], 2)
            position = {"given.pair": torch.tensor(pair + 1), **change_state(total)}
            yield Part(pixels, position, {} if change is None else {pair: change})

    def _pair(self, request: Request, pair: int) -> Float[Tensor, "b 3 t h w"]:
        """The first given frame of a pair and the new ones after it, without the second given."""
        seeds = [derive(seed, "between", pair) for seed in request.seeds]
        left, right = (to_model(self.frames[i : i + 1])[None] for i in (pair, pair + 1))
        new = fill_gap(self.video, request, seeds, left, right, place=pair * self.factor)
        return torch.cat([self._own(pair, new), new], 2)

    def _own(self, index: int, like: Tensor) -> Float[Tensor, "b 3 1 h w"]:
        """The given frame of this index, repeated for each video of the batch ``like``."""
        pixels = to_model(self.frames[index : index + 1])[None].to(like)
        return pixels.expand(len(like), -1, -1, -1, -1)


def fill_factor(video: LongVideo) -> int:
    """Distance in frames from a given frame to the next, if ``video`` fills in between them."""
    latents = video.samplers["interpolator"].spec.frames
    return (latents - 2) * frames_per_latent(video) + 1


def check_text(video: LongVideo, role: Role, request: Request) -> None:
    """Raise a ValueError if there is a prompt, but the network of ``role`` reads no text.

    A prompt without which the model makes no videos is accepted.
    """
    needed = video.samplers[role].reads | video.samplers["first"].denoiser.needs
    if "text" in request.signals and "text" not in needed:
        raise ValueError(
            "this model's network that fills in between given frames reads no text; give no prompt"
        )


def readable(video: LongVideo, role: Role, signals: Signals) -> Signals:
    """The signals without those of first clips, and those that only other roles' networks read.

    The latter, such as labels, are not needed, as the given frames show what they say.
    """
    reads = (each.reads for each in video.samplers.values())
    shown = frozenset[str]().union(*reads) - video.samplers[role].reads
    return {k: v for k, v in following(signals).items() if k not in shown}


def fill_gap(
    video: LongVideo,
    request: Request,
    seeds: Sequence[int],
    left: Float[Tensor, "n 3 1 h w"],
    right: Float[Tensor, "n 3 1 h w"],
    *,
    place: int = 0,
) -> Float[Tensor, "b 3 t h w"]:
    """Sample the frames between two frames, each encoded as a still video to a latent frame.

    Args:
        video: the model, with a network in the role ``interpolator``.
        request: signals and guidance; context frames and ``previous`` in it are left out.
        seeds: one per video.
        left: frame before the gap, in [-1, 1], of each video or of all.
        right: frame after the gap, in [-1, 1], of each video or of all.
        place: index of the video's frame before the gap, for the error message.

    Returns:
        the frames of the gap, about in [-1, 1], without those before and after it.

    Raises:
        FloatingPointError: sampled latents are not finite.
    """
    sample, videos = video.samplers["interpolator"], len(seeds)
    axis, factor = sample.spec.time_axis, frames_per_latent(video)
    z = [held(video, frame).select(axis, 0) for frame in (left, right)]
    ends = dict(zip((0, sample.spec.frames - 1), z, strict=True))
    ends = {i: x.expand(videos, *x.shape[1:]) for i, x in ends.items()}
    signals = context_frames(sample.spec, ends, readable(video, "interpolator", request.signals))
    sampled = sample(signals, seeds, request.on_evaluation, request.guidance).z
    names = [f"seed {seed}" for seed in request.seeds]
    latents = video.latent_scaling.inverse(finite(sampled, "sampled latents", names, place))
    decoded = torch.cat(list(video.autoencoder.stream_decode([latents])), 2)
    first, last = factor - 1, (sample.spec.frames - 1) * factor
    before = left.to(decoded) - decoded[:, :, first : first + 1]
    after = right.to(decoded) - decoded[:, :, last : last + 1]
    step = decoded.diff(dim=2)
    before = before - SOFTENED * step[:, :, first : first + 1]
    after = after + SOFTENED * step[:, :, last - 1 : last]
    apart = fill_factor(video)
    share = (torch.arange(1, apart) / apart).to(decoded)[:, None, None]
    return decoded[:, :, first + 1 : last] + torch.lerp(before, after, share)
