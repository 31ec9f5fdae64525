"""Results of evaluations, with everything that the numbers depend on, as JSON files."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from longtake.checkpoint import read_config, write_text
from longtake.config import Config, differences, to_dict
from longtake.evaluation.protocols import Protocol
from longtake.metrics.uncertainty import Interval, wilson_interval
from longtake.training.log import environment


class Score(Config):
    """The value of one metric in a result, with its uncertainty.

    Attributes:
        value: the metric; of FVD and KVD the mean over the protocol's random choices of real clips.
            Infinite for the PSNR of equal clips.
        deviation: standard deviation over these choices, or over parts of the clips for Inception
            Score; otherwise the standard error; None if it is unknown.
        low: lower end of the 95 % interval; None if there is no interval.
        high: upper end of the 95 % interval; None if there is no interval.
        interval_of: what the interval covers, in words, such as FVD at a number of clips.
        unit: unit of the value, or a warning that it is of random features.
        draws: value for each random choice of real clips, if there are several.
        floor: the metric between real clips and the same number of other real clips; None if it was
            not measured. For FVD this is its bias for equal distributions; generated clips of less
            variety can be below it.
        no_floor: why FVD or KVD has no floor; empty if it has one, and for other metrics.
        detectable: smallest true KVD that such an interval separates from 0 in four of five
            evaluations; None for other metrics.
        limit: FVD extrapolated to infinitely many clips; None if that was not asked for.
        limit_low: lower end of the limit's 95 % interval; None without a limit.
        limit_high: upper end of the limit's 95 % interval; None without a limit.
        by: network, other than the protocol's, on which the score depends; empty for none.
    """

    value: Annotated[float, Field(allow_inf_nan=True)]
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    interval_of: str = ""
    unit: str = ""
    draws: tuple[float, ...] = ()
    floor: float | None = None
    no_floor: str = ""
    detectable: float | None = None
    limit: float | None = None
    limit_low: float | None = None
    limit_high: float | None = None
    by: str = ""

    @classmethod
    def of(cls, found: Interval, *, of: str, unit: str = "", least: float = -math.inf) -> "Score":
        """Build a score from a metric's value and standard error.

        Args:
            found: value and standard error.
            of: what the interval covers, in words, such as FVD at a number of clips.
            unit: unit of the value.
            least: lower bound of the interval, such as 0 for FVD.

        An infinite value, such as the PSNR of equal clips, has no interval.
        """
        finite = math.isfinite(found.standard_error)
        return cls(
            value=found.value,
            deviation=found.standard_error if finite else None,
            low=max(found.low, least) if finite else None,
            high=found.high if finite else None,
            interval_of=of,
            unit=unit,
        )

    @classmethod
    def mean(
        cls,
        values: Sequence[float],
        *,
        videos: Sequence[int] | None = None,
        what: str = "clips",
        unit: str = "",
    ) -> "Score":
        """Build a score from a metric's value for each clip: their mean, with its interval.

        Args:
            values: a value for each clip.
            videos: number of each clip's video; clips of one video are alike, so the standard error
                is that of the videos' means. None: each clip is of another video.
            what: what was measured, in the plural.
            unit: unit of the values.

        Of values of one video, or an infinite value, there is no interval.
        """
        rows = torch.tensor(values, dtype=torch.float64)
        by_video: dict[int, list[float]] = {}
        for video, value in zip(videos or range(len(values)), values, strict=True):
            by_video.setdefault(video, []).append(value)
        means = torch.tensor([sum(v) / len(v) for v in by_video.values()], dtype=torch.float64)
        error = float(means.std()) / len(means) ** 0.5 if len(means) > 1 else math.inf
        found = Interval(value=float(rows.mean()), standard_error=error)
        return cls.of(found, of=f"mean over {len(rows)} {what}", unit=unit)

    @classmethod
    def share(cls, values: Sequence[float], trials: int, *, what: str) -> "Score":
        """Build a score in percent from successes: their share, with Wilson's interval.

        Args:
            values: 1 for a success and 0 for a failure.
            trials: number of independent trials; fewer than values if several are of one video.
            what: what the values are of, in the plural, such as ``clips``.
        """
        mean = sum(values) / len(values)
        low, high = wilson_interval(mean, trials)
        of = f"share of {len(values)} {what} (Wilson)"
        return cls(
            value=100 * mean,
            deviation=100 * (mean * (1 - mean) / trials) ** 0.5,
            low=100 * low,
            high=100 * high,
            interval_of=of,
            unit="%",
        )


class SourceRecord(Config):
    """Description of the real or the generated videos in a result.

    Attributes:
        name: name of the source.
        contents: hash of the videos, equal for copies of them.
        videos: number of videos that could be used.
        skipped: number of videos that could not be used, if the protocol skips such videos.
        height: height of frames in pixels; None if videos differ.
        width: width of frames in pixels; None if videos differ.
        fps: frame rate; None if videos differ or the rate is unknown.
        about: of a model: its weights, whether they are an EMA, sampling settings, seeds; empty for
            other videos.
    """

    name: str
    contents: str
    videos: int
    skipped: int = 0
    height: int | None = None
    width: int | None = None
    fps: float | None = None
    about: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)


class Result(Config):
    """The result of an evaluation, as a JSON file stores it.

    Attributes:
        format: version of the file's format.
        protocol: the protocol, with all fields.
        protocol_hash: hash of ``protocol`` when the result was written; ``read`` raises an error if
            it is not the hash of what the file holds.
        changed: fields that differ from the predefined protocol of that name, so from the paper's.
        real: description of the real videos; None if all metrics are of the generated ones alone.
        generated: description of the generated videos.
        scores: score of each metric by its name.
        seed: seed of the choice of clips and of their first frames.
        seconds: duration of each stage by name.
        environment: versions of packages and hardware.
    """

    format: Literal[1] = 1
    protocol: Protocol
    protocol_hash: str
    changed: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)
    real: SourceRecord | None
    generated: SourceRecord
    scores: dict[str, Score]
    seed: int
    seconds: dict[str, float] = {}  # noqa: RUF012
    environment: dict[str, str] = {}  # noqa: RUF012

    @classmethod
    def of(
        cls,
        protocol: Protocol,
        real: SourceRecord | None,
        generated: SourceRecord,
        scores: dict[str, Score],
        *,
        seed: int,
        seconds: Mapping[str, float],
        processes: int = 1,
    ) -> "Result":
        """Build a result from its fields; add the protocol's hash and this process's environment.

        ``seconds`` are the durations of the evaluation's stages by name, and ``processes`` is the
        number of processes that shared the evaluation.
        """
        return cls(
            protocol=protocol,
            protocol_hash=protocol.hash,
            changed=protocol.changed(),
            real=real,
            generated=generated,
            scores=scores,
            seed=seed,
            seconds={name: round(value, 3) for name, value in seconds.items()},
            environment=environment() | {"processes": str(processes)},
        )

    def write(self, path: Path) -> None:
        """Write the result as JSON, completely or not at all.

        Raises:
            OSError: the file's folder cannot be made.
            CheckpointError: the file cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(to_dict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Result":
        """Read a result file.

        Raises:
            ValueError: the file is not a result, or its protocol and hash do not match.
        """
        if not path.is_file():
            raise ValueError(f"{path}: no such file; expected a result of an evaluation")
        found: Result = read_config(path, Result)
        if found.protocol.hash != found.protocol_hash:
            raise ValueError(
                f"{path}: its protocol has hash {found.protocol.hash}, the file says "
                f"{found.protocol_hash}; it was changed, or made by another version: evaluate again"
            )
        return found


def check_comparable(results: Sequence[Result], names: Sequence[str]) -> None:
    """Raise a ValueError if results may not be compared in one table.

    They may if they have equal protocols, were measured against the same real videos, and each
    metric by the same network. ``names`` are the names of the results, for the message.
    """
    first = results[0]
    for other, name in zip(results[1:], names[1:], strict=True):
        if other.protocol_hash != first.protocol_hash:
            for result, title in ((first, names[0]), (other, name)):
                if result.protocol.unit:
                    raise ValueError(
                        f"{title} has distances of random features, which compare with nothing but "
                        "the same distances; evaluate with a protocol of I3D's features"
                    )
            changed = differences(to_dict(first.protocol), to_dict(other.protocol))
            fields = ", ".join(f"{path} ({x} and {y})" for path, (x, y) in changed.items())
            raise ValueError(
                f"{names[0]} and {name} are of different protocols ({first.protocol_hash} and "
                f"{other.protocol_hash}; they differ in {fields}), so they cannot be "
                "compared; evaluate both under one protocol"
            )
        real, theirs = first.real, other.real
        if real is not None and theirs is not None and real.contents != theirs.contents:
            raise ValueError(
                f"{names[0]} and {name} were measured against different real videos "
                f"({real.name} and {theirs.name}), so they cannot be compared; "
                "evaluate both against the same videos"
            )
        for metric in first.scores.keys() & other.scores.keys():
            by, theirs = first.scores[metric].by, other.scores[metric].by
            if by != theirs:
                raise ValueError(
                    f"{metric} of {names[0]} uses {by}, that of {name} uses {theirs}, so they "
                    "cannot be compared; evaluate both with the same"
                )
