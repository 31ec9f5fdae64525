"""A table from beginning to end: what there is to train, then row after row, measured and kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.evaluation.protocols import Protocol
from longtake.evaluation.result import Result
from longtake.reproduce.needs import Missing, Places, fits, lacks_weights, missing, protocol_of
from longtake.reproduce.outcome import Outcome, RowOutcome, read_outcome
from longtake.reproduce.table import Fit, Row, Table, Task


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a table is measured.

    Attributes:
        n: clips a side, instead of each protocol's.
        batch: videos sampled at once.
        tiny: the twin is measured.
    """

    n: int | None = None
    batch: int = 8
    tiny: bool = False


def carry_out(
    table: Table, places: Places, settings: Settings, work: EvaluationSettings
) -> Outcome:
    """Measure the rows that have all they need; a stopped command goes on with the next row.

    Rows that were measured before, by the same model on the same videos, are not measured again. A
    row that cannot be measured says why.

    Raises:
        ValueError: one model is to stand for several.
    """
    places.check(table)
    untrained = settings.tiny and lacks_weights(None if not work.weights else Path(work.weights))
    outcome = Outcome(
        table=table.name,
        title=table.title,
        paper=table.paper,
        about=table.about,
        tiny=settings.tiny,
        untrained=untrained,
    )
    known = _measured_before(places, outcome)
    one = _Rows(places=places, settings=settings, work=work, untrained=untrained)
    rows: dict[str, RowOutcome] = {}
    for row in table.rows:
        rows[row.name] = one(row, known.get(row.name))
        if work.ranks.main:
            every = tuple({**known, **rows}.values())
            outcome.model_copy(update={"rows": every}).write(places.out)
    return outcome.model_copy(update={"rows": tuple(rows.values())})


def to_train(table: Table, places: Places) -> Sequence[Fit]:
    """Trainings that rows whose data is there still need, in order, each once."""
    places.check(table)
    needed = [
        fit for row in table.rows if not missing(row, places).data for fit in fits(row, places)
    ]
    return list({fit.preset: fit for fit in needed}.values())


def _measured_before(places: Places, outcome: Outcome) -> dict[str, RowOutcome]:
    """Rows that the folder holds; none where they are of something else."""
    before = read_outcome(places.out)
    if before is None or before.model_copy(update={"rows": ()}) != outcome:
        return {}
    return {row.name: row for row in before.rows}


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Measures row after row."""

    places: Places
    settings: Settings
    work: EvaluationSettings
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
        lacks = missing(row, self.places)
        if lacks:
            return outcome.model_copy(update={"lacks": lacks})
        try:
            return self._measured(row, protocol, outcome, before)
        except ValueError as error:  # of this row: the others are measured all the same
            return outcome.model_copy(update={"lacks": Missing(fault=str(error))})

    def _measured(
        self, row: Row, protocol: Protocol, outcome: RowOutcome, before: RowOutcome | None
    ) -> RowOutcome:
        task = Task(
            model=str(self.places.model(row)),
            real=self.places.real(row),
            protocol=protocol,
            batch=self.settings.batch,
            work=self.work,
        )
        measurement = row.prepare(task)
        path = self.places.out / f"{row.name}.json"
        if before is not None and before.key == measurement.key and path.exists():
            result = Result.read(path)
        else:
            result = measurement.measure()
            if self.work.ranks.main:
                result.write(path)
        found = {"key": measurement.key, "result": path.name, "scores": dict(result.scores)}
        return outcome.model_copy(update=found)
