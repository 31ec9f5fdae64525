"""Random crops of training clips."""

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.data.loader import Batch
from longtake.noise import generator


def cropped(batch: Batch, crop: tuple[int, int] | None, seed: int) -> Float[Tensor, "b 3 t h w"]:
    """Cut a random part of each clip; where depends on ``seed`` and ``batch.number`` alone.

    Args:
        batch: the clips.
        crop: height and width of the part; None: whole frames.
        seed: seed of all crops.

    Raises:
        ValueError: the clips are smaller than the crop.
    """
    if crop is None:
        return batch.video
    height, width = batch.video.shape[3:]
    room = height - crop[0], width - crop[1]
    if min(room) < 0:
        raise ValueError(f"crop={crop} must fit in clips of {height}x{width} pixels")
    parts = []
    for video, number in zip(batch.video, batch.number, strict=True):
        random = generator(seed, "crop", number)
        top, left = (int(torch.randint(n + 1, (), generator=random)) for n in room)
        parts.append(video[..., top : top + crop[0], left : left + crop[1]])
    return torch.stack(parts)
