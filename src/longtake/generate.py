"""Video of any length from trained networks: sampled and decoded as it comes."""

import json
import operator
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.autoencoders.base import StreamDecoder, VideoAutoencoder
from longtake.checkpoint import CheckpointError
from longtake.config import parse, to_dict
from longtake.diffusion.signals import ContextCase, Signal
from longtake.latents import LatentScaling, finite
from longtake.registry import AnyGuidance
from longtake.rollout import Change, Request, Role, Rollout, Samplers, State, Steering
from longtake.video.pixels import to_bytes

POSITION = frozenset({"step", "pushed", "guidance"})
"""Names of tensors that the state of every ``Part`` has: number of rollout steps made, number of
frames given to the decoder, and changed guidance as JSON (null if it is not changed)."""


class Part(NamedTuple):
    """Frames of some videos that are ready, and the state from which the videos continue.

    Attributes:
        pixels: the decoder's frames, about in [-1, 1], not clamped.
        state: tensors to store; passed to a ``VideoStream`` they continue the videos after
            ``pixels``.
        changes: changes of conditions (signals) or guidance since the previous part, by number of
            the rollout's step.
    """

    pixels: Float[Tensor, "b 3 t h w"]
    state: dict[str, Tensor]
    changes: Mapping[int, Change]

    @property
    def frames(self) -> UInt8[np.ndarray, "b t h w 3"]:
        """``pixels`` as 8-bit frames."""
        return self.bytes.cpu().numpy()

    @property
    def bytes(self) -> UInt8[Tensor, "b t h w 3"]:
        """``pixels`` as 8-bit frames on their device."""
        return to_bytes(self.pixels)


