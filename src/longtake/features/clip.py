"""CLIP (Radford et al., 2021): features of frames and of texts that can be compared."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import normalize

from longtake.checkpoint import check_finite
from longtake.text.transformers_files import LOCAL, opened_by_transformers

REMEDY = "is not a folder of a CLIP model of transformers ({reason}); give one"


class Clip(nn.Module):
    """A CLIP model of transformers; the features of a video are means over its frames.

    Features of each frame and of each text have length 1, so that the scalar product of the
    features of a video and a text is the mean, over frames, of their cosine. ``network`` is a
    CLIPModel of transformers, ``tokenizer`` and ``processor`` its tokenizer and image processor;
    ``read_clip`` loads all three.
    """

    def __init__(self, network: nn.Module, tokenizer: Any, processor: Any) -> None:
        super().__init__()
        self.network: Any = network
        self._tokenizer, self._processor = tokenizer, processor

    @property
    def width(self) -> int:
        """Number of features of a video or text."""
        return self.network.config.projection_dim

    def treat(self, clip: UInt8[Tensor, "t h w 3"]) -> Float[Tensor, "3 t s s"]:
        """Resize, crop and normalise the frames of a clip by the model's own image processor."""
        frames = list(clip.cpu().numpy())
        pixels = self._processor(images=frames, return_tensors="pt")["pixel_values"]
        return rearrange(pixels, "t c h w -> c t h w").to(clip.device)

    def forward(self, video: Float[Tensor, "b 3 t s s"]) -> Float[Tensor, "b d"]:
        """Features of videos prepared by ``treat``: means of the frames' features of length 1."""
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        found = self.network.visual_projection(self.network.vision_model(frames).pooler_output)
        return normalize(found, dim=-1).unflatten(0, (len(video), -1)).mean(1)

    @torch.no_grad()
    def texts(self, texts: Sequence[str], at_once: int = 64) -> Float[Tensor, "n d"]:
        """Features of length 1 of texts, on the CPU; texts too long for the model are cut.

        ``at_once`` is the number of texts in a forward pass.
        """
        device, parts = next(self.network.parameters()).device, []
        for first in range(0, len(texts), at_once):
            batch = self._tokenizer(
                list(texts[first : first + at_once]),
                padding=True,
                truncation=True,
                max_length=self.network.config.text_config.max_position_embeddings,
                return_tensors="pt",
            ).to(device)
            states = self.network.text_model(**batch).pooler_output
            parts.append(normalize(self.network.text_projection(states), dim=-1).cpu())
        return torch.cat(parts)


def read_clip(folder: Path) -> Clip:
    """Load a CLIP model, on the CPU and frozen, from a folder that transformers reads.

    Raises:
        ValueError: transformers is not installed, or the folder is not that of a CLIP model.
        CheckpointError: a weight is not finite.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder; give that of a CLIP model")
    with opened_by_transformers(str(folder), REMEDY) as transformers:
        kind = transformers.AutoConfig.from_pretrained(folder, **LOCAL).model_type
        if kind != "clip":
            raise ValueError(f"its config.json is of a model {kind!r}, expected 'clip'")
        read = partial(transformers.CLIPModel.from_pretrained, use_safetensors=True, **LOCAL)
        network = read(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **LOCAL)
        # the one of Pillow needs no torchvision
        processor = getattr(transformers, "CLIPImageProcessorPil", None)
        processor = (processor or transformers.CLIPImageProcessor).from_pretrained(folder, **LOCAL)
    check_finite(network.state_dict(), folder)
    return Clip(network.eval().requires_grad_(False), tokenizer, processor)
