"""Measures a table row by row: the paper's numbers and ours, as one JSON file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from longtake.checkpoint import read_config, write_text
from longtake.config import Config, to_dict
from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.evaluation.protocols import Protocol
from longtake.evaluation.result import Result, Score
from longtake.features.i3d import cache_path
from longtake.reproduce.requirements import Folders, Missing, missing, pending, protocol_of
from longtake.reproduce.table import Published, Row, Table, Training

FILE = "table.json"


class RowOutcome(Config):
    """Outcome of reproducing one row of a paper's table: scores, or why there are none.

    Attributes:
        name: name of the row.
        title: title of the row.
        published: the paper's numbers, by metric.
        remark: notes on the paper's numbers.
        protocol: name of the evaluation protocol.
        protocol_hash: hash of the protocol.
        changed: fields that differ from the predefined protocol of that name, so from the paper's.
        lacks: why the row was not measured; empty if it was.
        key: hash of everything that our numbers depend on.
        result: name, in the same folder, of the file with the whole result; empty without scores.
        scores: our score of each metric.
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
    """Outcome of reproducing a paper's table, as a JSON file stores it.

    Attributes:
        format: version of the file's format.
        table: name of the table.
        title: title of the table.
        paper: the paper that has the table, with its arXiv number.
        about: notes on comparing the numbers.
        tiny: whether this is a tiny trial, whose numbers mean nothing.
        untrained: whether features are of a random network, so that numbers mean nothing.
        rows: outcome of each row.
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
        """Write the outcome to ``folder`` as JSON, completely or not at all.

        Raises:
            OSError: the folder cannot be made.
            CheckpointError: the file cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / FILE, json.dumps(to_dict(self), indent=2) + "\n")


def read_outcome(folder: Path) -> Outcome | None:
    """Read the outcome in a folder; None if it has none.

    Raises:
        CheckpointError: the file is damaged.
        ConfigError: the file's contents are not an outcome.
    """
    path = folder / FILE
    return read_config(path, Outcome) if path.exists() else None


def measure_table(
    table: Table,
    folders: Folders,
    work: EvaluationSettings,
    *,
    n: int | None = None,
    tiny: bool = False,
) -> Outcome:
    """Measure all rows of a paper's table whose data and model exist; writes results after each.

    A row that was measured before with the same settings, model and videos is not measured again.
    The outcome of a row that cannot be measured has the reason.

    Args:
        table: the table.
        folders: where data, models and results are.
        work: seed, cache, device and progress.
        n: number of real and of generated clips; None: each protocol's.
        tiny: whether this is a tiny trial, as ``Table.shrunk`` returns; without the weights of I3D
            it takes features of a random network.

    Raises:
        ValueError: ``folders`` has one model only, but the table's rows need several.
    """
    folders.check(table)
    untrained = tiny and not work.weights and not cache_path().exists()
    outcome = Outcome(
        table=table.name,
        title=table.title,
        paper=table.paper,
        about=table.about,
        tiny=tiny,
        untrained=untrained,
    )
    before = read_outcome(folders.out)
    same = before is not None and before.model_copy(update={"rows": ()}) == outcome
    known = {row.name: row for row in before.rows} if before and same else {}
    rows: dict[str, RowOutcome] = {}
    for row in table.rows:
        protocol = protocol_of(row, n, untrained=untrained)
        rows[row.name] = _measure_row(row, known.get(row.name), folders, protocol, work)
        if work.ranks.main:
            every = tuple({**known, **rows}.values())
            outcome.model_copy(update={"rows": every}).write(folders.out)
    return outcome.model_copy(update={"rows": tuple(rows.values())})


def pending_training(table: Table, folders: Folders) -> Sequence[Training]:
    """Trainings that rows of a paper's table still need, if their data exists.

    Each is listed once, the first to run first; ``folders`` say where data and models are.

    Raises:
        ConfigError: a preset or an override is not valid.
        ValueError: ``folders`` has one model only, but the table's rows need several.
    """
    folders.check(table)
    ready = [row for row in table.rows if not missing(row, folders).data]
    needed = [training for row in ready for training in pending(row, folders)]
    return list({training.preset: training for training in needed}.values())


def _measure_row(
    row: Row,
    before: RowOutcome | None,
    folders: Folders,
    protocol: Protocol,
    work: EvaluationSettings,
) -> RowOutcome:
    """Measure a row, or read its result if ``before`` has the same key."""
    outcome = RowOutcome(
        name=row.name,
        title=row.title,
        published=row.published,
        remark=row.remark,
        protocol=protocol.name,
        protocol_hash=protocol.hash,
        changed=protocol.changed(),
    )
    if lacks := missing(row, folders):
        return outcome.model_copy(update={"lacks": lacks})
    path = folders.out / f"{row.name}.json"
    try:
        key, measure = row.prepare(str(folders.model(row)), folders.real(row), protocol, work)
        if before is not None and before.key == key and path.exists():
            result = Result.read(path)
        else:
            result = measure()
            if work.ranks.main:
                result.write(path)
    except ValueError as error:  # concerns this row alone: continue with the others
        return outcome.model_copy(update={"lacks": Missing(fault=str(error))})
    found = {"key": key, "result": path.name, "scores": dict(result.scores)}
    return outcome.model_copy(update=found)
