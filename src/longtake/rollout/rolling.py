"""Rollouts along a moving window, whose latent frames are at different noise levels.

Progress is the number of sampler steps that a latent frame has made. A frame moves on as soon as
the frame before it is clean or ``delay`` steps ahead, so progress falls along the window, and the
window moves past frames that are clean.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from longtake.diffusion.clip_sampler import ClipSampler, counted
from longtake.diffusion.samplers import Denoise, TimeTable
from longtake.diffusion.signals import CONTEXT, Signals
from longtake.latents import Latent
from longtake.noise import SampleNoise, derive
from longtake.rollout.base import Chunk, Request, Rollout, Samplers, State, check_overlap


class DiffusionForcing(Rollout):
    """Latent frames of a moving window are denoised one after another (Chen et al. 2024).

    A window is one clip of the network. Each step of the rollout moves it past one latent frame.
    The earlier frames that stay in the window are its context: frames at a low time, not a signal,
    so that the network needs nothing but a time for each frame. Below are the times, in thirds, of
    a window of four frames, with ``delay`` 1, ``overlap_latent_frames`` 1 and a sampler of three
    steps; a row is a step of the sampler, and ``-> 0`` says that frame 0 is done::

        frame   0  1  2  3  4  5  6
                3  3  3  3            step 0
                2  3  3  3
                1  2  3  3
                0  1  2  3            -> 0
                0  1  2  3            step 1
                0  0  1  2            -> 1
                   0  1  2  3         step 2
                   0  0  1  2         -> 2
                      0  1  2  3      step 3
                      0  0  1  2      -> 3

    Noise on the context, which hides errors of earlier frames, is the ``context_noise`` of the
    model's ``Sampling`` ("stabilization" in the paper). Unlike the official code, whose windows are
    fully denoised before they move, frames stay partly denoised from step to step.

    Attributes:
        delay: least number of sampler steps that a frame is behind the frame before it; 0 denoises
            all new frames of the window together, and the window moves past all of them.
        overlap_latent_frames: number of clean latent frames that stay in the window as context;
            less than the window has.
    """

    frame_times: ClassVar[bool] = True

    kind: Literal["diffusion_forcing"] = "diffusion_forcing"
    delay: Annotated[int, Ge(0)] = 1
    overlap_latent_frames: Annotated[int, Ge(0)] = 1

    @property
    def context_latent_frames(self) -> int:
        return max(1, self.overlap_latent_frames)

    def grain(self, samplers: Samplers) -> int:
        spec = samplers["first"].spec
        moved = 1 if self.delay else spec.frames - self.overlap_latent_frames
        return moved * spec.clip[0] // spec.frames

    def first_step_frames(self, samplers: Samplers, given_frames: int = 0) -> int:
        spec = samplers["first"].spec
        return given_frames + self.grain(samplers) if self.delay else spec.clip[0]

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        frames = samplers["first"].spec.frames
        check_overlap(self.overlap_latent_frames, frames)
        queue = Queue(
            frames=frames, stride=frames, kept=self.overlap_latent_frames, delay=self.delay
        )
        return _advance(samplers["first"], queue, request, state)


class Fifo(Rollout):
    """Diagonal denoising: each sampler step finishes a latent frame and adds one of pure noise.

    The frames being denoised are a queue, one at each step of the sampler (Kim et al. 2024,
    "FIFO-Diffusion"). The network denoises the queue in windows, each of the length of its clip
    (latent partitioning). Below are the times, in quarters, of a queue of two windows of two
    frames, with a sampler of four steps; a row is a step of the sampler, and ``-> 0`` says that
    frame 0 is done::

        frame   0  1  2  3  4  5
                4  4  4  4            step 0
                3  4  4  4
                2  3  4  4
                1  2  3  4
                0  1  2  3            -> 0
                   1  2  3  4         step 1
                   0  1  2  3         -> 1
                      1  2  3  4      step 2
                      0  1  2  3      -> 2

    Unlike the paper's, whose queue begins with noised copies of a clip, this queue begins as noise,
    and no frame is thrown away; windows are evaluated one after another, in the memory of one clip.

    Attributes:
        lookahead: windows overlap by half, and only the later half of each is used, so that each
            frame is denoised beside cleaner ones; takes twice the network evaluations.
    """

    frame_times: ClassVar[bool] = True

    kind: Literal["fifo"] = "fifo"
    lookahead: bool = False

    def grain(self, samplers: Samplers) -> int:
        spec = samplers["first"].spec
        return spec.clip[0] // spec.frames

    def first_step_frames(self, samplers: Samplers, given_frames: int = 0) -> int:
        return given_frames + self.grain(samplers)

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        sample = samplers["first"]
        frames = sample.spec.frames
        stride = -(-frames // 2) if self.lookahead else frames
        steps = len(sample.sampler.times(sample.diffusion.schedule)) - 1
        windows = -(-steps // stride)
        queue = Queue(frames=frames, stride=stride, kept=frames - stride, delay=1, windows=windows)
        return _advance(sample, queue, request, state)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Sizes of the queue of latent frames that are denoised at once, and of its windows.

    Attributes:
        frames: number of latent frames of a window, the clip of the network.
        stride: number of latent frames from one window to the next; the last ``stride`` frames of
            each window but the first are the ones that its evaluation updates.
        kept: number of clean frames at the front of the queue that stay as context.
        delay: number of sampler steps that a frame is behind the frame before it.
        windows: number of windows.
    """

    frames: int
    stride: int
    kept: int
    delay: int
    windows: int = 1

    @property
    def length(self) -> int:
        """Number of latent frames of the queue."""
        return self.frames + (self.windows - 1) * self.stride

    def parts(self) -> Iterator[tuple[slice, int]]:
        """Yield the slice of the queue of each window, and how many of its first frames it keeps.

        The evaluation of the window updates its other frames.
        """
        for first in range(0, self.windows * self.stride, self.stride):
            yield slice(first, first + self.frames), self.frames - self.stride if first else 0


