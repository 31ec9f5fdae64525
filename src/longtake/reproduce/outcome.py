"""Outcome of a reproduction, the paper's numbers and ours, as one JSON file."""

import json
from pathlib import Path
from typing import Any, Literal

from longtake.checkpoint import read_config, write_text
from longtake.config import Config, to_dict
from longtake.evaluation.result import Score
from longtake.reproduce.requirements import Missing
from longtake.reproduce.table import Published

FILE = "table.json"


class RowOutcome(Config):
    """Outcome of a row: scores, or what it lacks.

    Attributes:
        remark: notes on the paper's numbers.
        changed: differences of that protocol from the one of this name, and so from the paper's.
        lacks: why the row was not measured.
        key: digest of everything that our numbers depend on.
        result: name of the file with the whole result, in the same folder.
    """

    name: str
    title: str
    published: dict[str, Published]
    remark: str = ""
    protocol: str
    protocol_hash: str
    changed: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)
    lacks: Missing = Missing()
    key: str = ""
    result: str = ""
    scores: dict[str, Score] = {}  # noqa: RUF012


class Outcome(Config):
    """Outcome of a table.

    Attributes:
        about: notes on comparing the numbers.
        tiny: whether this is a tiny trial, whose numbers are meaningless.
        untrained: whether features are of a random network, so that numbers are meaningless.
    """

    format: Literal[1] = 1
    table: str
    title: str
    paper: str
    about: str = ""
    tiny: bool = False
    untrained: bool = False
    rows: tuple[RowOutcome, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether any row has scores."""
        return any(row.scores for row in self.rows)

    def write(self, folder: Path) -> None:
        """Write as JSON, complete or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / FILE, json.dumps(to_dict(self), indent=2) + "\n")


def read_outcome(folder: Path) -> Outcome | None:
    """Read the outcome in a folder; None if there is none.

    Raises:
        CheckpointError: the file is damaged or not an outcome.
    """
    path = folder / FILE
    return read_config(path, Outcome) if path.exists() else None
