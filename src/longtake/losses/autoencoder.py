"""Loss of an autoencoder: pixel error, perceptual distance, KL divergence, adversarial terms."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from pydantic import BeforeValidator, Field
from torch import Tensor
from torch.nn import functional as F

from longtake.autoencoders.base import Posterior
from longtake.config import Config
from longtake.distributed import Ranks
from longtake.losses.adversarial import AdversarialTerm, gradients
from longtake.losses.discriminators import AnyDiscriminator
from longtake.losses.efficientnet import EfficientNetLite
from longtake.losses.frames import Clips, Scalar, clip_distance, pick_frames
from longtake.losses.lpips import LPIPS
from longtake.nn.formulas import at_least_float32

AnyPerceptual = Annotated[EfficientNetLite | LPIPS, Field(discriminator="kind")]
"""Settings of a perceptual loss."""

PixelError = Literal["l1", "l2"]
PIXEL_ERRORS: Mapping[PixelError, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
}


def _as_tuple(value: Any) -> Any:
    """Convert a config's discriminators to a tuple: None to an empty one, one to one of it."""
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


class AutoencoderLossConfig(Config):
    """Settings of the loss that trains an autoencoder.

    LVDM's has a perceptual loss and a ``patch2d`` discriminator; PVDM's has a ``patch2d`` and a
    ``patch3d`` discriminator, pixel and perceptual weights of 4, and ``reduction="mean"``.

    Attributes:
        pixel: ``l1``: mean absolute error, as in both official codes; ``l2``: mean squared error.
        pixel_weight: weight of the pixel error.
        motion_weight: weight of a second pixel error, of clips minus their mean over time; in
            neither official code. On videos where little moves, a triplane autoencoder without it
            may encode no motion at all.
        flicker_weight: weight of the mean absolute error of second differences in time, of which
            flicker has much and true motion little; in neither official code.
        edge_weight: weight of the mean absolute error of differences between neighbouring pixels,
            which keeps edges sharp; in neither official code.
        perceptual: perceptual loss with its weight; None for none.
        kl_weight: weight of the KL divergence of the posterior from N(0, 1); LVDM has 0.
        adversary: discriminators, each with its weight and the step at which it starts; one may be
            given without a list.
        log_variance: log-variance of the reconstruction's likelihood; a constant, as in the
            official LVDM code.
        reduction: ``official``: sum the reconstruction error over a frame's pixels and the KL
            divergence over a clip's latent, as LVDM does; ``mean``: take means, as PVDM does.
            Adversarial losses are means in both cases; adaptive weights make their share of the
            loss the same.
    """

    kind: Literal["autoencoder_loss"] = "autoencoder_loss"
    pixel: PixelError = "l1"
    pixel_weight: Annotated[float, Ge(0)] = 1.0
    motion_weight: Annotated[float, Ge(0)] = 0.0
    flicker_weight: Annotated[float, Ge(0)] = Field(default=0.0, exclude_if=lambda w: not w)
    edge_weight: Annotated[float, Ge(0)] = Field(default=0.0, exclude_if=lambda w: not w)
    perceptual: AnyPerceptual | None = None
    kl_weight: Annotated[float, Ge(0)] = 0.0
    adversary: Annotated[tuple[AnyDiscriminator, ...], BeforeValidator(_as_tuple)] = ()
    log_variance: float = 0.0
    reduction: Literal["official", "mean"] = "official"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorLoss:
    """Loss of the autoencoder on a batch.

    Attributes:
        total: scalar to differentiate.
        reconstruction: weighted sum of the reconstruction errors per pixel, without gradient.
        parts: named scalars to log, without gradient and before their weights; the names of a
            second adversarial term end in ``_2``.
    """

    total: Tensor
    reconstruction: Tensor
    parts: Mapping[str, Tensor]