def progress_table(progress: Sequence[int], steps: int, delay: int) -> list[list[int]]:
    """Number of sampler steps that each frame (a column) has made, after each step (a row).

    The table starts with the row ``progress`` and ends when the first frame that was not clean is
    clean. A frame is clean after ``steps`` steps, and starts when the frame before it is clean or
    ``delay`` steps ahead.
    """
    table = [list(progress)]
    begun = [place for place, made in enumerate(progress) if made < steps]
    while begun and (row := table[-1])[begun[0]] < steps:
        ahead = [steps, *row]
        table.append(
            [
                made + (made < steps and (before == steps or before - made >= delay))
                for before, made in zip(ahead, row, strict=False)
            ]
        )
    return table


def _advance(sample: ClipSampler, queue: Queue, request: Request, state: State) -> Chunk:
    """Make a rollout step: denoise the queue until its first noisy frame is clean.

    The clean frames after those of earlier steps are its result.
    """
    axis, device = sample.spec.time_axis, sample.denoiser.device
    signals = {k: v for k, v in request.signals.items() if k not in CONTEXT}
    noise = SampleNoise([derive(seed, "clip", state.step) for seed in request.seeds], device)
    times = sample.sampler.times(sample.diffusion.schedule)
    steps = len(times) - 1
    z, progress = _taken_in(sample, queue, request, state, noise)
    past = _clean_ahead(progress, steps) if state.step else 0
    rows = torch.tensor(progress_table(progress, steps, queue.delay))
    given = rows[0] == steps
    walked = z
    table = times[rows]
    if sample.context_noise > 0 and given.any():
        table[:, given] = sample.context_noise
        at = torch.full((len(z),), sample.context_noise, device=z.device)
        noisy = sample.diffusion.add_noise(sample.spec, z, noise.normal(z.shape[1:]), at)
        walked = torch.where(_over(given, z), noisy, z)
    if len(rows) > 1:
        denoise = _windowed(sample, queue, signals, request, table)
        walked = _walk(sample, denoise, walked, table, noise)
    z = torch.where(_over(given, z), z, walked)
    done = _clean_ahead(rows[-1].tolist(), steps)
    latents = {"queue": z, "progress": rows[-1]}
    return Chunk(z.narrow(axis, past, done - past).clone(), State(state.step + 1, latents))


