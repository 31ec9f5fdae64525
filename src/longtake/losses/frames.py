"""Random choice of the frames of a clip that a loss compares."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.noise import derive


def pick_frames(
    video: Float[Tensor, "b c t h w"], count: int | None, seeds: Sequence[int]
) -> Float[Tensor, "b c n h w"]:
    """Frames of each clip, drawn by the clip's seed.

    The same seeds draw the same frames, from a video and its reconstruction, and for all losses
    that use the same number of frames.

    Args:
        video: clips.
        count: number of frames per clip; None for all.
        seeds: one seed per clip.
    """
    if count is None or count >= video.shape[2]:
        return video
    rows = zip(video, seeds, strict=True)
    return torch.stack([clip[:, choose_frames(clip.shape[1], count, seed)] for clip, seed in rows])


def choose_frames(total: int, count: int, seed: int) -> list[int]:
    """Indices of one frame in each of ``count`` equal parts of a clip."""
    edges = [part * total // count for part in range(count + 1)]
    return [low + derive(seed, "frame", low) % (high - low) for low, high in pairwise(edges)]
