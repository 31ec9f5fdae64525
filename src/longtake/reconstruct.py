"""Encode and decode whole videos of any length, in the memory of a clip."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from longtake.autoencoders.base import VideoAutoencoder
from longtake.data.clips import fit_frames
from longtake.data.index import VIDEO_SUFFIXES, videos_below
from longtake.progress import ProgressCallback, no_progress
from longtake.video import VideoWriter, probe, read_clip, to_model, to_pixels

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Result of one video.

    Attributes:
        path: file with original and reconstruction side by side.
        frames: number of frames of the video.
        psnr: PSNR in dB, of the mean squared error over all pixels and frames.
    """

    path: Path
    frames: int
    psnr: float


def videos_under(source: Path) -> list[Path]:
    """List a video file, or all videos of a folder at any depth.

    Raises:
        ValueError: the folder has no video.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ValueError(f"{source}: no such file or folder")
    found = videos_below(source)
    if not found:
        looked = ", ".join(sorted(VIDEO_SUFFIXES))
        raise ValueError(f"{source}: no video in it; looked for {looked}")
    return found


def reconstruct_file(
    autoencoder: VideoAutoencoder,
    path: Path,
    out: Path,
    *,
    size: Size | None = None,
    overwrite: bool = False,
    report: ProgressCallback = no_progress,
) -> Reconstruction:
    """Write a video beside its reconstruction: original left, reconstruction right.

    Args:
        autoencoder: autoencoder on its device.
        path: video file.
        out: file to write.
        size: height and width that frames are resized and cropped to; None keeps theirs.
        overwrite: replace ``out``.
        report: called with the number of frames done and of all frames.
    """
    info = probe(path)
    done, errors = 0, []
    with VideoWriter(out, info.fps, overwrite=overwrite) as writer:
        for again in _reconstructed(autoencoder, path, info.frames, size):
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
    autoencoder: VideoAutoencoder, frames: UInt8[np.ndarray, "t h w 3"], *, overlap_frames: int = 0
) -> UInt8[np.ndarray, "t h w 3"]:
    """Encode and decode a clip of any length.

    Args:
        autoencoder: autoencoder on its device.
        frames: pixels, of the height and width that the autoencoder takes.
        overlap_frames: frames that each window shares with the one before, such as the
            ``clip_overlap_frames`` of a denoiser's latents; only for latents without a time axis.
    """
    window = autoencoder.spec.clip[0]
    starts = range(0, max(len(frames) - overlap_frames, 1), window - overlap_frames)
    windows = (frames[start : start + window] for start in starts)
    return np.concatenate(list(_again(autoencoder, windows, overlap_frames)))[: len(frames)]


def _reconstructed(
    autoencoder: VideoAutoencoder, path: Path, total: int, size: Size | None
) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
    """Reconstructed frames of a video, padded at the end to whole windows."""
    window = autoencoder.spec.clip[0]
    starts = range(0, total, window)
    return _again(autoencoder, (_frames(path, s, min(window, total - s), size) for s in starts))


@torch.inference_mode()
def _again(
    autoencoder: VideoAutoencoder,
    windows: Iterable[UInt8[np.ndarray, "_ _ _ 3"]],
    overlap_frames: int = 0,
) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
    """Encode and decode windows; the last is padded with its last frame."""
    weight = next(autoencoder.parameters())
    window = autoencoder.spec.clip[0]

    def latents() -> Iterator[torch.Tensor]:
        for frames in windows:
            filled = np.pad(frames, ((0, window - len(frames)), *3 * ((0, 0),)), "edge")
            video = to_model(filled)[None].to(weight.device, weight.dtype)
            yield autoencoder.encode(video).mean

    for video in autoencoder.stream_decode(latents(), clip_overlap=overlap_frames):
        yield to_pixels(video[0])


def _frames(path: Path, start: int, count: int, size: Size | None) -> UInt8[np.ndarray, "t h w 3"]:
    frames = read_clip(path, start, count)
    return frames if size is None else fit_frames(frames, *size)
