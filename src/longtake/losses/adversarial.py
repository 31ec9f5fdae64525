"""Adversarial losses of an autoencoder and of its patch discriminators."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from longtake.distributed import Ranks
from longtake.losses.discriminators import AdversarialLoss, DiscriminatorConfig
from longtake.losses.frames import Clips, Scalar
from longtake.nn.formulas import at_least_float32


class Accuracy(NamedTuple):
    """A discriminator's accuracy on patches.

    Attributes:
        real: share of patches of videos whose logit is above 0.
        fake: share of patches of reconstructions whose logit is below 0.
    """

    real: Scalar
    fake: Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorLoss:
    """Loss of a discriminator on a batch.

    Attributes:
        total: scalar to differentiate.
        accuracy: share of patches that it classifies correctly.
        parts: named scalars to log, without gradient: mean logits and accuracies.
    """

    total: Tensor
    accuracy: Accuracy
    parts: Mapping[str, Tensor]


class AdversarialTerm:
    """One adversarial term of an autoencoder's loss: a discriminator with its weight.

    Args:
        config: settings of the term and of its discriminator.
        number: position of the term in the loss, from 1; later terms carry it in their names.
        ranks: processes that share each batch.

    Attributes:
        name: ``discriminator``, ``discriminator_2``, ...
        network: the discriminator, trained on ``discriminator_loss``.
    """

    def __init__(
        self,
        config: DiscriminatorConfig,
        number: int,
        ranks: Ranks = Ranks(),  # noqa: B008
    ) -> None:
        self.config, self._ranks = config, ranks
        self.network = config.build()
        self._suffix = "" if number == 1 else f"_{number}"
        self.name = f"discriminator{self._suffix}"

    def generator_loss(
        self,
        video: Clips,
        reconstruction: Clips,
        likelihood: Scalar,
        last_layer: Tensor,
        *,
        seeds: Sequence[int],
    ) -> tuple[Scalar, dict[str, Tensor]]:
        """Adversarial and feature-matching loss of the autoencoder.

        Args:
            video: clips in [-1, 1].
            reconstruction: their reconstructions.
            likelihood: reconstruction loss, to which an adaptive weight is relative.
            last_layer: weight of the decoder's last layer, at which an adaptive weight compares
                gradients.
            seeds: one seed per clip, which selects the frames that the discriminator sees.

        Returns:
            the weighted scalar, and named scalars to log, before their weights.
        """
        real = []
        if self.config.feature_weight:
            with torch.no_grad():
                *real, _ = self.network(self.config.judged(video, seeds))
        *fake, logits = self.network(self.config.judged(reconstruction, seeds))
        adversarial = -at_least_float32(logits).mean()
        weight = torch.full_like(adversarial, self.config.weight)
        if self.config.adaptive:
            weight = weight * gradient_ratio(likelihood, adversarial, last_layer, self._ranks)
        total = weight * adversarial
        parts = {"adversarial": adversarial, "adversarial_weight": weight}
        if self.config.feature_weight:
            parts["features"] = feature_matching(real, fake)
            total = total + self.config.feature_weight * parts["features"]
        return total, self._named(parts)

    def discriminator_loss(
        self, video: Clips, reconstruction: Clips, *, seeds: Sequence[int]
    ) -> DiscriminatorLoss:
        """Loss of the discriminator on clips and their reconstructions, which get no gradient.

        ``seeds``, one per clip, select the frames that the discriminator sees.
        """
        real, fake = (
            at_least_float32(self.network(self.config.judged(clips.detach(), seeds))[-1])
            for clips in (video, reconstruction)
        )
        accuracy = sign_accuracy(real, fake)
        parts = {
            "logits_real": real.mean().detach(),
            "logits_fake": fake.mean().detach(),
            "accuracy_real": accuracy.real,
            "accuracy_fake": accuracy.fake,
        }
        total = DISCRIMINATOR_LOSSES[self.config.loss](real, fake)
        return DiscriminatorLoss(total=total, accuracy=accuracy, parts=self._named(parts))

    def _named(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {f"{name}{self._suffix}": value for name, value in parts.items()}


def hinge(real: Float[Tensor, "..."], fake: Float[Tensor, "..."]) -> Scalar:
    """Mean hinge loss of a discriminator: 0 if logits ``real`` > 1 and ``fake`` < -1."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def vanilla(real: Float[Tensor, "..."], fake: Float[Tensor, "..."]) -> Scalar:
    """Mean binary cross-entropy of a discriminator: target 1 for videos, 0 for reconstructions."""
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


DISCRIMINATOR_LOSSES: Mapping[AdversarialLoss, Callable[[Tensor, Tensor], Tensor]] = {
    "hinge": hinge,
    "vanilla": vanilla,
}


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Scalar:
    """Mean absolute difference of a discriminator's features, summed over its layers.

    ``real`` and ``fake`` hold the features of videos and of reconstructions in each layer; those of
    videos get no gradient.
    """
    each = [
        F.l1_loss(at_least_float32(f), at_least_float32(r.detach()))
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(each).sum()


def gradients(losses: Sequence[Scalar], at: Tensor) -> list[Tensor]:
    """Gradient of each of ``losses`` with respect to ``at``, in float32 at least, detached."""
    found = (torch.autograd.grad(loss, at, retain_graph=True)[0] for loss in losses)
    return [at_least_float32(gradient).detach() for gradient in found]


def gradient_ratio(
    reconstruction: Scalar,
    adversarial: Scalar,
    last_layer: Tensor,
    ranks: Ranks = Ranks(),  # noqa: B008
) -> Scalar:
    """Adaptive weight of an adversarial loss (VQGAN), at most 10,000.

    It is the norm of the reconstruction loss's gradient at ``last_layer``, the decoder's last
    weight, divided by the norm of the adversarial loss's gradient there. The losses are means over
    this process's samples; the weight is that of the means over the samples of all ``ranks``.
    """
    found = gradients((reconstruction, adversarial), last_layer)
    wanted, given = (ranks.all_mean(gradient).norm() for gradient in found)
    return (wanted / (given + 1e-4)).clamp(0, 1e4)


def sign_accuracy(real: Float[Tensor, "..."], fake: Float[Tensor, "..."]) -> Accuracy:
    """A discriminator's accuracy from its logits on videos and on reconstructions."""
    return Accuracy((real > 0).float().mean(), (fake < 0).float().mean())
