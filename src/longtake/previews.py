"""Previews: reconstructions and sampled videos, with contact sheets."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from longtake.autoencoders.base import VideoAutoencoder
from longtake.data.clips import CLIPS_TRIED, ClipReader, ClipSource
from longtake.distributed import Ranks
from longtake.metrics.pairs import pair_scores, perceptual
from longtake.model import VideoModel
from longtake.noise import generator
from longtake.rollout.base import needed_for_longer
from longtake.text import Prompt
from longtake.video import VideoWriter, contact_sheet, write_image
from longtake.video.pixels import to_model, to_pixels

LOGGER = logging.getLogger("longtake")


@torch.no_grad()
def reconstructions(
    autoencoder: VideoAutoencoder, source: ClipSource, count: int, folder: Path, ranks: Ranks
) -> Mapping[str, float]:
    """Write clips side by side with their reconstructions; return measures of these by name.

    The measures are ``psnr``, in dB, of the mean squared error over all clips, and means over
    clips: of ``ssim`` if frames are large enough for it, and of a perceptual distance if its
    package is installed.

    Args:
        autoencoder: the autoencoder.
        source: source of the clips.
        count: number of clips.
        folder: folder to write to.
        ranks: processes that share the clips.

    Raises:
        VideoError: a video cannot be read or written.
    """
    draws = [(i % len(source), generator(0, "look", i), None) for i in range(count + CLIPS_TRIED)]
    reader = ClipReader(source)  # takes the next clip in place of a damaged one
    clips = [reader.clip(draws[number:]).frames for number in range(count)]
    weight = next(autoencoder.parameters())
    rows, errors, scores = [], [], []
    distance = perceptual([], weight.device)
    for frames in clips:
        video = to_model(frames)[None].to(weight.device)
        again = autoencoder.decode(autoencoder.encode(video).mean)
        errors.append(((again.clamp(-1, 1) - video) / 2).square().mean().item())
        decoded = to_pixels(again[0])
        rows.extend([frames, decoded])
        scores.append(pair_scores(frames, decoded, weight.device, distance))
    if ranks.main:
        pairs = [np.concatenate(rows[i : i + 2], axis=2) for i in range(0, len(rows), 2)]
        _write(folder, pairs, rows, fps=8.0)
    psnr = -10 * float(np.log10(np.mean(errors)))
    others = scores[0].keys() - {"psnr", "frame_psnr"}
    return {"psnr": psnr, **{n: float(np.mean([s[n] for s in scores])) for n in sorted(others)}}


def check_samples(model: VideoModel, frames: int) -> None:
    """Raise a ValueError unless the model can sample ``frames`` frames by its own settings.

    A model without the network ``first``, which samples first clips, samples no previews, and is
    accepted.
    """
    if "first" not in model.denoisers:
        return
    video = model.long_video()
    most = video.most_frames
    if most is not None and frames > most:
        reason = needed_for_longer(video.samplers["first"].spec)
        raise ValueError(f"preview_frames={frames} must be at most {most}: {reason}")


def samples(
    model: VideoModel, videos: int, frames: int, folder: Path, ranks: Ranks, prompt: Prompt | None
) -> None:
    """Sample videos of the seeds 0, 1, ..., and write them to a folder with a contact sheet.

    A model without the network ``first``, which samples first clips, makes none. Samples that are
    not finite, as those of a network early in training may be, are only logged.

    Args:
        model: the model.
        videos: number of videos.
        frames: number of frames of each video.
        folder: folder to write to.
        ranks: processes that share the network.
        prompt: prompt of all videos, for a model that reads text; None: none is given.

    Raises:
        VideoError: a file cannot be written.
        ValueError: the network does not read the prompt.
    """
    if "first" not in model.denoisers:
        return
    request = model.request(range(videos), prompt=prompt)
    try:
        parts = list(model.long_video()(request, frames))
    except FloatingPointError as error:
        LOGGER.warning("no preview is written: %s", error)
        return
    if ranks.main:
        whole = np.concatenate([part.frames for part in parts], axis=1)[:, :frames]
        _write(folder, whole, whole, fps=model.index.fps)


def _write(
    folder: Path, videos: Iterable[np.ndarray], rows: Iterable[np.ndarray], fps: float
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frames in enumerate(videos):
        with VideoWriter(folder / f"{number:02d}.mp4", fps, overwrite=True) as writer:
            writer.write(frames)
    write_image(folder / "sheet.png", contact_sheet(list(rows), frames_per_row=8), overwrite=True)
