"""Measures a table row by row, and finds the trainings that it still needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.evaluation.protocols import Protocol
from longtake.evaluation.result import Result
from longtake.reproduce.outcome import Outcome, RowOutcome, read_outcome
from longtake.reproduce.requirements import (
    Folders,
    Missing,
    lacks_weights,
    missing,
    pending,
    protocol_of,
)
from longtake.reproduce.table import Row, Table, Training


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a table is measured.

    Attributes:
        n: number of clips of each source; None is that of each protocol.
        tiny: whether the table is a tiny trial.
    """

    n: int | None = None
    tiny: bool = False


def measure_table(
    table: Table, folders: Folders, settings: Settings, work: EvaluationSettings
) -> Outcome:
    """Measure all rows whose data and model exist; results are written after each row.

    Rows measured before, with the same model and videos, are not measured again. The outcome of a
    row that cannot be measured has the reason.

    Raises:
        ValueError: a single model is given for rows of several models.
    """
    folders.check(table)
    untrained = settings.tiny and lacks_weights(None if not work.weights else Path(work.weights))
    outcome = Outcome(
        table=table.name,
        title=table.title,
        paper=table.paper,
        about=table.about,
        tiny=settings.tiny,
        untrained=untrained,
    )
    known = _measured_before(folders, outcome)
    rows: dict[str, RowOutcome] = {}
    for row in table.rows:
        protocol = protocol_of(row, settings.n, untrained=untrained)
        rows[row.name] = _measure_row(row, known.get(row.name), folders, protocol, work)
        if work.ranks.main:
            every = tuple({**known, **rows}.values())
            outcome.model_copy(update={"rows": every}).write(folders.out)
    return outcome.model_copy(update={"rows": tuple(rows.values())})


def pending_training(table: Table, folders: Folders) -> Sequence[Training]:
    """Trainings still needed by rows whose data exists, in order and without repetition."""
    folders.check(table)
    needed = [
        training
        for row in table.rows
        if not missing(row, folders).data
        for training in pending(row, folders)
    ]
    return list({training.preset: training for training in needed}.values())


def _measured_before(folders: Folders, outcome: Outcome) -> dict[str, RowOutcome]:
    """Rows in the output folder; none if they belong to another table or to other settings."""
    before = read_outcome(folders.out)
    if before is None or before.model_copy(update={"rows": ()}) != outcome:
        return {}
    return {row.name: row for row in before.rows}


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
        ready = row.prepare(str(folders.model(row)), folders.real(row), protocol, work)
        if before is not None and before.key == ready.key and path.exists():
            result = Result.read(path)
        else:
            result = ready.measure()
            if work.ranks.main:
                result.write(path)
    except ValueError as error:  # concerns this row alone: continue with the others
        return outcome.model_copy(update={"lacks": Missing(fault=str(error))})
    found = {"key": ready.key, "result": path.name, "scores": dict(result.scores)}
    return outcome.model_copy(update=found)
