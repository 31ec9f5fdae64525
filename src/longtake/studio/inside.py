"""The job behind the tab *Inside*: reconstruction, latents and noisy latents of an upload."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.diffusion.signals import no_context
from longtake.given import read_given_image, read_given_video
from longtake.given.encoding import encoded
from longtake.latents import Latent
from longtake.metrics.pairs import pair_scores
from longtake.model import VideoModel
from longtake.noise import SampleNoise
from longtake.reconstruct import reconstruct_frames
from longtake.studio.settings import ReconstructSettings
from longtake.studio.work import Work
from longtake.text import Prompt
from longtake.video import VideoWriter, to_model, to_pixels, write_image
from longtake.video.pictures import SUFFIXES
from longtake.vocabulary import NO_LABEL

MOST_FRAMES = 512
GAP = 1
CHANNELS_SHOWN = 8
PLANES = ("content", "motion_height", "motion_width")


def run_reconstruct(settings: ReconstructSettings, work: Work) -> dict[str, Any]:
    """Reconstruct an upload, and show latents and noisy latents of its first clip.

    Of a longer upload the first 512 frames are reconstructed. Returns JSON data: the
    ``pair_scores`` of the reconstruction; ``frames``, their number; ``latents``, names of pictures
    of latents; ``noise``, a list of ``time`` and the files ``noisy`` and ``estimate``.
    """
    model = work.loaded.model(settings.model)
    frames = _frames(model, settings, work)
    work.check()
    again = reconstruct_frames(model.autoencoder, frames)
    for name, video in (("original.mp4", frames), ("reconstruction.mp4", again)):
        with VideoWriter(work.files / name, model.index.fps, overwrite=True) as writer:
            writer.write(video)
    work.emit("progress", done=1, total=2)
    scores = pair_scores(frames, again, torch.device("cpu"))
    z = _encoded(model, frames)
    pictures = latent_pictures(model, z)
    for name, picture in pictures.items():
        write_image(work.files / f"latents_{name}.png", picture, overwrite=True)
    shown = _noise_pictures(model, frames, z, settings.times, work)
    return {**scores, "frames": len(frames), "latents": sorted(pictures), "noise": shown}


def _frames(
    model: VideoModel, settings: ReconstructSettings, work: Work
) -> UInt8[np.ndarray, "t h w 3"]:
    """The upload at the size of the model; an image as a still clip."""
    path, (length, *size) = work.upload(settings.upload), model.autoencoder.spec.clip
    if path.suffix in SUFFIXES:
        image = read_given_image(path, (size[0], size[1]), model.index.fps).frames
        return image.repeat(length, axis=0)
    video = read_given_video(path, (size[0], size[1]), model.index.fps)
    return video.frames[:MOST_FRAMES]


@torch.inference_mode()
def _encoded(model: VideoModel, frames: UInt8[np.ndarray, "t h w 3"]) -> Latent:
    """Scaled latents of the first clip, padded with its last frame."""
    length = model.autoencoder.spec.clip[0]
    clip = frames[:length]
    clip = np.pad(clip, ((0, length - len(clip)), *3 * ((0, 0),)), "edge")
    z = model.autoencoder.encode(to_model(clip)[None]).mean
    return model.index.latent_scaling.forward(z)


def latent_pictures(model: VideoModel, z: Latent) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
    """Latents of the first clip of a batch as grey pictures by name.

    A volume has a picture for each of its first eight channels, with the latent frames side by
    side; a triplane has one for each plane, with its channels side by side.
    """
    planes = getattr(getattr(model.autoencoder, "config", None), "planes", None)
    if planes is not None:
        split = zip(PLANES, planes.split(z), strict=True)
        return {name: _row(plane[0]) for name, plane in split}
    return {f"channel_{i}": _row(z[0, i]) for i in range(min(z.shape[1], CHANNELS_SHOWN))}


def _row(maps: Float[Tensor, "n h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Maps side by side, from black at their least value to white at their greatest."""
    low, high = maps.min(), maps.max()
    grey = ((maps - low) / (high - low).clamp_min(1e-6) * 255).round().to(torch.uint8).numpy()
    grey = np.pad(grey, ((0, 0), (0, 0), (0, GAP)), constant_values=255)
    row = rearrange(grey, "n h w -> h (n w)")[:, :-GAP]
    return np.repeat(row[..., None], 3, axis=2)


@torch.inference_mode()
def _noise_pictures(
    model: VideoModel,
    frames: UInt8[np.ndarray, "t h w 3"],
    z: Latent,
    times: Sequence[float],
    work: Work,
) -> list[dict[str, Any]]:
    """Write decoded noisy latents and their clean estimates; list ``time`` and file names of each.

    The list is empty for an autoencoder alone.
    """
    denoiser, diffusion = model.denoisers.get("first"), model.index.diffusion
    if denoiser is None or diffusion is None:
        return []
    spec, found = denoiser.spec, []
    z = spec.cut(z, spec.clip[0]) if spec.frame_axis is None else _keyframes(model, frames)
    estimate = diffusion.estimator(denoiser, _signals(model))
    noise = SampleNoise([0], z.device).normal(spec.shape)
    for number, time in enumerate(times):
        work.check()
        t = torch.full((1,), time)
        noisy = diffusion.add_noise(spec, z, noise, t)
        shown = {"noisy": noisy, "estimate": estimate(noisy, t)}
        names = {}
        for name, latent in shown.items():
            names[name] = f"noise_{number:02d}_{name}.png"
            write_image(work.files / names[name], _decoded(model, latent), overwrite=True)
        found.append({"time": time, **names})
        work.emit("progress", done=number + 1, total=len(times))
    return found


def _keyframes(model: VideoModel, frames: UInt8[np.ndarray, "t h w 3"]) -> Latent:
    """Latent frames as the first network reads them: as many, and as far apart, as in a video."""
    video, spec = model.long_video(), model.denoisers["first"].spec
    stride = video.rollout.latent_stride(video.samplers)
    count = 1 + (spec.frames - 1) * stride
    z = encoded(video, frames, count)
    return z.index_select(spec.time_axis, torch.arange(0, count, stride))


def _signals(model: VideoModel) -> Any:
    """Signals of a clip without a label, text or context."""
    first = model.denoisers["first"]
    label = None if model.labels.names.unlabelled else NO_LABEL
    prompt = Prompt("") if "text" in first.needs else None
    context = no_context(first.spec, 1) if "context" in first.reads else {}
    return {**context, **model.signals_of([0], label, prompt)}


def _decoded(model: VideoModel, z: Latent) -> UInt8[np.ndarray, "h w 3"]:
    """The middle frame of a decoded clip; of a volume, its middle latent frame as a still clip."""
    spec = model.autoencoder.spec
    if spec.frame_axis is not None:
        middle = torch.tensor([z.shape[spec.time_axis] // 2] * spec.frames)
        z = z.index_select(spec.time_axis, middle)
    pixels = model.autoencoder.decode(model.index.latent_scaling.inverse(z))
    return to_pixels(pixels[0, :, pixels.shape[2] // 2 :][:, :1])[0]
