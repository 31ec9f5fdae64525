"""Measures a table row by row, and finds the trainings that it still needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.evaluation.evaluate import Work
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
from longtake.reproduce.table import Row, Table, Task, Training


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a table is measured.

    Attributes:
        n: number of clips of each source; None is that of each protocol.
        batch: number of videos sampled at once.
        tiny: whether the table is a tiny trial.
    """

    n: int | None = None
    batch: int = 8
    tiny: bool = False


def measure_table(table: Table, folders: Folders, settings: Settings, work: Work) -> Outcome:
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
    measure_row = _RowMeasurer(folders=folders, settings=settings, work=work, untrained=untrained)
    rows: dict[str, RowOutcome] = {}
    for row in table.rows:
        rows[row.name] = measure_row(row, known.get(row.name))
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


@dataclass(frozen=True, kw_only=True)
class _RowMeasurer:
    """Measures one row."""

    folders: Folders
    settings: Settings
    work: Work
    untrained: bool

    def __call__(self, row: Row, before: RowOutcome | None) -> RowOutcome:
        protocol = protocol_of(row, self.settings.n, untrained=self.untrained)
        outcome = RowOutcome(
            name=row.name,
            title=row.title,
            published=row.published,
            remark=row.remark,
            protocol=protocol.name,
            protocol_hash=protocol.hash,
            changed=protocol.changed(),
        )
        lacks = missing(row, self.folders)
        if lacks:
            return outcome.model_copy(update={"lacks": lacks})
        try:
            return self._measured(row, protocol, outcome, before)
        except ValueError as error:  # concerns this row alone: continue with the others
            return outcome.model_copy(update={"lacks": Missing(fault=str(error))})

    def _measured(
        self, row: Row, protocol: Protocol, outcome: RowOutcome, before: RowOutcome | None
    ) -> RowOutcome:
        task = Task(
            model=str(self.folders.model(row)),
            real=self.folders.real(row),
            protocol=protocol,
            batch=self.settings.batch,
            work=self.work,
        )
        measurement = row.prepare(task)
        path = self.folders.out / f"{row.name}.json"
        if before is not None and before.key == measurement.key and path.exists():
            result = Result.read(path)
        else:
            result = measurement.measure()
            if self.work.ranks.main:
                result.write(path)
        found = {"key": measurement.key, "result": path.name, "scores": dict(result.scores)}
        return outcome.model_copy(update=found)
