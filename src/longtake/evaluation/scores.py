"""Metrics as evaluations know them: a name, and a function from features to a score."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol as Interface
from typing import runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.checkpoint import file_hash
from longtake.config import ConfigError, digest, nearest, to_dict
from longtake.evaluation.extraction import FeatureNetwork
from longtake.evaluation.result import Score
from longtake.features import c3d
from longtake.features.c3d import C3DConfig
from longtake.metrics.frechet import fvd
from longtake.metrics.inception import InceptionSums, Splits
from longtake.metrics.kernel import kvd
from longtake.metrics.kernel_interval import kvd_interval
from longtake.metrics.uncertainty import NORMAL_95, fvd_interval, fvd_limit

Rows = Float[Tensor, "_ d"]


@runtime_checkable
class Features(Interface):
    """What a metric may ask an evaluation for; all is computed once."""

    def real(self, draw: int = 0) -> Rows:
        """Features of the protocol's n real clips, of one of its draws."""
        ...

    def generated(self) -> Rows:
        """Features of the n generated clips."""
        ...

    def held_out(self) -> Rows | str:
        """Features of n real clips of videos that are not in draw 0; or why there are none."""
        ...

    def seen_by(self, eyes: FeatureNetwork) -> Rows:
        """What another network makes of the n generated clips."""
        ...

    @property
    def draws(self) -> int:
        """Of the real side."""
        ...

    @property
    def limit(self) -> bool:
        """Whether limits for ever more clips are asked for."""
        ...


def fvd_score(features: Features) -> Score:
    """Frechet distance, with its interval, its floor and, where asked for, its limit."""
    values = _over_draws(features, fvd)
    generated = features.generated()
    score = _score(values, fvd_interval(features.real(), generated).deviation, least=0.0)
    limit = None
    if features.limit:
        limit = fvd_limit(features.real(), generated, clips=_counts(generated)).limit
    return _with_floor(score, features, fvd).model_copy(update={"limit": limit})


def kvd_score(features: Features) -> Score:
    """Kernel distance, with its interval and floor; unbiased, so it needs no limit."""
    values = _over_draws(features, kvd)
    deviation = kvd_interval(features.real(), features.generated()).deviation
    return _with_floor(_score(values, deviation, least=None), features, kvd)


def inception_score(features: Features) -> Score:
    """Inception Score of the generated clips; the real ones have no part in it."""
    place = c3d.cache_path()
    config = C3DConfig(sha256=file_hash(place) if place.exists() else None)
    network = config.build()
    eyes = FeatureNetwork(network=network, treat=config.treat, settings=to_dict(config))
    rows = features.seen_by(eyes)
    deal = Splits(clips=len(rows))
    found = InceptionSums.of(deal, torch.arange(len(rows)), rows).score()
    return Score(
        value=found.mean,
        deviation=found.deviation,
        by=f"{config.kind} {digest(config)}, {found.parts} parts",
    )


SCORES: Mapping[str, Callable[[Features], Score]] = {
    "fvd": fvd_score,
    "kvd": kvd_score,
    "is": inception_score,
}


def named(metrics: str) -> list[str]:
    """Names of metrics from ``fvd,kvd``.

    Raises:
        ConfigError: there is no such metric.
    """
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    for name in names or [""]:
        if name not in SCORES:
            raise ConfigError(f"there is no metric {name!r}; {nearest(name, list(SCORES))}")
    return list(dict.fromkeys(names))


def _over_draws(features: Features, distance: Callable[[Tensor, Tensor], float]) -> list[float]:
    generated = features.generated()
    return [distance(features.real(draw), generated) for draw in range(features.draws)]


def _score(values: Sequence[float], deviation: float, least: float | None) -> Score:
    """The mean over draws; its interval is that of the clips, whatever the draws."""
    every = torch.tensor(values, dtype=torch.float64)
    value, several = float(every.mean()), len(values) > 1
    low = value - NORMAL_95 * deviation
    return Score(
        value=value,
        deviation=float(every.std()) if several else deviation,
        low=low if least is None else max(low, least),
        high=value + NORMAL_95 * deviation,
        draws=tuple(values) if several else (),
    )


def _with_floor(
    score: Score, features: Features, distance: Callable[[Tensor, Tensor], float]
) -> Score:
    others = features.held_out()
    if isinstance(others, str):
        return score.model_copy(update={"no_floor": others})
    return score.model_copy(update={"floor": distance(features.real(), others)})


def _counts(rows: Rows) -> list[int]:
    """Numbers of clips from half of them on, all above the number of features.

    Raises:
        ValueError: there are too few clips for a line.
    """
    clips, width = rows.shape
    if clips < 4 * width:
        raise ValueError(
            f"--limit extrapolates from numbers of clips well above the {width} features, so it "
            f"needs n of at least {4 * width}, got {clips}"
        )
    return [clips * eighths // 8 for eighths in range(4, 9)]
