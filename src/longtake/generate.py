"""Video of any length from trained networks: sampled, decoded and written as it comes."""

import json
import shutil
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.autoencoders.base import StreamDecoder, VideoAutoencoder
from longtake.checkpoint import check_free, read_tensors, write_tensors
from longtake.config import digest, parse, to_dict
from longtake.diffusion.signals import Signal
from longtake.latents import LatentScaling, finite
from longtake.progress import ProgressCallback, no_progress
from longtake.registry import AnyGuidance
from longtake.rollout import Change, Request, Rollout, Samplers, State, Steering
from longtake.video import VideoWriter, concatenate, stream_video, to_pixels
from longtake.video.write import check_format

SEGMENT_FRAMES = 256
STATE = "state.safetensors"
JOINABLE = (".mp4", ".mkv")


class Part(NamedTuple):
    """Frames that are ready, and what is needed to continue after them.

    Attributes:
        pixels: the decoder's float frames, nominally in [-1, 1].
        state: tensors to store; the stream continues after this part from them.
        changes: changes made since the previous part, by index of the rollout's step.
    """

    pixels: Float[Tensor, "b 3 t h w"]
    state: dict[str, Tensor]
    changes: Mapping[int, Change]

    @property
    def frames(self) -> UInt8[np.ndarray, "b t h w 3"]:
        """8-bit pixels of each video."""
        return np.stack([to_pixels(video) for video in self.pixels])


