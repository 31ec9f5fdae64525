"""Which frames of a clip a loss looks at."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.noise import derive


def pick_frames(
    video: Float[Tensor, "b c t h w"], count: int | None, seeds: Sequence[int]
) -> Float[Tensor, "b c n h w"]:
    """Some frames of each clip, drawn by the clip's own seed; all where None.

    The same seeds draw the same frames, so a video and its reconstruction stay together, and so do
    all losses that look at equally many.
    """
    if count is None or count >= video.shape[2]:
        return video
    rows = zip(video, seeds, strict=True)
    return torch.stack([clip[:, choose_frames(clip.shape[1], count, seed)] for clip, seed in rows])


def choose_frames(total: int, count: int, seed: int) -> list[int]:
    """Indices of one frame in each of ``count`` equal parts of a clip."""
    edges = [part * total // count for part in range(count + 1)]
    return [low + derive(seed, "frame", low) % (high - low) for low, high in pairwise(edges)]
