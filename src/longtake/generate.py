"""Video of any length from trained parts: drawn, decoded and written as it comes."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.autoencoders.base import StreamDecoder, VideoAutoencoder
from longtake.checkpoint import check_free, read_tensors, write_tensors
from longtake.config import digest
from longtake.latents import LatentScaling
from longtake.progress import ProgressCallback, no_progress
from longtake.rollout import Request, Rollout, Samplers, State
from longtake.video import VideoWriter, concatenate, stream_video, to_pixels

SEGMENT_FRAMES = 256
JOINABLE = (".mp4", ".mkv")


class Part(NamedTuple):
    """Frames that are ready, and what is needed to go on after them."""

    frames: UInt8[np.ndarray, "b t h w 3"]
    state: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class LongVideo:
    """Trained parts, wired.

    Attributes:
        samplers: sampler of each role.
        rollout: how clips become a long video.
        autoencoder: decodes.
        latent_scaling: between the denoisers' latents and the autoencoder's.
    """

    samplers: Samplers
    rollout: Rollout
    autoencoder: VideoAutoencoder
    latent_scaling: LatentScaling

    def __call__(
        self, request: Request, frames: int, state: Mapping[str, Tensor] | None = None
    ) -> Iterator[Part]:
        """Frames of the requested videos, in order of time, in memory that does not grow.

        Args:
            request: the videos.
            frames: length of each; at least as many come.
            state: of a part; the stream goes on after that part, bit for bit on the same machine.
        """
        for pixels, after in self.decoded(request, frames, state):
            yield Part(np.stack([to_pixels(video) for video in pixels]), after)

    @torch.inference_mode()
    def decoded(
        self, request: Request, frames: int, state: Mapping[str, Tensor] | None = None
    ) -> Iterator[tuple[Float[Tensor, "b 3 t h w"], dict[str, Tensor]]]:
        """What parts are made of: pixels as the decoder gives them, not yet levels; and state."""
        spec = self.autoencoder.spec
        overlap_frames = self.samplers["first"].spec.clip_overlap_frames
        decoder = self.autoencoder.stream_decoder(clip_overlap=overlap_frames)
        start, pushed = _restore(state, decoder)
        for chunk in self.rollout(self.samplers, request, start):
            z = spec.cut(chunk.z, frames - pushed)
            pushed += spec.pixel_frames(z) - (overlap_frames if pushed else 0)
            pixels = [decoder.push(self.latent_scaling.inverse(z))]
            if pushed >= frames:
                pixels.append(decoder.flush())
            ready = [video for video in pixels if video is not None]
            if ready:
                yield torch.cat(ready, 2), _state(chunk.state, decoder, pushed)
            if pushed >= frames:
                return


def _state(rollout: State, decoder: StreamDecoder, pushed: int) -> dict[str, Tensor]:
    return {
        "step": torch.tensor(rollout.step),
        "pushed": torch.tensor(pushed),
        **{f"rollout.{k}": v for k, v in rollout.latents.items()},
        **{f"decoder.{k}": v for k, v in decoder.state().items()},
    }


def _restore(state: Mapping[str, Tensor] | None, decoder: StreamDecoder) -> tuple[State, int]:
    if state is None:
        return State(), 0
    decoder.restore(_below("decoder.", state))
    return State(int(state["step"]), _below("rollout.", state)), int(state["pushed"])


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


@dataclass(frozen=True, kw_only=True)
class Job:
    """Videos to write to files.

    Attributes:
        request: the videos.
        paths: a file a video; the suffix chooses the format.
        frames: length of each.
        fps: frames a second.
        identity: everything else the videos depend on; an interrupted job is resumed only where
            this is equal.
    """

    request: Request
    paths: Sequence[Path]
    frames: int
    fps: float
    identity: Mapping[str, Any]


def unfinished(jobs: Sequence[Job]) -> Sequence[Job]:
    """What is left of jobs that one command does one after another.

    Where one of them was stopped, those before it whose files stand there are done; else all are
    left.
    """
    for number, job in enumerate(jobs):
        if _work_folder(job).exists():
            before = [j for j in jobs[:number] if not all(path.exists() for path in j.paths)]
            return [*before, *jobs[number:]]
    return jobs


def write_videos(
    video: LongVideo,
    job: Job,
    *,
    overwrite: bool = False,
    report: ProgressCallback = no_progress,
) -> int:
    """Write a job's videos, segment by segment; an interrupted job goes on at its last segment.

    Memory does not depend on the length. Each segment is a playable file.

    Args:
        video: the trained parts.
        job: what to write.
        overwrite: replace files that exist.
        report: called with frames done, of each video, and frames in all.

    Returns:
        Frames of each video that were made now, not before a stop.

    Raises:
        ExistsError: a file exists; VideoError: one cannot be written.
    """
    work = _work_folder(job)
    done, state = _read_state(work)
    before, joining = done, done >= job.frames
    for path in job.paths:
        check_free(path, overwrite or joining)
    _keep_whole(work, done)
    while done < job.frames:
        done, state = _write_segment(video, job, work, done, state, report)
    for row, path in enumerate(job.paths):
        if joining and path.exists() and not overwrite:
            continue  # joined before the stop
        _join(sorted(work.glob(f"{row:03d}_*.m??")), path, job.fps, overwrite)
    joined = work.with_suffix(".joined")  # never half a folder to go on from
    shutil.rmtree(joined, ignore_errors=True)
    shutil.rmtree(work.rename(joined))
    return job.frames - before


def _write_segment(
    video: LongVideo,
    job: Job,
    work: Path,
    done: int,
    state: Mapping[str, Tensor] | None,
    report: ProgressCallback,
) -> tuple[int, Mapping[str, Tensor]]:
    """One segment of each video; the state of its end is written after the segment is whole."""
    end = min(done + SEGMENT_FRAMES, job.frames)
    suffix = job.paths[0].suffix if job.paths[0].suffix in JOINABLE else ".mkv"
    paths = [work / f"{row:03d}_{done:08d}{suffix}" for row in range(len(job.paths))]
    writers = [VideoWriter(path, job.fps, overwrite=True) for path in paths]
    try:
        for part in video(job.request, job.frames, state):
            frames = part.frames[:, : job.frames - done]
            for writer, own in zip(writers, frames, strict=True):
                writer.write(own)
            done, state = done + frames.shape[1], part.state
            report(done, job.frames)
            if done >= end:
                break
    except BaseException:
        for writer in writers:
            writer.abandon()
        raise
    for writer in writers:
        writer.close()
    assert state is not None
    write_tensors(work / "state.safetensors", {**state, "done": torch.tensor(done)})
    return done, state


def _read_state(work: Path) -> tuple[int, Mapping[str, Tensor] | None]:
    """Frames in whole segments, and the state after them."""
    path = work / "state.safetensors"
    if not path.exists():
        return 0, None
    state = read_tensors(path)
    return int(state.pop("done")), state


def _keep_whole(work: Path, done: int) -> None:
    """A folder with nothing in it but the segments of so many frames, and their state."""
    if not done:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    for segment in work.glob("*_*.m??"):
        if segment.stem.endswith(".partial") or int(segment.stem.split("_")[1]) >= done:
            segment.unlink()


def _work_folder(job: Job) -> Path:
    identity = {
        **job.identity,
        "seeds": list(job.request.seeds),
        "frames": job.frames,
        "fps": job.fps,
        "suffix": job.paths[0].suffix,
    }
    first = job.paths[0]
    return first.with_name(f".{first.stem}.{digest(identity)}.partial")


def _join(segments: Sequence[Path], path: Path, fps: float, overwrite: bool) -> None:
    if path.suffix in JOINABLE:
        concatenate(segments, path, overwrite=overwrite)
        return
    with VideoWriter(path, fps, overwrite=overwrite) as writer:
        for segment in segments:
            for frames in stream_video(segment):
                writer.write(frames)