class VideoStream(ABC):
    """Makes the frames of requested videos, in order of time."""

    @property
    @abstractmethod
    def grain(self) -> int:
        """Frames of video between two possible changes."""

    @property
    @abstractmethod
    def sampled_from(self) -> int:
        """Frame of the video at which its first step begins."""

    @abstractmethod
    def __call__(
        self,
        request: Request,
        frames: int,
        state: Mapping[str, Tensor] | None = None,
        steering: Steering | None = None,
    ) -> Iterator[Part]:
        """Frames of the requested videos, as of ``LongVideo``."""

    def step_of(self, frame: int) -> int:
        """First step that begins at a frame or later, up to what neighbouring clips share."""
        return -(-max(frame - self.sampled_from, 0) // self.grain)


@dataclass(frozen=True, kw_only=True)
class LongVideo(VideoStream):
    """Networks wired to make videos: samplers, a rollout that joins their clips, and a decoder.

    ``latent_scaling`` is between the autoencoder's latents and those of the denoisers.
    """

    samplers: Samplers
    rollout: Rollout
    autoencoder: VideoAutoencoder
    latent_scaling: LatentScaling

    @property
    def grain(self) -> int:
        """Frames of video between two possible changes."""
        return self.rollout.grain(self.samplers)

    @property
    def sampled_from(self) -> int:
        return 0

    @torch.inference_mode()
    def __call__(
        self,
        request: Request,
        frames: int,
        state: Mapping[str, Tensor] | None = None,
        steering: Steering | None = None,
    ) -> Iterator[Part]:
        """Frames of the requested videos, in order of time, in memory that does not grow.

        Args:
            request: the videos.
            frames: length of each; at least as many come.
            state: state of a part; the stream continues after it, bit for bit on the same machine.
            steering: callbacks that change, watch or cancel the videos while they are made.

        Raises:
            ValueError: a network does not read a signal; Cancelled: ``steering`` asked for it.
            FloatingPointError: latents or decoded frames are not finite.
        """
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
    """Tensors from which ``stored_change`` makes an equal change."""
    signals, guidance = change
    settings = list(json.dumps(guidance and to_dict(guidance)).encode())
    return {
        "guidance": torch.tensor(settings, dtype=torch.uint8),
        **{f"value.{k}": signal.value for k, signal in signals.items()},
        **{f"null.{k}": signal.null for k, signal in signals.items()},
    }


def stored_change(state: Mapping[str, Tensor]) -> Change:
    """The change of a state."""
    names = [key.removeprefix("value.") for key in state if key.startswith("value.")]
    signals = {k: Signal(value=state[f"value.{k}"], null=state[f"null.{k}"]) for k in names}
    return Change(signals, parse(AnyGuidance | None, json.loads(bytes(state["guidance"].tolist()))))


def _restore(state: Mapping[str, Tensor] | None, decoder: StreamDecoder) -> tuple[State, int]:
    if state is None:
        return State(), 0
    parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in state.items():
        part, _, name = key.partition(".")
        parts[part][name] = tensor
    decoder.restore(parts["decoder"])
    rollout = State(int(state["step"]), parts["latents"], parts["memory"], stored_change(state))
    return rollout, int(state["pushed"])


@dataclass(frozen=True, kw_only=True)
class Job:
    """Videos to write to files.

    Attributes:
        paths: one file per video; the suffix chooses the format.
        frames: length of each video.
        fps: frame rate of the files, in frames per second.
        identity: everything else the videos depend on; a job is resumed only if it is equal.
    """

    request: Request
    paths: Sequence[Path]
    frames: int
    fps: float
    identity: Mapping[str, Any]


def unfinished(jobs: Sequence[Job]) -> Sequence[Job]:
    """Jobs of one command that are not done yet.

    If one of them was interrupted, those before it whose files exist are done; otherwise none is.
    """
    for number, job in enumerate(jobs):
        if _work_folder(job).exists():
            before = [j for j in jobs[:number] if not all(path.exists() for path in j.paths)]
            return [*before, *jobs[number:]]
    return jobs


def write_videos(
    video: VideoStream,
    job: Job,
    *,
    overwrite: bool = False,
    report: ProgressCallback = no_progress,
    steering: Steering | None = None,
) -> int:
    """Write a job's videos, segment by segment; an interrupted job continues at its last segment.

    Memory does not depend on the length. Each segment is a playable file.

    Args:
        video: the wired networks.
        job: videos to write.
        overwrite: replace files that exist.
        report: called with the number of frames done of each video, and of all frames.
        steering: callbacks that change, watch or cancel the videos while they are made.

    Returns:
        Number of frames of each video that were made by this call, not before an interruption.

    Raises:
        ExistsError: a file exists; VideoError: one cannot be written.
    """
    for path in job.paths:
        check_format(path, job.fps)
    work = _work_folder(job)
    state = read_tensors(work / STATE) if (work / STATE).exists() else {}
    before = done = int(state.pop("done", 0))  # frames in whole segments
    joining = done >= job.frames
    for path in job.paths:
        check_free(path, overwrite or joining)
    _keep_whole(work, done)
    while done < job.frames:
        done, state = _write_segment(video, job, work, done, state, report, steering)
    for row, path in enumerate(job.paths):
        if joining and path.exists() and not overwrite:
            continue  # joined before the interruption
        _join(sorted(work.glob(f"{row:03d}_*.m??")), path, job.fps, overwrite)
    joined = work.with_suffix(".joined")  # never half a folder to continue from
    shutil.rmtree(joined, ignore_errors=True)
    shutil.rmtree(work.rename(joined))
    return job.frames - before


def _write_segment(
    video: VideoStream,
    job: Job,
    work: Path,
    done: int,
    state: Mapping[str, Tensor],
    report: ProgressCallback,
    steering: Steering | None,
) -> tuple[int, Mapping[str, Tensor]]:
    """One segment of each video; the state of its end is written after the segment is whole."""
    end = min(done + SEGMENT_FRAMES, job.frames)
    suffix = job.paths[0].suffix if job.paths[0].suffix in JOINABLE else ".mkv"
    paths = [work / f"{row:03d}_{done:08d}{suffix}" for row in range(len(job.paths))]
    with ExitStack() as stack:
        writers = [stack.enter_context(VideoWriter(p, job.fps, overwrite=True)) for p in paths]
        for part in video(job.request, job.frames, state or None, steering):
            frames, state = part.frames[:, : job.frames - done], part.state
            for writer, own in zip(writers, frames, strict=True):
                writer.write(own)
            done += frames.shape[1]
            report(done, job.frames)
            if done >= end:
                break
    write_tensors(work / STATE, {**state, "done": torch.tensor(done)})
    return done, state


def _keep_whole(work: Path, done: int) -> None:
    """Remove everything from a work folder but the whole segments and their state."""
    if not done:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    for segment in work.glob("*_*.m??"):
        if segment.stem.endswith(".partial") or int(segment.stem.split("_")[1]) >= done:
            segment.unlink()


def _work_folder(job: Job) -> Path:
    first, seeds = job.paths[0], list(job.request.seeds)
    own = {"seeds": seeds, "frames": job.frames, "fps": job.fps, "suffix": first.suffix}
    identity = {**job.identity, **own}
    return first.with_name(f".{first.stem}.{digest(identity)}.partial")


def _join(segments: Sequence[Path], path: Path, fps: float, overwrite: bool) -> None:
    if path.suffix in JOINABLE:
        concatenate(segments, path, overwrite=overwrite)
        return
    with VideoWriter(path, fps, overwrite=overwrite) as writer:
        for segment in segments:
            for frames in stream_video(segment):
                writer.write(frames)