def _taken_in(
    sample: ClipSampler, queue: Queue, request: Request, state: State, noise: SampleNoise
) -> tuple[Latent, list[int]]:
    """Queue at the start of a rollout step, and the number of sampler steps each frame has made.

    It drops frames that later steps do not need, and gains frames of pure noise at its end. A
    ValueError if videos have context frames in different places.
    """
    axis, steps = sample.spec.time_axis, len(sample.sampler.times(sample.diffusion.schedule)) - 1
    shape = list(sample.spec.shape)
    if state.step:
        z, progress = state.latents["queue"], state.latents["progress"].tolist()
        fresh = max(_clean_ahead(progress, steps) - queue.kept, 0)
        shape[axis - 1] = fresh
        z = z.narrow(axis, fresh, queue.length - fresh).to(noise.device)
        return torch.cat([z, noise.normal(shape)], axis), progress[fresh:] + [0] * fresh
    shape[axis - 1] = queue.length
    z, progress = noise.normal(shape), [0] * queue.length
    if "context" in request.signals:
        mask = request.signals["context_mask"].value.cpu()
        if (mask != mask[:1]).any():
            raise ValueError(
                "the context frames of the request's videos are in different places; give all its "
                "videos context frames in the same places, or make them by several requests"
            )
        for place in mask[0].nonzero()[:, 0].tolist():
            frame = request.signals["context"].value.select(axis, place)
            z.select(axis, place).copy_(frame)
            progress[place] = steps
    return z, progress


def _clean_ahead(progress: Sequence[int], steps: int) -> int:
    """Number of frames before the first that has made less than ``steps`` sampler steps."""
    return next((place for place, made in enumerate(progress) if made < steps), len(progress))


def _over(frames: Tensor, z: Latent) -> Tensor:
    """One value per frame, shaped to broadcast over latents ``(b, c, f, ...)``."""
    return frames.to(z.device).reshape(1, 1, -1, *[1] * (z.ndim - 3))


def _walk(
    sample: ClipSampler, denoise: Denoise, z: Latent, table: Tensor, noise: SampleNoise
) -> Latent:
    """Step the queue through a table of times ``(rows, f)``; equal ones are passed as one."""
    together = bool((table == table[:, :1]).all())
    times: TimeTable = table[:, None, 0] if together else table[:, None]
    times = times.expand(-1, len(z), *times.shape[2:])
    return sample.sampler(denoise, z, times, sample.diffusion.schedule, noise, sample.spec.bounds)


def _windowed(
    sample: ClipSampler, queue: Queue, signals: Signals, request: Request, table: Tensor
) -> Denoise:
    """Estimator of a queue, window by window, of which ``table`` has the times ``(rows, f)``.

    It skips a window at a step that changes the time of none of the frames the window updates.
    """
    estimate = sample.estimator(signals, len(request.seeds), request.guidance)
    if queue.windows == 1:
        return counted(estimate, request.on_evaluation, len(table) - 1)
    axis, moves = sample.spec.time_axis, table[1:] < table[:-1]
    parts = list(queue.parts())
    moving = [[bool(row[part][skip:].any()) for part, skip in parts] for row in moves]
    estimate = counted(estimate, request.on_evaluation, sum(map(sum, moving)))
    numbers = count()

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        x0, t = torch.zeros_like(z), t if t.ndim == 2 else t[:, None].expand(-1, queue.length)
        for (part, skip), moved in zip(parts, moving[next(numbers)], strict=True):
            if moved:
                window = z.narrow(axis, part.start, queue.frames)
                found = estimate(window, t[:, part]).narrow(axis, skip, queue.frames - skip)
                x0.narrow(axis, part.start + skip, queue.frames - skip).copy_(found)
        return x0

    return denoise
