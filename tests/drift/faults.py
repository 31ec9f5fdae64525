"""Faults of long video, put into good video to test the measures of drift."""

import numpy as np
from jaxtyping import UInt8

Video = UInt8[np.ndarray, "t h w 3"]


def drift(video: Video, change: float = 0.12, channel: int = 0) -> Video:
    """Move one colour by ``change`` of its range from the first frame to the last."""
    moved = video.astype(np.float32)
    moved[..., channel] += 255 * change * np.linspace(0, 1, len(video))[:, None, None]
    return _pixels(moved)


def early_drift(video: Video, levels: float, channel: int = 0) -> Video:
    """Move one colour by ``levels`` of 255, most of it within an eighth of the video."""
    moved, time = video.astype(np.float32), 8 * np.linspace(0, 1, len(video))
    moved[..., channel] += levels * (1 - np.exp(-time))[:, None, None]
    return _pixels(moved)


def pale(video: Video, left: float) -> Video:
    """Lower the colourfulness to ``left`` of it in the last frame; brightness stays."""
    grey = video @ np.array([0.299, 0.587, 0.114], np.float32)
    share = np.linspace(1, left, len(video))[:, None, None, None]
    return _pixels(grey[..., None] + share * (video - grey[..., None]))


def darken(video: Video, left: float) -> Video:
    """Fade to black, to ``left`` of the light in the last frame."""
    return _pixels(video * np.linspace(1, left, len(video), dtype=np.float32)[:, None, None, None])


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


def uneven(video: Video, steps: tuple[float, ...]) -> Video:
    """Move by ``steps`` of the original's frames in turn, of mean 1; blended where needed."""
    speed = np.resize(np.array(steps) / np.mean(steps), len(video))
    place = np.minimum(np.concatenate([[0], np.cumsum(speed)[:-1]]), len(video) - 1.001)
    first = place.astype(int)
    share = (place - first)[:, None, None, None]
    return _pixels((1 - share) * video[first] + share * video[first + 1])


def zoom(video: Video, last: float) -> Video:
    """Enlarge the middle, by 1 in the first frame and ``last`` in the last; nearest pixels."""
    shown, (height, width) = np.empty_like(video), video.shape[1:3]
    for t, scale in enumerate(np.linspace(1, last, len(video))):
        rows, columns = (
            np.clip((np.arange(n) - n / 2 + 0.5) / scale + n / 2, 0, n - 1).astype(int)
            for n in (height, width)
        )
        shown[t] = video[t][rows][:, columns]
    return shown


def noise(video: Video, levels: float) -> Video:
    """Add white noise whose standard deviation grows from 0 to ``levels`` of 255."""
    size = np.linspace(0, levels, len(video))[:, None, None, None]
    return _pixels(video + size * np.random.default_rng(0).standard_normal(video.shape))


def pulse(video: Video, period: int, levels: float) -> Video:
    """Brighten every frame whose number is a multiple of ``period``."""
    bright = video.astype(np.float32)
    bright[::period] += levels
    return _pixels(bright)


def blur_pulse(video: Video, period: int, share: float = 1.0) -> Video:
    """Mix the smoothed picture into every frame whose number is a multiple of ``period``."""
    smooth = video[::period].astype(np.float32)
    for axis in (1, 2):
        smooth = (np.roll(smooth, 1, axis) + 2 * smooth + np.roll(smooth, -1, axis)) / 4
    mixed = video.astype(np.float32)
    mixed[::period] += share * (smooth - mixed[::period])
    return _pixels(mixed)


def part_freeze(video: Video, start: int, frames: int) -> Video:
    """Hold the lower half of the frame before ``start`` for ``frames`` frames."""
    held, lower = video.copy(), video.shape[1] // 2
    held[start : start + frames, lower:] = video[start - 1, lower:]
    return held


def again(video: Video, start: int, frames: int) -> Video:
    """Show the ``frames`` frames before ``start`` once more, then continue the video."""
    return np.concatenate([video[:start], video[start - frames :]])[: len(video)]


def mixed(video: Video, other: Video, at: int, share: float) -> Video:
    """Mix ``share`` of another video in from frame ``at`` on."""
    late = (1 - share) * video[at:].astype(np.float32) + share * other[at : len(video)]
    return np.concatenate([video[:at], _pixels(late)])


def light_step(video: Video, at: int, levels: float) -> Video:
    """Brighten all frames from ``at`` on by some levels of 255."""
    return _pixels(video + levels * (np.arange(len(video)) >= at)[:, None, None, None])


def random_joints(video: Video, chunk: int, levels: float) -> Video:
    """Make each chunk brighter or darker by some levels of 255, at random."""
    sign = np.random.default_rng(7).choice((-1.0, 1.0), -(-len(video) // chunk))
    return _pixels(video + levels * np.repeat(sign, chunk)[: len(video), None, None, None])


def cross_fades(video: Video, chunk: int, levels: float, blend: int = 4) -> Video:
    """Add a smooth pattern of each chunk's own, as decoders err, cross-faded at the joints."""
    random = np.random.default_rng(3)
    chunks, (height, width) = -(-len(video) // chunk) + 1, video.shape[1:3]
    coarse = random.standard_normal((chunks, -(-height // 8), -(-width // 8), 3))
    error = levels * coarse.repeat(8, 1).repeat(8, 2)[:, :height, :width]
    number, place = np.divmod(np.arange(len(video)), chunk)
    late = np.clip((place - (chunk - blend) + 0.5) / blend, 0, 1)[:, None, None, None]
    return _pixels(video + (1 - late) * error[number] + late * error[number + 1])


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
