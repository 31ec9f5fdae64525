"""A pipeline of diffusers that samples a model of longtake; it needs the package longtake.

``convert_to_diffusers`` copies this file into the folder that it writes, as ``pipeline.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.outputs import BaseOutput
from PIL import Image

from longtake.model import VideoModel, sampling_with
from longtake.text import Prompt


@dataclass
class LongtakeOutput(BaseOutput):
    """Output of ``LongtakePipeline``.

    Attributes:
        frames: ``output_type="np"``: an array of shape (videos, frames, height, width, 3) with
            values in [0, 1]; ``"pil"``: a list of images for each video.
    """

    frames: Any


class LongtakePipeline(DiffusionPipeline):
    """Samples videos of any length by a model of longtake.

    The model is in the folder ``model_folder`` beside this file, and is loaded at its first use.
    """

    def __init__(self, model_folder: str = "longtake") -> None:
        super().__init__()
        self.register_to_config(model_folder=model_folder)
        self._opened: VideoModel | None = None
        self._place: dict[str, Any] = {"device": "cpu", "dtype": None}

    @property
    def video_model(self) -> VideoModel:
        """The model, on the device and in the dtype that ``to`` has set."""
        if self._opened is None:
            folder = Path(self.config["_name_or_path"]) / self.config["model_folder"]
            self._opened = VideoModel.from_pretrained(folder, **self._place)
        return self._opened

    @property
    def device(self) -> torch.device:
        return torch.device(self._place["device"])

    def to(self, *args: Any, **kwargs: Any) -> "LongtakePipeline":
        """Set device and dtype, given in any order; the model is loaded again when it is used."""
        for value in (*args, *kwargs.values()):
            if value is not None:
                self._place["dtype" if isinstance(value, torch.dtype) else "device"] = value
        self._opened = None
        return self

    def __call__(
        self,
        prompt: str | None = None,
        negative_prompt: str | None = None,
        label: str | None = None,
        num_frames: int = 16,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "np",
    ) -> LongtakeOutput:
        """Sample videos.

        Args:
            prompt: text of all videos, for a model that reads text; None: none is given.
            negative_prompt: text that guidance contrasts the prompt with; None: the empty text.
            label: class of all videos, by name or number; None: drawn for each video.
            num_frames: number of frames of each video.
            num_inference_steps: number of sampling steps; None: the model's own.
            guidance_scale: scale of classifier-free guidance; None: the model's own guidance.
            generator: one for each video, of which the initial seed alone is used: the video of
                ``torch.Generator().manual_seed(7)`` is that of seed 7. None: one video, of a
                seed that PyTorch's global generator draws.
            output_type: ``np`` or ``pil``.

        Raises:
            ValueError: the model reads no such label or prompt, or the output type is unknown.
        """
        if output_type not in ("np", "pil"):
            raise ValueError(f"output_type={output_type!r} must be 'np' or 'pil'")
        model = self.video_model
        changes = [] if num_inference_steps is None else [f"sampler.steps={num_inference_steps}"]
        if guidance_scale is not None:
            changes += ["guidance.kind=classifier_free", f"guidance.scale={guidance_scale}"]
        text = None if prompt is None else Prompt(prompt, negative_prompt or "")
        request = model.request(_seeds(generator), label, text)
        video = model.long_video(sampling_with(model.index.sampling, changes))
        parts = [part.pixels.cpu().float() for part in video(request, num_frames)]
        pixels = (torch.cat(parts, 2)[:, :, :num_frames] / 2 + 0.5).clamp(0, 1)
        frames = pixels.permute(0, 2, 3, 4, 1).numpy()
        return LongtakeOutput(frames=frames if output_type == "np" else _images(frames))


def _seeds(generator: torch.Generator | Sequence[torch.Generator] | None) -> list[int]:
    if generator is None:
        return [int(torch.randint(1 << 31, ()))]
    each = [generator] if isinstance(generator, torch.Generator) else generator
    return [one.initial_seed() for one in each]


def _images(frames: np.ndarray) -> list[list[Image.Image]]:
    levels = np.rint(frames * 255).astype(np.uint8)
    return [[Image.fromarray(frame) for frame in video] for video in levels]
