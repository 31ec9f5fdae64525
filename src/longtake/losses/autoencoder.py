"""What an autoencoder is trained on: pixels, perception, KL and, in time, an adversary."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from jaxtyping import Float
from pydantic import BeforeValidator
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior
from longtake.config import Config
from longtake.losses.adversarial import (
    DISCRIMINATOR_LOSSES,
    AnyAdversary,
    feature_matching,
    gradient_ratio,
    pull,
    right_signed,
)
from longtake.losses.distance import clip_distance
from longtake.losses.frames import pick_frames
from longtake.losses.perceptual import AnyPerceptual
from longtake.losses.reconstruction import PixelError, motion_error, pixel_error


def _all(adversary: Any) -> Any:
    """None, one or many, as a config has them, as many."""
    if adversary is None:
        return ()
    return adversary if isinstance(adversary, list | tuple) else (adversary,)


class AutoencoderLossConfig(Config):
    """Settings of an autoencoder's loss.

    LVDM's has a perceptual loss and a ``patch2d`` adversary; PVDM's has a ``patch2d`` and a
    ``patch3d`` one, weights of pixels and perception of 4, and ``reduction="mean"``.

    Attributes:
        pixel: mean absolute or squared error; both codes have ``l1``.
        pixel_weight: of it.
        motion_weight: of the same error of what changes in a clip, its mean over time taken away;
            neither code has it. Where little moves, a triplane autoencoder without it may put no
            motion into its planes at all.
        perceptual: the perceptual loss, with its weight.
        kl_weight: of the KL divergence of the posterior to the standard normal; LVDM has 0.
        adversary: the discriminators, each with its weight and start; one may stand by itself.
        log_variance: of the reconstruction's likelihood; a constant, as in the official code.
        reduction: ``official`` is LVDM's: it sums the reconstruction error over a frame's pixels
            and the KL over a clip's latent; ``mean`` takes their means, as PVDM does. Adversarial
            losses are means in both; with an adaptive weight they stand in the same proportion to
            either.
    """

    kind: Literal["autoencoder_loss"] = "autoencoder_loss"
    pixel: PixelError = "l1"
    pixel_weight: Annotated[float, Ge(0)] = 1.0
    motion_weight: Annotated[float, Ge(0)] = 0.0
    perceptual: AnyPerceptual | None = None
    kl_weight: Annotated[float, Ge(0)] = 0.0
    adversary: Annotated[tuple[AnyAdversary, ...], BeforeValidator(_all)] = ()
    log_variance: float = 0.0
    reduction: Literal["official", "mean"] = "official"


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """A loss and what it is made of.

    Attributes:
        total: scalar to differentiate.
        parts: named scalars to log, without gradients and before their weights; those of the
            second adversary end in ``_2``.
    """

    total: Tensor
    parts: dict[str, Tensor]


class AutoencoderLoss(nn.Module):
    """The loss of ``AutoencoderLossConfig``.

    Attributes:
        adversaries: the discriminators, each to be trained on ``discriminator``.
        perceptual: the frozen distance; None where there is none.
    """

    def __init__(self, config: AutoencoderLossConfig) -> None:
        super().__init__()
        self.config = config
        self.perceptual = config.perceptual.build() if config.perceptual else None
        self.adversaries = nn.ModuleList(adversary.build() for adversary in config.adversary)

    def generator(
        self,
        video: Float[Tensor, "b 3 t h w"],
        reconstruction: Float[Tensor, "b 3 t h w"],
        posterior: Posterior,
        last_layer: Tensor,
        *,
        seeds: Sequence[int],
        begun: Sequence[bool],
        compare: bool = False,
    ) -> Losses:
        """What the autoencoder is trained on.

        Args:
            video: in [-1, 1].
            reconstruction: of it.
            posterior: that the reconstruction's latent was drawn from.
            last_layer: weight of the decoder's last convolution.
            seeds: of the clips; the frames that are looked at follow from them.
            begun: whether each adversary counts by now.
            compare: whether the parts are to have ``adversarial_pull`` too: the gradient's norm at
                the pixels of what the adversaries add, over that of the reconstruction loss.
        """
        error, parts = self._error(video, reconstruction, seeds)
        likelihood = self._likelihood(error, video)
        kl = self._kl(posterior)
        total = likelihood + self.config.kl_weight * kl
        parts |= {"nll": likelihood, "kl": kl}
        played = []
        for index in [i for i, counts in enumerate(begun) if counts]:
            game, logged = self._game(index, video, reconstruction, seeds, likelihood, last_layer)
            total = total + game
            played.append(game)
            parts |= {numbered(name, index): value for name, value in logged.items()}
        if compare and played:
            together = torch.stack(played).sum()
            parts["adversarial_pull"] = pull(together, likelihood, reconstruction)
        return Losses(total=total, parts=_detached(parts))

    def discriminator(
        self,
        index: int,
        video: Float[Tensor, "b 3 t h w"],
        reconstruction: Float[Tensor, "b 3 t h w"],
        *,
        seeds: Sequence[int],
    ) -> Losses:
        """What an adversary is trained on, and how well it tells videos from reconstructions."""
        adversary, settings = self.adversaries[index], self.config.adversary[index]
        real = adversary(settings.seen(video.detach(), seeds))[-1].float()
        fake = adversary(settings.seen(reconstruction.detach(), seeds))[-1].float()
        on_real, on_fake = right_signed(real, fake)
        parts = {
            "logits_real": real.mean(),
            "logits_fake": fake.mean(),
            "accuracy_real": on_real,
            "accuracy_fake": on_fake,
        }
        total = DISCRIMINATOR_LOSSES[settings.loss](real, fake)
        named = {numbered(name, index): value for name, value in parts.items()}
        return Losses(total=total, parts=_detached(named))

    def _game(
        self,
        index: int,
        video: Tensor,
        reconstruction: Tensor,
        seeds: Sequence[int],
        likelihood: Tensor,
        last_layer: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What one adversary adds to the autoencoder's loss, and its parts."""
        adversary, settings = self.adversaries[index], self.config.adversary[index]
        real = []
        if settings.feature_weight:
            with torch.no_grad():
                *real, _ = adversary(settings.seen(video, seeds))
        *fake, logits = adversary(settings.seen(reconstruction, seeds))
        adversarial = -logits.float().mean()
        weight = torch.full_like(adversarial, settings.weight)
        if settings.adaptive:
            weight = weight * gradient_ratio(likelihood, adversarial, last_layer)
        total = weight * adversarial
        parts = {"adversarial": adversarial, "adversarial_weight": weight}
        if settings.feature_weight:
            features = feature_matching(real, fake)
            total, parts = (
                total + settings.feature_weight * features,
                parts | {"features": features},
            )
        return total, parts

    def _error(
        self, video: Tensor, reconstruction: Tensor, seeds: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Error of a pixel, those of motion and of its frame's perception included."""
        pixel = pixel_error(self.config.pixel, video, reconstruction)
        error, parts = self.config.pixel_weight * pixel, {"pixel": pixel}
        if weight := self.config.motion_weight:
            motion = motion_error(self.config.pixel, video, reconstruction)
            error, parts = error + weight * motion, parts | {"motion": motion}
        settings = self.config.perceptual
        if self.perceptual is not None and settings is not None:
            seen = (pick_frames(v, settings.frames, seeds) for v in (video, reconstruction))
            distance = clip_distance(self.perceptual, *seen)
            error, parts = error + settings.weight * distance, parts | {"perceptual": distance}
        return error, parts | {"reconstruction": error}

    def _likelihood(self, error: Tensor, video: Tensor) -> Tensor:
        """Negative log-likelihood of a frame (``official``) or of a pixel (``mean``)."""
        each = error * math.exp(-self.config.log_variance) + self.config.log_variance
        return each * video[0, :, 0].numel() if self.config.reduction == "official" else each

    def _kl(self, posterior: Posterior) -> Tensor:
        """KL of a latent (``official``) or of one of its numbers (``mean``)."""
        each = posterior.kl().float().mean()
        latent = posterior.mean[0].numel()
        return each if self.config.reduction == "official" else each / latent


def numbered(name: str, index: int) -> str:
    """Name of a part of an adversary's: as it is for the first, with its number for others."""
    return name if index == 0 else f"{name}_{index + 1}"


def _detached(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in parts.items()}
