"""Faults of long video, put into good video to test the measures of drift."""

import numpy as np
from jaxtyping import UInt8

Video = UInt8[np.ndarray, "t h w 3"]


def drift(video: Video, change: float = 0.12, channel: int = 0) -> Video:
    """Move one colour by ``change`` of its range from the first frame to the last."""
    moved = video.astype(np.float32)
    moved[..., channel] += 255 * change * np.linspace(0, 1, len(video))[:, None, None]
    return _pixels(moved)


def fade(video: Video, left: float = 0.5) -> Video:
    """Lower the contrast to ``left`` of it in the last frame."""
    mean = video.mean((1, 2), keepdims=True)
    share = np.linspace(1, left, len(video))[:, None, None, None]
    return _pixels(mean + share * (video - mean))


def blur(video: Video, passes: int = 6) -> Video:
    """Smooth frames over three pixels, from no pass for the first to ``passes`` for the last."""
    frames = video.astype(np.float32)
    for number in range(passes):
        share = np.clip(passes * np.linspace(0, 1, len(video)) - number, 0, 1)
        share = share[:, None, None, None]
        for axis in (1, 2):
            smooth = (np.roll(frames, 1, axis) + 2 * frames + np.roll(frames, -1, axis)) / 4
            frames = frames + share * (smooth - frames)
    return _pixels(frames)


def slow(video: Video, left: float = 0.25) -> Video:
    """Slow time to ``left`` of its speed; frames in between are blended."""
    speed = np.linspace(1, left, len(video))
    place = np.concatenate([[0], np.cumsum(speed)[:-1]])
    first = np.minimum(place.astype(int), len(video) - 2)
    share = (place - first)[:, None, None, None]
    return _pixels((1 - share) * video[first] + share * video[first + 1])


def freeze(video: Video, start: int, frames: int) -> Video:
    """Repeat the frame before ``start`` for ``frames`` frames, then continue the video."""
    still = np.repeat(video[start - 1 : start], frames, axis=0)
    return np.concatenate([video[:start], still, video[start:]])[: len(video)]


def loop(video: Video, start: int, period: int) -> Video:
    """Repeat the last ``period`` frames before ``start`` to the end."""
    again = start - period + np.arange(len(video) - start) % period
    return np.concatenate([video[:start], video[again]])


def flicker(video: Video, chunk: int, levels: float = 4.0, seed: int = 0) -> Video:
    """Make each chunk brighter or darker by some levels of 255."""
    chunks = -(-len(video) // chunk)
    sign = np.where(np.random.default_rng(seed).random(chunks) < 0.5, -1.0, 1.0)
    sign[1::2] = -sign[0::2][: len(sign[1::2])]
    return _pixels(video + levels * np.repeat(sign, chunk)[: len(video), None, None, None])


def cut(video: Video, other: Video, at: int) -> Video:
    """Switch to another video at frame ``at``."""
    return np.concatenate([video[:at], other[at:]])


def _pixels(values: np.ndarray) -> Video:
    """Round by a fixed pattern, so that a slow change does not make whole frames jump a level."""
    pattern = np.random.default_rng(0).random(values.shape[1:], np.float32)
    return np.floor(values + pattern).clip(0, 255).astype(np.uint8)
