"""Encode and decode whole videos of any length, in the memory of a clip."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from longtake.autoencoders.base import VideoAutoencoder
from longtake.data.clips import fit_frames
from longtake.data.index import VIDEO_SUFFIXES, videos_below
from longtake.data.source import Frames
from longtake.latents import finite
from longtake.progress import ProgressCallback, no_progress
from longtake.video import VideoError, VideoWriter, probe, read_clip, to_model, to_pixels
from longtake.video.archive import is_archive


class UnfitError(VideoError):
    """A video cannot be reconstructed: it is broken, or its size does not fit the autoencoder."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """A file that shows a video beside its reconstruction.

    Attributes:
        path: path of the file.
        frames: number of frames.
        psnr: PSNR in dB of the mean squared error over all pixels and frames.
    """

    path: Path
    frames: int
    psnr: float


def videos_under(source: Path) -> list[Path]:
    """Return ``source`` if it is a video, or all videos in it if a folder; ValueError if none."""
    if source.is_file() and not is_archive(source):
        return [source]
    if not source.exists():
        raise ValueError(
            f"{source}: no such file or folder; expected a video or a folder of videos"
        )
    if found := videos_below(source):
        return found
    looked = ", ".join(sorted(VIDEO_SUFFIXES))
    raise ValueError(f"{source}: no video in it; looked for {looked}")


def places_for(videos: Sequence[Path], source: Path, out: Path) -> list[Path]:
    """Path of an mp4 file for each video: in ``out`` at the same place as in ``source``.

    Raises a ValueError if two videos would have the same path.
    """
    root = source if source.is_dir() else source.parent
    places: dict[Path, Path] = {}
    for video in videos:
        place = (out / video.relative_to(root)).with_suffix(".mp4")
        if place in places:
            raise ValueError(
                f"{places[place]} and {video} would both become {place}; rename one of them"
            )
        places[place] = video
    return [*places]


def reconstruct_file(
    autoencoder: VideoAutoencoder,
    path: Path,
    out: Path,
    *,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
    report: ProgressCallback = no_progress,
) -> Reconstruction:
    """Write a video side by side with its reconstruction: original left, reconstruction right.

    Args:
        autoencoder: the autoencoder.
        path: the video.
        out: file to write.
        size: height and width in pixels to which frames are resized and cropped; None: their own.
        overwrite: replace ``out`` if it exists.
        report: called with the number of frames done and their total.

    Raises:
        UnfitError: the video is broken or, with ``size=None``, of a size that the autoencoder does
            not take; what was written keeps its partial name.
        ValueError: the autoencoder does not take frames of ``size``.
        VideoError: ``out`` cannot be written.
        FloatingPointError: latents or frames are not finite.
    """
    with _reading():
        info = probe(path)
    window = autoencoder.spec.clip[0]
    starts = range(0, info.frames, window)
    windows = (_frames(path, s, min(window, info.frames - s), size) for s in starts)
    done, errors = 0, []
    with VideoWriter(out, info.fps, overwrite=overwrite) as writer:
        for again in _again(autoencoder, windows, name=str(path), own_size=size is None):
            again = again[: info.frames - done]
            if not len(again):
                break
            original = _frames(path, done, len(again), size)
            difference = again.astype(np.float32) - original
            errors.append(float(np.square(difference).mean()) * len(original))
            writer.write(np.concatenate([original, again], axis=2))
            done += len(original)
            report(done, info.frames)
    error = sum(errors) / info.frames
    psnr = 10 * float(np.log10(255**2 / error)) if error else float("inf")
    return Reconstruction(path=out, frames=info.frames, psnr=psnr)


def reconstruct_frames(
    autoencoder: VideoAutoencoder,
    frames: Frames,
    *,
    overlap_frames: int = 0,
    name: str = "the clip",
) -> Frames:
    """Encode and decode a clip of any number of frames, of the autoencoder's frame size.

    Args:
        autoencoder: the autoencoder.
        frames: the clip.
        overlap_frames: number of frames that each window shares with the window before it, such as
            ``clip_overlap_frames`` of a denoiser; only for latents without a time axis.
        name: name of the clip, for error messages.

    Raises:
        ValueError: the autoencoder does not take frames of this size, or such an overlap.
        FloatingPointError: latents or frames are not finite.
    """
    window = autoencoder.spec.clip[0]
    starts = range(0, max(len(frames) - overlap_frames, 1), window - overlap_frames)
    windows = (frames[start : start + window] for start in starts)
    again = _again(autoencoder, windows, overlap_frames, name=name)
    return np.concatenate(list(again))[: len(frames)]


@torch.inference_mode()
def _again(
    autoencoder: VideoAutoencoder,
    windows: Iterable[Frames],
    overlap_frames: int = 0,
    *,
    name: str,
    own_size: bool = False,
) -> Iterator[Frames]:
    """Encode and decode windows of a video, the last of which is padded with its last frame.

    ``name`` is that of the video in messages. With ``own_size``, frames that the autoencoder does
    not take are an UnfitError.
    """
    weight, window = next(autoencoder.parameters()), autoencoder.spec.clip[0]

    def latents() -> Iterator[torch.Tensor]:
        for number, frames in enumerate(windows):
            filled = np.pad(frames, ((0, window - len(frames)), *3 * ((0, 0),)), "edge")
            video = to_model(filled)[None].to(weight.device, weight.dtype)
            first = number * (window - overlap_frames)
            try:
                mean = autoencoder.encode(video).mean
            except ValueError as error:
                if not own_size:
                    raise
                raise UnfitError(f"{name}: {error}") from error
            yield finite(mean, "encoded latents", [name], first)

    done = 0
    for video in autoencoder.stream_decode(latents(), clip_overlap=overlap_frames):
        yield to_pixels(finite(video, "decoded frames", [name], done)[0])
        done += video.shape[2]


def _frames(path: Path, start: int, count: int, size: tuple[int, int] | None) -> Frames:
    with _reading():
        frames = read_clip(path, start, count)
    return frames if size is None else fit_frames(frames, *size)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except VideoError as error:
        raise UnfitError(str(error)) from error
