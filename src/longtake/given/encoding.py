"""Latents of given frames, and what a network reads of them."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from longtake.diffusion.signals import Signals, context_frames, previous_signal
from longtake.generate import LongVideo
from longtake.latents import Latent, finite
from longtake.video import to_model


class Start(NamedTuple):
    """How a model continues frames that the user gives.

    Attributes:
        signals: what the first clip's network is conditioned on; a batch of one.
        shared: number of first frames of the decoded video that reconstruct the last given frames.
        copy: reconstruction of the last given frame by the autoencoder, ``(1, 3, h, w)``, about in
            [-1, 1]; None if the decoded video contains it.
    """

    signals: Signals
    shared: int
    copy: Tensor | None


def check_size(video: LongVideo, frames: np.ndarray) -> None:
    """Raise a ValueError unless ``frames``, of shape (t, h, w, 3), have the model's frame size."""
    size = video.autoencoder.spec.clip[1:]
    if frames.shape[1:3] != size:
        raise ValueError(
            f"given frames are {frames.shape[1]}x{frames.shape[2]} pixels, expected "
            f"{size[0]}x{size[1]} (height x width); resize them to that"
        )


def frames_per_latent(video: LongVideo) -> int:
    """Number of frames of video per latent frame of a model whose latents have a time axis."""
    spec = video.autoencoder.spec
    return spec.clip[0] // spec.frames


@torch.inference_mode()
def held(video: LongVideo, frame: Float[Tensor, "b 3 1 h w"]) -> Latent:
    """Encode images in [-1, 1], each as a still video, to one latent frame ``(b, c, 1, h, w)``.

    The latent is scaled as the model's denoisers read it.

    Raises:
        FloatingPointError: a latent is not finite.
    """
    spec = video.autoencoder.spec
    z = _encode(video, frame.expand(-1, -1, spec.clip[0], -1, -1))
    return z.narrow(spec.time_axis, spec.frames - 1, 1)


@torch.inference_mode()
def encoded(video: LongVideo, frames: np.ndarray, latent_frames: int) -> Latent:
    """Encode the end of a video to ``latent_frames`` latent frames, scaled as denoisers read them.

    ``frames`` are the video, uint8 ``(t, h, w, 3)``. It is encoded in windows of the trained number
    of frames. A video that is too short is preceded by copies of its first frame.

    Raises:
        FloatingPointError: a latent is not finite.
    """
    spec = video.autoencoder.spec
    window, factor = spec.clip[0], frames_per_latent(video)
    count = -(-latent_frames * factor // window)
    windows = _padded(frames, count * window).reshape(count, window, *frames.shape[1:])
    z = [_encode(video, to_model(part)[None]) for part in windows]
    z = torch.cat(z, spec.time_axis)
    return z.narrow(spec.time_axis, z.shape[spec.time_axis] - latent_frames, latent_frames)


def start(video: LongVideo, frames: np.ndarray) -> Start:
    """Encode frames, uint8 ``(t, h, w, 3)``, as the condition of the clip that continues them.

    That is the signal ``previous`` of a network that reads the previous clip. A network that reads
    context frames gets as many as the rollout's clips share, or fewer if the video is short; an
    image is one context frame, encoded as a still video.

    Raises:
        ValueError: the network reads neither context frames nor the previous clip.
        FloatingPointError: a latent of the given frames is not finite.
    """
    network = video.samplers["next"]
    if "context" in network.reads:
        factor, stride = frames_per_latent(video), video.rollout.latent_stride(video.samplers)
        most = 1 + max(len(frames) - factor, 0) // (stride * factor)
        count = min(video.rollout.context_latent_frames, most)
        latents = 1 + (count - 1) * stride
        z = encoded(video, frames, latents)
        axis = network.spec.time_axis
        keys = {i: z.select(axis, i * stride) for i in range(count)}
        return Start(context_frames(network.spec, keys), latents * factor, None)
    if "previous" in network.reads:
        pixels = to_model(_padded(frames, video.autoencoder.spec.clip[0]))[None]
        z = _encode(video, pixels)
        copy = video.autoencoder.decode(video.latent_scaling.inverse(z))[:, :, -1]
        overlap = network.spec.clip_overlap_frames
        return Start(previous_signal(z), overlap, None if overlap else copy)
    raise ValueError(
        "this model begins every video from noise: its networks read neither context frames nor "
        "the clip before, so no first frames can be given; choose a model that continues videos"
    )


def _padded(frames: np.ndarray, count: int) -> np.ndarray:
    """The last ``count`` frames; fewer are preceded by copies of their first."""
    missing = max(count - len(frames), 0)
    return np.pad(frames[-count:], ((missing, 0), *3 * ((0, 0),)), "edge")


@torch.inference_mode()
def _encode(video: LongVideo, pixels: Float[Tensor, "b 3 t h w"]) -> Latent:
    weight = next(video.autoencoder.parameters())
    rows = [f"the given frames of video {row}" for row in range(len(pixels))]
    z = video.autoencoder.encode(pixels.to(weight.device)).mean
    return video.latent_scaling.forward(finite(z, "latents", rows, 0))
