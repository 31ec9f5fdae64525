"""What an evaluation found, with everything that the numbers depend on; one JSON file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from longtake.checkpoint import read_config, write_text
from longtake.config import Config, to_dict
from longtake.evaluation.protocols import Protocol


class Score(Config):
    """One metric.

    Attributes:
        value: the mean over the protocol's draws of the real side.
        deviation: over those draws where there are several; else the standard error over draws of
            as many clips, by leaving out parts of both sides.
        low: lower end of the 95 % interval.
        high: upper end of it.
        draws: value of each draw.
        floor: the metric of real clips against as many other real ones.
        no_floor: why there is none.
        limit: what the metric tends to for ever more clips, where that was asked for.
        by: which network besides the protocol's it depends on, and how.
    """

    value: float
    deviation: float | None = None
    low: float | None = None
    high: float | None = None
    draws: tuple[float, ...] = ()
    floor: float | None = None
    no_floor: str = ""
    limit: float | None = None
    by: str = ""


class SourceRecord(Config):
    """What was on a side.

    Attributes:
        name: as the user called it.
        contents: hash over the videos; the same for copies of them.
        videos: that could be used.
        skipped: broken or too short ones, where the protocol skips such.
        height: of frames; None where they differ.
        width: of frames.
        fps: frames a second; None where nothing says it.
        about: of a model: weights, whether they are averaged, sampling, seeds.
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
    """An evaluation.

    Attributes:
        format: of the file.
        protocol: under which it was made.
        protocol_hash: of that protocol.
        changed: how it differs from the ready protocol of its name, so from the paper's.
        real: the one side.
        generated: the other.
        scores: by metric.
        seed: of clips, their starts and draws.
        seconds: by stage.
        environment: versions and hardware.
    """

    format: Literal[1] = 1
    protocol: Protocol
    protocol_hash: str
    changed: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)
    real: SourceRecord
    generated: SourceRecord
    scores: dict[str, Score]
    seed: int
    seconds: dict[str, float] = {}  # noqa: RUF012
    environment: dict[str, str] = {}  # noqa: RUF012

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(to_dict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Result":
        """Read one back.

        Raises:
            ValueError: it is none, or was changed by hand so that protocol and hash differ.
        """
        if not path.is_file():
            raise ValueError(f"{path}: no such file; expected one from longtake evaluate --json")
        found: Result = read_config(path, Result)
        if found.protocol.hash != found.protocol_hash:
            raise ValueError(
                f"{path}: its protocol has hash {found.protocol.hash}, the file says "
                f"{found.protocol_hash}; it was changed, or made by another version: evaluate anew"
            )
        return found


def check_comparable(results: Sequence[Result], names: Sequence[str]) -> None:
    """Make sure that results may stand in one table.

    Raises:
        ValueError: they are of different protocols, or were measured against different videos.
    """
    first = results[0]
    for other, name in zip(results[1:], names[1:], strict=True):
        if other.protocol_hash != first.protocol_hash:
            fields = ", ".join(_differing(to_dict(first.protocol), to_dict(other.protocol)))
            raise ValueError(
                f"{names[0]} and {name} are of different protocols ({first.protocol_hash} and "
                f"{other.protocol_hash}; they differ in {fields}), so their numbers do not "
                "compare; evaluate both under one protocol"
            )
        if other.real.contents != first.real.contents:
            raise ValueError(
                f"{names[0]} and {name} were measured against different real videos "
                f"({first.real.name} and {other.real.name}), so their numbers do not compare; "
                "evaluate both against one"
            )
        for metric in first.scores.keys() & other.scores.keys():
            by, theirs = first.scores[metric].by, other.scores[metric].by
            if by != theirs:
                raise ValueError(
                    f"{metric} of {names[0]} is by {by}, that of {name} by {theirs}, so they do "
                    "not compare; evaluate both by one"
                )


def _differing(x: Any, y: Any, prefix: str = "") -> list[str]:
    if not (isinstance(x, dict) and isinstance(y, dict)):
        return [] if x == y else [f"{prefix.removesuffix('.')} ({x} and {y})"]
    return [
        place
        for key in {**x, **y}
        for place in _differing(x.get(key), y.get(key), f"{prefix}{key}.")
    ]
