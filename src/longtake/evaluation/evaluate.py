"""Evaluates two sources of videos by named metrics."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from longtake.checkpoint import file_hash, weights_hash
from longtake.config import ConfigError, digest, nearest, to_dict
from longtake.data.source import VideoSource
from longtake.data.synthetic.attributes import world_of_captions
from longtake.evaluation.extraction import FeatureNetwork
from longtake.evaluation.feature_sets import EvaluationSettings, FeatureSets
from longtake.evaluation.protocols import Protocol
from longtake.evaluation.result import Result, Score
from longtake.features import c3d
from longtake.features.attributes import AttributeReader
from longtake.metrics.clipsim import clipsim
from longtake.metrics.frechet import fvd
from longtake.metrics.inception import inception_score
from longtake.metrics.kernel import kvd
from longtake.metrics.uncertainty import NORMAL_95, Interval, fvd_interval, fvd_limit, kvd_interval

POWER_80 = 0.84
"""Quantile of the normal distribution below which 80 % of values lie, for ``Score.detectable``."""

PARTS = 10
"""Number of parts of the clips whose Inception Scores are averaged, as in papers."""

LIMIT_VIDEOS = 4
"""Least number of videos of each side, half of which ``fvd_limit`` compares."""

LIMIT_CLIPS = 64
"""Least number of clips for which FVD is extrapolated to infinitely many
(``benchmarks/coverage.py``)."""


def _nothing(sets: FeatureSets) -> None:
    del sets


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a metric is computed.

    Attributes:
        score: computes the metric from the features of an evaluation: a score, or several by name.
        check: raises an error if something that the metric needs is missing, before features are
            extracted.
        real: whether the metric compares generated videos with real ones.
    """

    score: Callable[[FeatureSets], Score | Mapping[str, Score]]
    check: Callable[[FeatureSets], None] = _nothing
    real: bool = True


def evaluate(
    real: VideoSource | None,
    generated: VideoSource,
    protocol: Protocol,
    metrics: Sequence[str],
    settings: EvaluationSettings,
) -> Result:
    """Measure generated videos, against real ones if a metric compares with these.

    Args:
        real: real videos; may be None if ``compares(metrics)`` is false.
        generated: generated videos, or a model that samples them.
        protocol: how videos become clips and features.
        metrics: names of metrics: ``fvd``, ``kvd``, ``is``, ``clipsim`` or ``attributes``.
        settings: seed, cache, device and progress.

    Raises:
        KeyError: there is no metric of that name.
        ValueError: videos do not fit the protocol or each other, or are too few; or they lack
            captions, or the settings a CLIP model, that a metric needs.
        CheckpointError: weights of the feature network are missing, or not the protocol's.
        FloatingPointError: a feature is not finite.
    """
    began = time.perf_counter()
    sets = FeatureSets(real, generated, protocol, settings)
    scores, seconds = {}, {}
    chosen = {name: METRICS[name] for name in metrics}
    for metric in chosen.values():
        metric.check(sets)
    for name, metric in chosen.items():
        before, extracting = time.perf_counter(), sets.seconds
        found = metric.score(sets)
        scores |= {protocol.metric(name): found} if isinstance(found, Score) else found
        seconds[name] = time.perf_counter() - before - (sets.seconds - extracting)
    seconds["features"] = sets.seconds
    seconds["all"] = time.perf_counter() - began
    return Result.of(
        protocol,
        *sets.records(),
        scores,
        seed=settings.seed,
        seconds=seconds,
        processes=settings.ranks.size,
    )


def fvd_score(sets: FeatureSets) -> Score:
    """FVD with interval, floor (FVD between real clips) and limit (FVD of infinitely many clips).

    Floor and limit are computed if ``sets.settings`` says so.
    """
    how: Any = {"correction": sets.protocol.correction}
    name = sets.protocol.title("fvd")
    of = f"{name} at {len(sets.generated())} clips, not the lower {name} of many"
    score = _score(sets, partial(fvd, **how), partial(fvd_interval, **how), of=of, least=0.0)
    if not sets.settings.limit:
        return score
    how |= {**_videos(sets), "seed": sets.settings.seed}
    found = fvd_limit(sets.real(), sets.generated(), **how)
    ends = {"limit_low": found.low, "limit_high": found.high}
    return score.model_copy(update={"limit": found.value, **ends})


def _enough_for_a_limit(sets: FeatureSets) -> None:
    if sets.settings.limit and sets.protocol.n < LIMIT_CLIPS:
        raise ValueError(
            f"FVD of infinitely many clips is extrapolated from FVD of n and n / 2 clips, checked "
            f"from n = {LIMIT_CLIPS} on; set n of at least {LIMIT_CLIPS}, got {sets.protocol.n}"
        )
    fewest = min(len(set(videos)) for videos in _videos(sets).values())
    if sets.settings.limit and fewest < LIMIT_VIDEOS:
        raise ValueError(
            "FVD of infinitely many clips is extrapolated from halves of the videos; give at least "
            f"{LIMIT_VIDEOS} real and {LIMIT_VIDEOS} generated videos, got {fewest}"
        )


def kvd_score(sets: FeatureSets) -> Score:
    """KVD with its interval, its floor (KVD between real clips) and the smallest KVD it detects.

    KVD is unbiased, so that it need not be extrapolated to infinitely many clips. The field
    ``detectable`` of ``Score`` describes the smallest KVD.
    """
    of = f"{sets.protocol.title('kvd')}, which few clips do not bias"
    score = _score(sets, kvd, kvd_interval, of=of)
    if score.low is None or score.high is None:
        return score
    detectable = (NORMAL_95 + POWER_80) * (score.high - score.low) / (2 * NORMAL_95)
    return score.model_copy(update={"detectable": detectable})


