"""Encodes clips to latents, and measures the latents' mean and standard deviation."""

from collections.abc import Iterable, Sequence

import torch
from einops import rearrange

from longtake.autoencoders.base import Posterior, VideoAutoencoder
from longtake.checkpoint import is_finite
from longtake.data.clips import Clip
from longtake.video import to_model


def encode_clips(
    autoencoder: VideoAutoencoder, clips: Sequence[Clip], batch: int, overlap_frames: int
) -> list[Posterior]:
    """Posterior (batch of 1, on the CPU) of each clip, whose windows are encoded and joined.

    A window has as many frames as the autoencoder's clips. Latents are joined along their first
    axis after the channels: frames of a volume, positions of planes.

    Args:
        autoencoder: autoencoder on its device.
        clips: clips of a whole number of windows, all of one shape.
        batch: number of windows that are encoded at once.
        overlap_frames: number of frames of video that neighbouring windows share.

    Raises:
        ValueError: latents are not finite.
    """
    found = _encoded(autoencoder, clips, batch, overlap_frames)
    for clip, posterior in zip(clips, found, strict=True):
        if not (is_finite(posterior.mean) and is_finite(posterior.log_variance)):
            raise ValueError(
                f"{clip.path}: the autoencoder's latents of the clip from frame {clip.start_frame} "
                "are not finite; train the autoencoder again from a good checkpoint"
            )
    return found


@torch.no_grad()
def _encoded(
    autoencoder: VideoAutoencoder, clips: Sequence[Clip], batch: int, overlap_frames: int
) -> list[Posterior]:
    window = autoencoder.spec.clip[0]
    video = torch.stack([to_model(clip.frames) for clip in clips])
    windows = video.unfold(2, window, window - overlap_frames)
    windows = rearrange(windows, "b c n h w t -> (b n) c t h w")
    weight = next(autoencoder.parameters())
    parts = [autoencoder.encode(p.to(weight.device, weight.dtype)) for p in windows.split(batch)]
    pattern = "(b n) c first ... -> b c (n first) ..."
    means, log_variances = (
        rearrange(torch.cat([p.float().cpu() for p in each]), pattern, b=len(clips)).split(1)
        for each in zip(*((part.mean, part.log_variance) for part in parts), strict=True)
    )
    pairs = zip(means, log_variances, strict=True)
    return [Posterior(mean=mean, log_variance=variance) for mean, variance in pairs]


def latent_moments(posteriors: Iterable[Posterior], name: str) -> tuple[float, float]:
    """Mean and standard deviation of all elements of samples of some posteriors.

    Raises:
        ValueError: all latents are equal; ``name`` begins the message.
    """
    count, total, squares = 0, 0.0, 0.0
    for posterior in posteriors:
        means, variances = posterior.mean.double(), posterior.log_variance.double().exp()
        count += means.numel()
        total += means.sum().item()
        squares += (means**2 + variances).sum().item()
    mean = total / count
    std = max(0.0, squares / count - mean**2) ** 0.5
    if std == 0:
        raise ValueError(
            f"{name}: all latents are equal, so they cannot be scaled to a standard deviation "
            "of 1; train the autoencoder further"
        )
    return mean, std