class VideoStream(ABC):
    """Makes the frames of requested videos, in order of time, by the steps of a rollout.

    A rollout step samples the next clip, or the next frames, of all videos.
    """

    @property
    @abstractmethod
    def grain(self) -> int:
        """Number of frames that each rollout step, such as one sampled clip, but the first adds.

        Steering takes effect where a step begins.
        """

    @property
    def sampled_from(self) -> int:
        """Index of the video's frame at which the first rollout step begins.

        It is 0, unless frames that are given come before.
        """
        return 0

    @property
    def first_step_frames(self) -> int:
        """Number of frames that the first rollout step adds, from ``sampled_from`` on."""
        return self.grain

    @abstractmethod
    def __call__(
        self,
        request: Request,
        frames: int,
        state: Mapping[str, Tensor] | None = None,
        steering: Steering | None = None,
    ) -> Iterator[Part]:
        """Yield the frames of the requested videos, in order of time, in constant memory.

        Args:
            request: seeds and conditions (signals) of the videos.
            frames: number of frames of each video.
            state: ``state`` of a part, after which to continue; None: from the start.
            steering: callbacks that change, watch or cancel the videos.

        Raises:
            ValueError: a network does not read a signal, or ``frames`` cannot be made.
            CheckpointError: ``state`` lacks a tensor.
            Cancelled: ``steering`` asked for it.
            FloatingPointError: latents or decoded frames are not finite.
        """

    def step_of(self, frame: int) -> int:
        """Number, from 0, of the first rollout step whose new frames begin at ``frame`` or later.

        ``frame`` is a frame of the video, in which frames that two clips share occur once.
        """
        if frame <= self.sampled_from:
            return 0
        later = frame - self.sampled_from - self.first_step_frames
        return 1 + max(-(-later // self.grain), 0)

    def frame_of(self, step: int) -> int:
        """Index of the first frame of the video that the rollout step of this number adds."""
        later = self.first_step_frames + (step - 1) * self.grain if step else 0
        return self.sampled_from + later

    def steps(self, frames: int) -> int:
        """Number of rollout steps in a video of ``frames`` frames; later changes have no effect."""
        return self.step_of(frames)


@dataclass(frozen=True, kw_only=True)
class LongVideo(VideoStream):
    """Makes videos of any length: samples clips, joins them by a rollout and decodes them.

    Attributes:
        samplers: clip sampler of each role: ``first``, ``next`` and ``interpolator``.
        rollout: strategy that conditions each clip on earlier ones.
        autoencoder: decodes the latents.
        latent_scaling: maps the autoencoder's latents to the denoisers' and back.
        context_cases: which frames of a clip the network of each role was trained to be given;
            a role that is missing states nothing about it.
    """

    samplers: Samplers
    rollout: Rollout
    autoencoder: VideoAutoencoder
    latent_scaling: LatentScaling
    context_cases: Mapping[Role, Sequence[ContextCase]] = field(default_factory=dict)

    @property
    def grain(self) -> int:
        """Number of frames that each rollout step, such as one sampled clip, but the first adds.

        Steering takes effect where a step begins.
        """
        return self.rollout.grain(self.samplers)

    @property
    def first_step_frames(self) -> int:
        return self.rollout.first_step_frames(self.samplers)

    @property
    def most_frames(self) -> int | None:
        """Number of frames of the longest video that can be made; None: any length."""
        return self.rollout.most_frames(self.samplers)

    @torch.inference_mode()
    def __call__(
        self,
        request: Request,
        frames: int,
        state: Mapping[str, Tensor] | None = None,
        steering: Steering | None = None,
    ) -> Iterator[Part]:
        """Yield the frames of the requested videos, in order of time, in constant memory.

        Args:
            request: seeds and conditions (signals) of the videos.
            frames: number of frames of each video; up to a few more are made.
            state: ``state`` of a part, after which to continue, bit for bit on the same machine;
                None: from the start.
            steering: callbacks that change, watch or cancel the videos.

        Raises:
            ValueError: a network does not read a signal, or ``frames`` is not a whole number of 1
                or more.
            CheckpointError: ``state`` lacks a tensor.
            Cancelled: ``steering`` asked for it.
            FloatingPointError: latents or decoded frames are not finite.
        """
        check_frames(frames)
        names = [f"seed {seed}" for seed in request.seeds]
        spec = self.autoencoder.spec
        overlap_frames = self.samplers["first"].spec.clip_overlap_frames
        decoder = self.autoencoder.stream_decoder(clip_overlap=overlap_frames)
        start, pushed = _restore(state, decoder)
        changes: dict[int, Change] = {}
        for chunk in self.rollout(self.samplers, request, start, steering):
            if chunk.change is not None:
                changes[chunk.state.step - 1] = chunk.change
            first = pushed
            z = finite(spec.cut(chunk.z, frames - pushed), "sampled latents", names, first)
            pushed += spec.pixel_frames(z) - (overlap_frames if pushed else 0)
            pixels = [decoder.push(self.latent_scaling.inverse(z))]
            if pushed >= frames:
                pixels.append(decoder.flush())
            ready = [video for video in pixels if video is not None]
            if ready:
                decoded = finite(torch.cat(ready, 2), "decoded frames", names, first)
                yield Part(decoded, _state(chunk.state, decoder, pushed), changes)
                changes = {}
            if pushed >= frames:
                return


def check_frames(frames: int) -> None:
    """Raise a ValueError unless a video can have ``frames`` frames: a whole number of 1 or more."""
    try:
        valid = operator.index(frames) >= 1
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(f"frames={frames!r}: expected a whole number of 1 or more")


def _state(rollout: State, decoder: StreamDecoder, pushed: int) -> dict[str, Tensor]:
    return {
        "step": torch.tensor(rollout.step),
        "pushed": torch.tensor(pushed),
        **{f"latents.{k}": v for k, v in rollout.latents.items()},
        **{f"memory.{k}": v for k, v in rollout.memory.items()},
        **change_state(rollout.change),
        **{f"decoder.{k}": v for k, v in decoder.state().items()},
    }


def change_state(change: Change) -> dict[str, Tensor]:
    """Serialise a change of conditions (signals) or guidance to tensors for ``stored_change``."""
    signals, guidance = change
    settings = list(json.dumps(guidance and to_dict(guidance)).encode())
    return {
        "guidance": torch.tensor(settings, dtype=torch.uint8),
        **{f"value.{k}": signal.value for k, signal in signals.items()},
        **{f"null.{k}": signal.null for k, signal in signals.items()},
    }


def stored_change(state: Mapping[str, Tensor]) -> Change:
    """Read the change that ``change_state`` serialised among the tensors of a ``Part``'s state.

    An empty ``Change`` if no change is stored.

    Raises:
        ConfigError: the stored guidance is not valid.
    """
    if "guidance" not in state:
        return Change()
    names = [key.removeprefix("value.") for key in state if key.startswith("value.")]
    signals = {k: Signal(value=state[f"value.{k}"], null=state[f"null.{k}"]) for k in names}
    return Change(signals, parse(AnyGuidance | None, json.loads(bytes(state["guidance"].tolist()))))


def _restore(state: Mapping[str, Tensor] | None, decoder: StreamDecoder) -> tuple[State, int]:
    """Restore the decoder from the state of a ``Part``; None is that of a video not yet begun.

    Returns the rollout's state, and the number of frames of which the decoder has the latents.
    """
    if state is None:
        return State(), 0
    nulls = {name.replace("value.", "null.", 1) for name in state if name.startswith("value.")}
    if lacking := sorted((POSITION | nulls) - state.keys()):
        raise CheckpointError(f"the state of the video lacks {lacking[0]!r}; begin the video again")
    parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in state.items():
        part, _, name = key.partition(".")
        parts[part][name] = tensor
    decoder.restore(parts["decoder"])
    rollout = State(int(state["step"]), parts["latents"], parts["memory"], stored_change(state))
    return rollout, int(state["pushed"])
