"""What a reproduction found: the paper's numbers beside ours, in one JSON file."""

import json
from pathlib import Path
from typing import Any, Literal

from longtake.checkpoint import read_config, write_text
from longtake.config import Config, to_dict
from longtake.evaluation.result import Score
from longtake.reproduce.needs import Missing
from longtake.reproduce.table import Published

FILE = "table.json"


class RowOutcome(Config):
    """A row: measured, or what it lacks.

    Attributes:
        name: of the row.
        title: for people.
        published: the paper's numbers.
        remark: what to know beside them.
        protocol: its name.
        protocol_hash: of the protocol that was used.
        changed: how that differs from the ready one, and so from the paper's.
        lacks: what is missing, where the row was not measured.
        key: of all that our numbers depend on.
        result: file of the whole result, beside this one.
        scores: our numbers, by metric.
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
    """A table.

    Attributes:
        format: of the file.
        table: its name.
        title: for people.
        paper: whose it is.
        about: what to know before the numbers are compared.
        tiny: the twin was measured, whose numbers mean nothing.
        untrained: so was the network of features.
        rows: of the table.
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
        """Whether any row was."""
        return any(row.scores for row in self.rows)

    def write(self, folder: Path) -> None:
        """As JSON, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / FILE, json.dumps(to_dict(self), indent=2) + "\n")


def read_outcome(folder: Path) -> Outcome | None:
    """What was written there before; None where nothing was.

    Raises:
        CheckpointError: the file is damaged or no outcome.
    """
    path = folder / FILE
    return read_config(path, Outcome) if path.exists() else None