class AutoencoderLoss:
    """The loss that trains an autoencoder, with perceptual network and discriminators.

    Args:
        config: settings of the loss.
        ranks: processes that share each batch.

    Attributes:
        perceptual: frozen perceptual distance; None for none.
        terms: adversarial terms, each with its discriminator.
    """

    def __init__(self, config: AutoencoderLossConfig, ranks: Ranks = Ranks()) -> None:  # noqa: B008
        self.config, self._ranks = config, ranks
        self.perceptual = config.perceptual.build() if config.perceptual else None
        self.terms = tuple(AdversarialTerm(c, n, ranks) for n, c in enumerate(config.adversary, 1))

    def generator_loss(
        self,
        video: Clips,
        reconstruction: Clips,
        posterior: Posterior,
        last_layer: Tensor,
        *,
        seeds: Sequence[int],
        active: Sequence[AdversarialTerm] = (),
        log_gradients: bool = False,
    ) -> GeneratorLoss:
        """Loss of the autoencoder on a batch of clips.

        Args:
            video: clips in [-1, 1].
            reconstruction: their reconstructions.
            posterior: distribution from which the reconstructions' latents were sampled.
            last_layer: weight of the decoder's last layer.
            seeds: one seed per clip, which selects the frames that losses compare.
            active: those of ``terms`` that have started.
            log_gradients: add ``adversarial_pull`` to the scalars to log: norm of the gradient of
                the active adversarial terms with respect to the pixels, divided by that of the
                reconstruction loss.
        """
        error, parts = self._error(video, reconstruction, seeds)
        likelihood = self._likelihood(error, video)
        kl = self._kl(posterior)
        total = likelihood + self.config.kl_weight * kl
        parts |= {"reconstruction": error, "nll": likelihood, "kl": kl}
        added = []
        for term in active:
            loss, named = term.generator_loss(
                video, reconstruction, likelihood, last_layer, seeds=seeds
            )
            total = total + loss
            added.append(loss)
            parts |= named
        if log_gradients and added:
            together = torch.stack(added).sum()
            found = gradients((together, likelihood), reconstruction)
            game, task = (self._ranks.norm(gradient) for gradient in found)
            parts["adversarial_pull"] = game / task
        detached = {name: value.detach() for name, value in parts.items()}
        return GeneratorLoss(total=total, reconstruction=error.detach(), parts=detached)

    def _error(
        self, video: Tensor, reconstruction: Tensor, seeds: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of the reconstruction errors per pixel, and each error before its weight."""
        pixel = pixel_error(self.config.pixel, video, reconstruction)
        error, parts = self.config.pixel_weight * pixel, {"pixel": pixel}
        if weight := self.config.motion_weight:
            parts["motion"] = motion_error(self.config.pixel, video, reconstruction)
            error = error + weight * parts["motion"]
        if weight := self.config.flicker_weight:
            parts["flicker"] = flicker_error(video, reconstruction)
            error = error + weight * parts["flicker"]
        if weight := self.config.edge_weight:
            parts["edges"] = edge_error(video, reconstruction)
            error = error + weight * parts["edges"]
        settings = self.config.perceptual
        if self.perceptual is not None and settings is not None:
            seen = (pick_frames(v, settings.frames, seeds) for v in (video, reconstruction))
            parts["perceptual"] = clip_distance(self.perceptual, *seen)
            error = error + settings.weight * parts["perceptual"]
        return error, parts

    def _likelihood(self, error: Tensor, video: Tensor) -> Tensor:
        """Negative log-likelihood of a frame, or of a pixel value if ``reduction`` is ``mean``."""
        each = error * math.exp(-self.config.log_variance) + self.config.log_variance
        return each * video[0, :, 0].numel() if self.config.reduction == "official" else each

    def _kl(self, posterior: Posterior) -> Tensor:
        """Mean KL divergence of a latent, or of one of its numbers if ``reduction`` is ``mean``."""
        each = at_least_float32(posterior.kl()).mean()
        latent = posterior.mean[0].numel()
        return each if self.config.reduction == "official" else each / latent


def pixel_error(kind: PixelError, video: Clips, reconstruction: Clips) -> Scalar:
    """Mean absolute (``l1``) or squared (``l2``) difference of clips, in float32 at least."""
    return PIXEL_ERRORS[kind](at_least_float32(reconstruction), at_least_float32(video))


def motion_error(kind: PixelError, video: Clips, reconstruction: Clips) -> Scalar:
    """Pixel error of clips minus their mean over time; 0 if only still content differs."""
    clips = (at_least_float32(clip) for clip in (video, reconstruction))
    x, y = (clip - clip.mean(2, keepdim=True) for clip in clips)
    return pixel_error(kind, x, y)


def flicker_error(video: Clips, reconstruction: Clips) -> Scalar:
    """Mean absolute error of second differences in time; NaN for clips of less than 3 frames."""
    error = at_least_float32(reconstruction) - at_least_float32(video)
    return error.diff(n=2, dim=2).abs().mean()


def edge_error(video: Clips, reconstruction: Clips) -> Scalar:
    """Mean absolute error of differences between neighbouring pixels, of rows and of columns."""
    error = at_least_float32(reconstruction) - at_least_float32(video)
    return (error.diff(dim=3).abs().mean() + error.diff(dim=4).abs().mean()) / 2
