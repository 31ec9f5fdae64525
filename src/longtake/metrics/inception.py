"""Inception Score of videos (Salimans et al. 2016; TGAN for videos), in float64."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.metrics.frechet import check_finite
from longtake.noise import generator


@dataclass(frozen=True, slots=True, kw_only=True)
class InceptionScore:
    """Inception Score of a set of clips, computed on several equal parts of the set.

    Attributes:
        mean: mean of the parts' scores, from 1 to the number of classes. The fewer clips a part
            has, the lower its score.
        std: standard deviation of the parts' scores, which papers print; not the standard error.
        parts: number of parts.
    """

    mean: float
    std: float
    parts: int


def inception_score(
    logits: Float[Tensor, "n k"], parts: int = 10, seed: int | None = 0
) -> InceptionScore:
    """Inception Score of clips: exp(mean over clips of KL(p(class | clip) || p(class))).

    It is computed on each of ``parts`` equal parts of the clips; papers use 10. Clips are shuffled
    by ``seed`` before they are divided, since parts of clips that are sorted by class score far too
    low; None keeps their order.

    The official codes add 1e-7 (TGAN) or 1e-20 (TGANv2) to probabilities before the logarithm; the
    logarithm of a softmax does not need it.

    Raises:
        ValueError: ``parts`` is not from 1 to the number of clips, or logits are infinite or NaN.
    """
    clips = len(logits)
    if not 1 <= parts <= clips:
        raise ValueError(f"parts={parts} must be from 1 to the number of clips, {clips}")
    values = check_finite(logits).log_softmax(1)
    if seed is not None:
        values = values[torch.randperm(clips, generator=generator(seed, "inception score"))]
    part = torch.searchsorted(part_starts(clips, parts), torch.arange(clips), right=True) - 1
    count = part.bincount().double()
    # KL of a part: entropy of the mean distribution minus mean entropy of the clips' distributions
    total = torch.zeros(parts, values.shape[1], dtype=torch.float64)
    total.index_add_(0, part, values.exp())
    negative_entropy = torch.zeros(parts, dtype=torch.float64)
    negative_entropy.index_add_(0, part, (values.exp() * values).sum(1))
    entropy = torch.special.entr(total / count[:, None]).sum(1)
    scores = (entropy + negative_entropy / count).exp()
    mean, std = float(scores.mean()), float(scores.std(correction=0))
    return InceptionScore(mean=mean, std=std, parts=parts)


def part_starts(clips: int, parts: int) -> Tensor:
    """Index of the first clip of each of ``parts`` parts, whose sizes differ by one at most."""
    return torch.tensor([part * clips // parts for part in range(parts)])
