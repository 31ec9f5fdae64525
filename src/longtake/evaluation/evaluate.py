"""Evaluations: two sources and metrics by name to a result."""

import math
import time
from collections.abc import Callable, Mapping, Sequence

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
from longtake.training.log import environment


def evaluate(
    real: VideoSource,
    generated: VideoSource,
    protocol: Protocol,
    metrics: Sequence[str],
    settings: EvaluationSettings,
) -> Result:
    """Measure generated videos against real ones by metrics that ``SCORES`` names.

    Raises:
        ValueError: videos do not fit the protocol or each other, or are too few.
        CheckpointError: weights of the feature network are missing, or not those of the protocol.
    """
    began = time.perf_counter()
    sets = FeatureSets(real, generated, protocol, settings)
    scores, seconds = {}, {}
    for name in metrics:
        before, extracting = time.perf_counter(), sets.seconds
        scores[name] = SCORES[name](sets)
        seconds[name] = time.perf_counter() - before - (sets.seconds - extracting)
    seconds["features"] = sets.seconds
    seconds["all"] = time.perf_counter() - began
    return Result(
        protocol=protocol,
        protocol_hash=protocol.hash,
        changed=protocol.changed(),
        real=sets.record("real"),
        generated=sets.record("generated"),
        scores=scores,
        seed=settings.seed,
        seconds={name: round(value, 3) for name, value in seconds.items()},
        environment=environment() | {"processes": str(settings.ranks.size)},
    )


def fvd_score(sets: FeatureSets) -> Score:
    """Frechet distance with its interval, its floor and, if asked for, its limit."""
    score = _score(sets, fvd, fvd_interval, least=0.0)
    if not sets.settings.limit:
        return score
    clips, width = sets.generated().shape
    if clips < 4 * width:
        raise ValueError(
            f"the limit is extrapolated from numbers of clips well above the {width} features, so "
            f"it needs n of at least {4 * width}, got {clips}"
        )
    counts = [clips * eighths // 8 for eighths in range(4, 9)]
    limit = fvd_limit(sets.real(), sets.generated(), clips=counts).limit
    return score.model_copy(update={"limit": limit})


def kvd_score(sets: FeatureSets) -> Score:
    """Kernel distance with its interval and floor; it is unbiased, so it needs no limit."""
    return _score(sets, kvd, kvd_interval)


def is_score(sets: FeatureSets) -> Score:
    """Inception Score of the generated clips; it does not depend on the real ones."""
    path = c3d.cache_path()
    config = c3d.C3DConfig(sha256=file_hash(path) if path.exists() else None)
    network = FeatureNetwork(network=config.build(), treat=config.treat, identity=to_dict(config))
    found = inception_score(sets.generated(network))
    by = f"{config.kind} {digest(config)}, {found.parts} parts"
    return Score(value=found.mean, deviation=found.std, by=by)


SCORES: Mapping[str, Callable[[FeatureSets], Score]]
SCORES = {"fvd": fvd_score, "kvd": kvd_score, "is": is_score}


def named(metrics: str) -> list[str]:
    """Names of metrics from ``fvd,kvd``; a ConfigError if one does not exist."""
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    for name in names or [""]:
        if name not in SCORES:
            raise ConfigError(f"there is no metric {name!r}; {nearest(name, list(SCORES))}")
    return list(dict.fromkeys(names))


def _score(
    sets: FeatureSets,
    distance: Callable[[Tensor, Tensor], float],
    interval: Callable[[Tensor, Tensor], Interval],
    least: float = -math.inf,
) -> Score:
    """Mean over draws of the real clips, with the floor; the interval is that of one draw."""
    error = interval(sets.real(), sets.generated()).standard_error
    draws = [distance(sets.real(draw), sets.generated()) for draw in range(sets.protocol.draws)]
    values, several = torch.tensor(draws, dtype=torch.float64), len(draws) > 1
    value, held_out = float(values.mean()), sets.held_out()
    return Score(
        value=value,
        deviation=float(values.std()) if several else error,
        low=max(value - NORMAL_95 * error, least),
        high=value + NORMAL_95 * error,
        draws=tuple(draws) if several else (),
        floor=None if held_out is None else distance(sets.real(), held_out),
        no_floor=sets.no_floor,
    )
