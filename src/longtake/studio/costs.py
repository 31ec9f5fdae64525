"""Time and memory that a model's videos take, measured on a rollout step."""

import time
from typing import Any

import torch

from longtake.config import ConfigError
from longtake.generate import LongVideo
from longtake.model import VideoModel, sampling_with
from longtake.rollout import Request
from longtake.studio.memory import forget_peak, peak_mb, weights_mb
from longtake.text import Prompt
from longtake.video.pixels import to_bytes

MEASURED_STEPS = 2


def measured(model: VideoModel, worker_mb: float | None, students_mb: float) -> dict[str, Any]:
    """The entries ``seconds_per_frame_step`` and ``memory`` of a model's description.

    They are None where they are unknown, as for a sampler with a fixed number of steps.

    Args:
        model: a model that makes videos, the only one in this process.
        worker_mb: resident memory, in MiB, before it was loaded; None: unknown.
        students_mb: memory of the weights, in MiB, if the students sample.
    """
    unknown = {"seconds_per_frame_step": None, "memory": None}
    try:
        sampling = sampling_with(model.index.sampling, [f"sampler.steps={MEASURED_STEPS}"])
        video = model.long_video(sampling)
        text = Prompt("") if "text" in model.denoisers["first"].needs else None
        request = model.request([0], None, text)
    except (ConfigError, ValueError):
        return unknown  # a sampler with a fixed number of steps, or a text encoder without files
    memory = None if worker_mb is None else _memory(model, video, request, worker_mb, students_mb)
    return {"seconds_per_frame_step": _seconds(video, request), "memory": memory}


@torch.inference_mode()
def _memory(
    model: VideoModel, video: LongVideo, request: Request, worker_mb: float, students_mb: float
) -> dict[str, Any]:
    """What ``estimated_mb`` reads; as ``Loaded.describe`` has it.

    It also finds the fastest code of each operation, so that the time is measured without that.
    """
    teachers_mb = weights_mb(model.components.values())
    loaded_mb = worker_mb + teachers_mb
    z = next(iter(video.rollout(video.samplers, request))).z
    sampling_mb, decoding_mb = _peak(loaded_mb), {}
    for name in ("full", *model.decoders):
        forget_peak()
        decoder = model.autoencoder_with(name)
        overlap = video.samplers["first"].spec.clip_overlap_frames
        latents = [video.latent_scaling.inverse(z)]
        for pixels in decoder.stream_decode(latents, clip_overlap=overlap):
            to_bytes(pixels).numpy()
        decoding_mb[name] = _peak(loaded_mb)
    return {
        "worker": worker_mb,
        "teachers": teachers_mb,
        "students": students_mb,
        "sampling": sampling_mb,
        "decoding": decoding_mb,
    }


def _peak(loaded_mb: float) -> float:
    """Peak of resident memory above ``loaded_mb``, in MiB."""
    return max((peak_mb() or 0.0) - loaded_mb, 0.0)


def _seconds(video: LongVideo, request: Request) -> float:
    """Seconds for one frame and one sampling step, decoding included."""
    frames = video.grain
    began = time.perf_counter()
    for _ in video(request, frames):
        pass
    return (time.perf_counter() - began) / (frames * MEASURED_STEPS)
