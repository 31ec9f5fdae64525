"""Inception Score of videos (Salimans et al. 2016; TGAN for videos), from running sums in float64.

How sure a classifier is of each clip, against how many classes all clips together cover: from 1 to
the number of classes. No list of predictions is kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from longtake.distributed import Ranks
from longtake.features.c3d import C3D
from longtake.features.treatment import AnyFrames
from longtake.metrics.statistics import check_finite


@dataclass(frozen=True, slots=True, kw_only=True)
class InceptionScore:
    """The score of some clips.

    Attributes:
        mean: over the parts that the clips are dealt into.
        deviation: of the parts' scores from each other, as papers print it behind the mean.
        clips: how many there were.
        parts: how many of them; the fewer clips a part has, the lower its score.
    """

    mean: float
    deviation: float
    clips: int
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """How clips are dealt into parts: the first clips are the first part, and so on.

    Attributes:
        clips: of all parts.
        parts: 10 in the papers.
    """

    clips: int
    parts: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.parts <= self.clips:
            raise ValueError(
                f"parts={self.parts} must be from 1 to the number of clips, {self.clips}"
            )

    @property
    def starts(self) -> Int[Tensor, "s"]:
        """The number of each part's first clip."""
        return torch.tensor([part * self.clips // self.parts for part in range(self.parts)])

    @property
    def sizes(self) -> Int[Tensor, "s"]:
        """How many clips each part has; they differ by one at most."""
        return self.starts.diff(append=torch.tensor([self.clips]))


@dataclass(frozen=True, kw_only=True)
class InceptionSums:
    """Sums over the clips of each part, on the CPU. They add up: over batches and over processes.

    Attributes:
        deal: of all clips into parts.
        count: of clips.
        total: sum of the classes' probabilities.
        certainty: sum of the negative entropy of a clip's classes.
    """

    deal: Splits
    count: Float64[Tensor, "s"]
    total: Float64[Tensor, "s k"]
    certainty: Float64[Tensor, "s"]

    @classmethod
    def none(cls, deal: Splits, classes: int) -> "InceptionSums":
        """Sums over no clips."""
        return cls(
            deal=deal,
            count=torch.zeros(deal.parts, dtype=torch.float64),
            total=torch.zeros(deal.parts, classes, dtype=torch.float64),
            certainty=torch.zeros(deal.parts, dtype=torch.float64),
        )

    @classmethod
    def of(
        cls, deal: Splits, numbers: Int[Tensor, "n"], rows: Float[Tensor, "n k"]
    ) -> "InceptionSums":
        """Sums over some clips.

        Probabilities are taken as they are; the official codes add 1e-7 (TGAN) or 1e-20 (TGANv2) to
        them before the logarithm, which the logarithm of a softmax does not need.

        Args:
            deal: of all clips into parts.
            numbers: of these clips among all, from 0; they choose the part.
            rows: the classifier's logits.

        Raises:
            ValueError: logits that are infinite or no numbers, or numbers that there are not.
        """
        values = check_finite(rows).log_softmax(1)
        numbers = numbers.cpu().contiguous()
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < deal.clips:
            raise ValueError(
                f"clip numbers from {int(numbers.min())} to {int(numbers.max())} must be from 0 to "
                f"{deal.clips - 1}, for {deal.clips} clips"
            )
        part = torch.searchsorted(deal.starts, numbers, right=True) - 1
        sums = cls.none(deal, values.shape[1])
        sums.count.index_add_(0, part, torch.ones(len(part), dtype=torch.float64))
        sums.total.index_add_(0, part, values.exp())
        sums.certainty.index_add_(0, part, (values.exp() * values).sum(1))
        return sums

    def __add__(self, other: "InceptionSums") -> "InceptionSums":
        """Sums over the clips of both."""
        assert self.deal == other.deal
        return InceptionSums(
            deal=self.deal,
            count=self.count + other.count,
            total=self.total + other.total,
            certainty=self.certainty + other.certainty,
        )

    def over(self, ranks: Ranks) -> "InceptionSums":
        """Sums over the clips of all processes, the same in each."""
        rows = torch.cat([self.count[:, None], self.certainty[:, None], self.total], 1)
        every = ranks.gather(rows[None].to(ranks.device)).sum(0).cpu()
        return InceptionSums(
            deal=self.deal, count=every[:, 0], certainty=every[:, 1], total=every[:, 2:]
        )

    def score(self) -> InceptionScore:
        """The score of all clips.

        Raises:
            ValueError: there are more or fewer clips than were dealt.
        """
        if not torch.equal(self.count, self.deal.sizes.double()):
            raise ValueError(
                f"{int(self.count.sum())} clips were measured, with {self.count.int().tolist()} in "
                f"the {self.deal.parts} parts, expected {self.deal.clips}, each once; a score of "
                "fewer compares with no other"
            )
        mean = self.total / self.count[:, None]
        covered = torch.special.entr(mean).sum(1)
        scores = (covered + self.certainty / self.count).exp()
        return InceptionScore(
            mean=float(scores.mean()),
            deviation=float(scores.std(correction=0)),
            clips=self.deal.clips,
            parts=self.deal.parts,
        )


def inception_sums(
    network: C3D,
    clips: Iterable[tuple[int, AnyFrames]],
    deal: Splits,
    batch: int = 16,
) -> InceptionSums:
    """Sums over some clips, those of a process or all: ``inception_sums(...).over(ranks).score()``.

    Args:
        network: on the device where it computes.
        clips: the number of each among all, and its frames.
        deal: of all clips into parts.
        batch: how many are computed at once; the score does not depend on it.
    """
    device = network.mean.device
    sums, remaining = InceptionSums.none(deal, network.width), iter(clips)
    while some := list(islice(remaining, batch)):
        numbers = torch.tensor([number for number, _ in some])
        treated = [network.config.treat(clip.to(device)) for _, clip in some]
        sums = sums + InceptionSums.of(deal, numbers, network(torch.stack(treated)))
    return sums
