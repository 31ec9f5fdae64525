"""What an autoencoder is trained on: pixels, perception, KL and, in time, an adversary."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior
from longtake.config import Config
from longtake.losses.adversarial import DISCRIMINATOR_LOSSES, AnyAdversary, gradient_ratio
from longtake.losses.distance import clip_distance
from longtake.losses.perceptual import AnyPerceptual
from longtake.losses.reconstruction import PixelError, pixel_error


class AutoencoderLossConfig(Config):
    """Settings of an autoencoder's loss; LVDM's with a perceptual loss and a ``patch2d`` adversary.

    Attributes:
        pixel: mean absolute or squared error; LVDM's code has ``l1``.
        pixel_weight: of it.
        perceptual: the perceptual loss, with its weight.
        kl_weight: of the KL divergence of the posterior to the standard normal; LVDM has 0.
        adversary: the discriminator, with its weight and start.
        log_variance: of the reconstruction's likelihood; a constant, as in the official code.
        reduction: ``official`` sums the reconstruction error over a frame's pixels and the KL
            over a clip's latent; ``mean`` takes their means. The adversarial loss is a mean in
            both; with an adaptive weight it stands in the same proportion to either.
    """

    kind: Literal["autoencoder_loss"] = "autoencoder_loss"
    pixel: PixelError = "l1"
    pixel_weight: Annotated[float, Ge(0)] = 1.0
    perceptual: AnyPerceptual | None = None
    kl_weight: Annotated[float, Ge(0)] = 0.0
    adversary: AnyAdversary | None = None
    log_variance: float = 0.0
    reduction: Literal["official", "mean"] = "official"


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """A loss and what it is made of.

    Attributes:
        total: scalar to differentiate.
        parts: named scalars to log, without gradients and before their weights.
    """

    total: Tensor
    parts: dict[str, Tensor]


class AutoencoderLoss(nn.Module):
    """The loss of ``AutoencoderLossConfig``; ``official`` is LVDM's LPIPSWithDiscriminator.

    Attributes:
        adversary: the discriminator, to be trained on ``discriminator``; None where there is none.
        perceptual: the frozen distance; None where there is none.
    """

    def __init__(self, config: AutoencoderLossConfig) -> None:
        super().__init__()
        self.config = config
        self.perceptual = config.perceptual.build() if config.perceptual else None
        self.adversary = config.adversary.build() if config.adversary else None

    def generator(
        self,
        video: Float[Tensor, "b 3 t h w"],
        reconstruction: Float[Tensor, "b 3 t h w"],
        posterior: Posterior,
        last_layer: Tensor,
        step: int,
    ) -> Losses:
        """What the autoencoder is trained on.

        Args:
            video: in [-1, 1].
            reconstruction: of it.
            posterior: that the reconstruction's latent was drawn from.
            last_layer: weight of the decoder's last convolution.
            step: of training, from 0.
        """
        error, parts = self._error(video, reconstruction, step)
        likelihood = self._likelihood(error, video)
        kl = self._kl(posterior)
        total = likelihood + self.config.kl_weight * kl
        parts |= {"nll": likelihood, "kl": kl}
        adversary, settings = self.adversary, self.config.adversary
        if adversary is not None and settings is not None and step >= settings.start:
            adversarial = -adversary(reconstruction).float().mean()
            weight = torch.full_like(adversarial, settings.weight)
            if settings.adaptive:
                weight = weight * gradient_ratio(likelihood, adversarial, last_layer)
            total = total + weight * adversarial
            parts |= {"adversarial": adversarial, "adversarial_weight": weight}
        return Losses(total=total, parts=_detached(parts))

    def discriminator(
        self,
        video: Float[Tensor, "b 3 t h w"],
        reconstruction: Float[Tensor, "b 3 t h w"],
        step: int,
    ) -> Losses | None:
        """What the adversary is trained on; None before its start, and where there is none."""
        adversary, settings = self.adversary, self.config.adversary
        if adversary is None or settings is None or step < settings.start:
            return None
        real = adversary(video.detach()).float()
        fake = adversary(reconstruction.detach()).float()
        parts = {"logits_real": real.mean(), "logits_fake": fake.mean()}
        total = DISCRIMINATOR_LOSSES[settings.loss](real, fake)
        return Losses(total=total, parts=_detached(parts))

    def _error(
        self, video: Tensor, reconstruction: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Error of a pixel, the perceptual error of its frame included."""
        pixel = pixel_error(self.config.pixel, video, reconstruction)
        error, parts = self.config.pixel_weight * pixel, {"pixel": pixel}
        settings = self.config.perceptual
        if self.perceptual is not None and settings is not None:
            distance = clip_distance(
                self.perceptual, video, reconstruction, frames=settings.frames, step=step
            )
            error, parts = error + settings.weight * distance, parts | {"perceptual": distance}
        return error, parts

    def _likelihood(self, error: Tensor, video: Tensor) -> Tensor:
        """Negative log-likelihood of a frame (``official``) or of a pixel (``mean``)."""
        each = error * math.exp(-self.config.log_variance) + self.config.log_variance
        return each * video[0, :, 0].numel() if self.config.reduction == "official" else each

    def _kl(self, posterior: Posterior) -> Tensor:
        """KL of a latent (``official``) or of one of its numbers (``mean``)."""
        each = posterior.kl().float().mean()
        latent = posterior.mean[0].numel()
        return each if self.config.reduction == "official" else each / latent


def _detached(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in parts.items()}
