"""An evaluation from two sources to a result."""

import time
from collections.abc import Sequence

from longtake.data.source import VideoSource
from longtake.evaluation.feature_sets import EvaluationSettings, FeatureSets
from longtake.evaluation.protocols import Protocol
from longtake.evaluation.result import Result
from longtake.evaluation.scores import SCORES
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
