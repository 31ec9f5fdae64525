"""Evaluates two sources of videos by named metrics."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from longtake.checkpoint import file_hash
from longtake.config import ConfigError, digest, nearest, to_dict
from longtake.data.source import VideoSource
from longtake.evaluation.extraction import FeatureNetwork
from longtake.evaluation.feature_sets import EvaluationSettings, FeatureSets
from longtake.evaluation.protocols import Protocol
from longtake.evaluation.result import Result, Score
from longtake.features import c3d
from longtake.metrics.frechet import fvd
from longtake.metrics.inception import inception_score
from longtake.metrics.kernel import kvd
from longtake.metrics.uncertainty import NORMAL_95, Interval, fvd_interval, fvd_limit, kvd_interval

POWER_80 = 0.84
"""Quantile of the normal distribution below which four of five values lie."""

LIMIT_CLIPS = 64
"""Least number of clips at which the interval of the limit was checked."""


def evaluate(
    real: VideoSource,
    generated: VideoSource,
    protocol: Protocol,
    metrics: Sequence[str],
    settings: EvaluationSettings,
) -> Result:
    """Measure generated videos against real ones.

    Args:
        real: real videos.
        generated: generated videos, or a model that samples them.
        protocol: how videos become clips and features.
        metrics: names of metrics, such as ``fvd``; ``SCORES`` lists them.
        settings: seed, cache, device and progress.

    Raises:
        ValueError: videos do not fit the protocol or each other, or are too few.
        CheckpointError: weights of the feature network are missing, or not the protocol's.
    """
    began = time.perf_counter()
    sets = FeatureSets(real, generated, protocol, settings)
    scores, seconds = {}, {}
    for name in metrics:
        before, extracting = time.perf_counter(), sets.seconds
        scores[protocol.metric(name)] = SCORES[name](sets)
        seconds[name] = time.perf_counter() - before - (sets.seconds - extracting)
    seconds["features"] = sets.seconds
    seconds["all"] = time.perf_counter() - began
    return Result.of(
        protocol,
        sets.record("real"),
        sets.record("generated"),
        scores,
        seed=settings.seed,
        seconds=seconds,
        processes=settings.ranks.size,
    )


def fvd_score(sets: FeatureSets) -> Score:
    """FVD with its interval, its floor (FVD of real against real clips) and, if set, its limit."""
    how: Any = {"correction": sets.protocol.correction}
    of = f"FVD at {len(sets.generated())} clips, not the lower FVD of many"
    score = _score(sets, partial(fvd, **how), partial(fvd_interval, **how), of=of, least=0.0)
    if not sets.settings.limit:
        return score
    if sets.protocol.n < LIMIT_CLIPS:
        raise ValueError(
            f"the limit is extrapolated from FVD of n and n / 2 clips, which was checked from n = "
            f"{LIMIT_CLIPS} on; set n of at least {LIMIT_CLIPS}, got {sets.protocol.n}"
        )
    found = fvd_limit(sets.real(), sets.generated(), **how, seed=sets.settings.seed)
    ends = {"limit_low": found.low, "limit_high": found.high}
    return score.model_copy(update={"limit": found.value, **ends})


def kvd_score(sets: FeatureSets) -> Score:
    """KVD with its interval and floor (KVD of real against real clips); unbiased, so no limit."""
    score = _score(sets, kvd, kvd_interval, of="KVD, which few clips do not bias")
    assert score.low is not None
    assert score.high is not None
    detectable = (NORMAL_95 + POWER_80) * (score.high - score.low) / (2 * NORMAL_95)
    return score.model_copy(update={"detectable": detectable})


def is_score(sets: FeatureSets) -> Score:
    """Inception Score of the generated clips; the real clips do not enter it."""
    path = c3d.cache_path()
    config = c3d.C3DConfig(sha256=file_hash(path) if path.exists() else None)
    network = FeatureNetwork(network=config.build(), treat=config.treat, identity=to_dict(config))
    found = inception_score(sets.generated(network), seed=sets.settings.seed)
    by = f"{config.kind} {digest(config)}, {found.parts} parts"
    return Score(value=found.mean, deviation=found.std, by=by)


SCORES: Mapping[str, Callable[[FeatureSets], Score]]
SCORES = {"fvd": fvd_score, "kvd": kvd_score, "is": is_score}


def named(metrics: str) -> list[str]:
    """Split a list of metrics such as ``fvd,kvd``; a ConfigError if a name is unknown."""
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    for name in names or [""]:
        if name not in SCORES:
            raise ConfigError(f"there is no metric {name!r}; {nearest(name, list(SCORES))}")
    return list(dict.fromkeys(names))


def _score(
    sets: FeatureSets,
    distance: Callable[[Tensor, Tensor], float],
    interval: Callable[[Tensor, Tensor], Interval],
    *,
    of: str,
    least: float = -math.inf,
) -> Score:
    """Mean over draws of the real clips, with the floor; the interval is that of one draw."""
    found = interval(sets.real(), sets.generated())
    draws = [distance(sets.real(draw), sets.generated()) for draw in range(sets.protocol.draws)]
    values, several = torch.tensor(draws, dtype=torch.float64), len(draws) > 1
    value, held_out = float(values.mean()), sets.held_out()
    score = Score.of(
        replace(found, value=value),
        of=of,
        unit=sets.protocol.unit,
        least=least,
    )
    rest: dict[str, Any] = {
        "floor": None if held_out is None else distance(sets.real(), held_out),
        "no_floor": sets.no_floor,
    }
    if several:
        rest |= {"draws": tuple(draws), "deviation": float(values.std())}
    return score.model_copy(update=rest)