def is_score(sets: FeatureSets) -> Score:
    """Inception Score, by C3D, of the generated clips; real clips are not used.

    Raises:
        CheckpointError: C3D's weights are missing or broken.
    """
    config = _classifier()
    network = FeatureNetwork(network=config.build(), treat=config.treat, identity=to_dict(config))
    found = inception_score(sets.generated(network), seed=sets.settings.seed, parts=PARTS)
    by = f"{config.kind} {digest(config)}, {found.parts} parts"
    return Score(value=found.mean, deviation=found.std, by=by)


def _classifier() -> c3d.C3DConfig:
    """C3D with the weights of the user's cache folder."""
    path = c3d.cache_path()
    return c3d.C3DConfig(sha256=file_hash(path) if path.exists() else None)


def _can_be_classified(sets: FeatureSets) -> None:
    frames, n = sets.protocol.frames, sets.protocol.n
    if n < PARTS:
        raise ValueError(
            f"the Inception Score is a mean over {PARTS} parts of the clips; set n of at least "
            f"{PARTS}, got {n}"
        )
    if frames != c3d.FRAMES:
        raise ValueError(
            f"C3D takes clips of {c3d.FRAMES} frames; set frames={c3d.FRAMES}, got {frames}"
        )
    _classifier().build()


def clipsim_score(sets: FeatureSets) -> Score:
    """CLIPSIM of the generated clips and their captions, by the CLIP model of ``sets.settings``.

    Raises:
        ValueError: a clip has no caption, or the settings name no folder of a CLIP model.
    """
    model = sets.clip
    identity = {"clip": weights_hash(model.network)}
    videos = sets.generated(FeatureNetwork(network=model, treat=model.treat, identity=identity))
    values = clipsim(videos, model.texts(sets.captions()))
    score = Score.mean(values.tolist(), videos=sets.videos("generated"))
    return score.model_copy(update={"by": f"clip {identity['clip'][:16]}"})


def _clipsim_lacks_nothing(sets: FeatureSets) -> None:
    sets.captions()
    _ = sets.clip


def attribute_scores(sets: FeatureSets) -> Mapping[str, Score]:
    """How often generated clips show what their captions state of a synthetic data set, in percent.

    The score ``attributes`` is a mean over all that captions state; a score such as ``cover right``
    says how often one attribute, here the cover, is right in clips whose captions state it.

    Raises:
        ValueError: a clip has no caption, or captions are not of a synthetic data set.
    """
    captions = sets.captions()
    world = world_of_captions(captions)
    reader = AttributeReader(world)
    treat, identity = reader.treat, reader.identity
    clips = sets.generated(FeatureNetwork(network=reader, treat=treat, identity=identity))
    right: dict[str, list[float]] = {name: [] for name in reader.reader.values}
    shown: dict[str, set[int]] = {name: set() for name in right}
    for row, caption, video in zip(clips, captions, sets.videos("generated"), strict=True):
        said = reader.reader.said(caption)
        for name in said:
            right[name].append(float(reader.agree(name, row, said)))
            shown[name].add(video)
    asked = {name: rows for name, rows in right.items() if rows}
    scores = {  # a trial is a video, as what its clips show goes together
        f"{name} right": Score.share(rows, len(shown[name]), what="clips")
        for name, rows in asked.items()
    }
    everything = [value for rows in asked.values() for value in rows]
    most = max(len(videos) for videos in shown.values())  # as those of one clip go together
    whole = Score.share(everything, most, what="words and colours that captions say")
    by = f"the measures of {world}"
    return {
        name: s.model_copy(update={"by": by}) for name, s in {"attributes": whole, **scores}.items()
    }


def _captions_say_something(sets: FeatureSets) -> None:
    world_of_captions(sets.captions())


METRICS: Mapping[str, Metric] = {
    "fvd": Metric(score=fvd_score, check=_enough_for_a_limit),
    "kvd": Metric(score=kvd_score),
    "is": Metric(score=is_score, check=_can_be_classified, real=False),
    "clipsim": Metric(score=clipsim_score, check=_clipsim_lacks_nothing, real=False),
    "attributes": Metric(score=attribute_scores, check=_captions_say_something, real=False),
}


def compares(metrics: Sequence[str]) -> bool:
    """Whether any of ``metrics``, names such as ``fvd``, compares generated videos with real ones.

    Raises:
        KeyError: there is no metric of that name.
    """
    return any(METRICS[name].real for name in metrics)


def named(metrics: str) -> list[str]:
    """Split a list of metrics such as ``fvd,kvd`` into names, without repetitions.

    Raises:
        ConfigError: the list is empty, or a name is unknown.
    """
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    for name in names or [""]:
        if name not in METRICS:
            raise ConfigError(f"there is no metric {name!r}; {nearest(name, list(METRICS))}")
    return list(dict.fromkeys(names))


def _videos(sets: FeatureSets) -> Mapping[str, Sequence[int]]:
    """Number of each clip's video, as arguments of the intervals of FVD and KVD."""
    return {"real_videos": sets.videos("real"), "generated_videos": sets.videos("generated")}


def _score(
    sets: FeatureSets,
    distance: Callable[[Tensor, Tensor], float],
    interval: Callable[..., Interval],
    *,
    of: str,
    least: float = -math.inf,
) -> Score:
    """Mean of a distance over the draws of real clips; interval and floor are of the first draw."""
    found = interval(sets.real(), sets.generated(), **_videos(sets))
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
