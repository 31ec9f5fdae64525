"""A paper's table as data: which models, on which videos, under which protocol, and its numbers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from longtake.config import Config, ConfigError, digest, load, nearest
from longtake.distributed import Ranks
from longtake.evaluation.evaluate import evaluate
from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.evaluation.opening import SamplingSettings, open_source, open_sources
from longtake.evaluation.protocols import Protocol
from longtake.evaluation.reconstruction import evaluate_reconstruction
from longtake.evaluation.result import Result
from longtake.model import VideoModel

Changes = tuple[str, ...]


class Published(Config):
    """A number of a paper, or why none is given.

    Attributes:
        value: as printed.
        deviation: that the paper prints behind it.
        source: where it was read.
        second_hand: not in the paper itself.
        absent: what is said where there is no value.
    """

    value: float | None = None
    deviation: float | None = None
    source: str = ""
    second_hand: bool = False
    absent: Literal["not published", "not verified"] | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> "Published":
        if (self.value is None) != (self.absent is not None):
            raise ValueError("a number has a value, or says why it has none, not both")
        if self.value is not None and not self.source:
            raise ValueError(f"value={self.value} has no source")
        return self


class Fit(Config):
    """A training that a row's model needs.

    Attributes:
        preset: its name, and that of its folder.
        changes: ``a.b=value`` overrides.
    """

    preset: str
    changes: Changes = ()


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a row is measured with.

    Attributes:
        model: its folder.
        real: name of the real side.
        protocol: with all changes.
        batch: videos sampled at once.
        work: where and with what.
    """

    model: str
    real: str
    protocol: Protocol
    batch: int
    work: EvaluationSettings


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A row, ready to be measured.

    Attributes:
        key: of all that its numbers depend on.
        measure: does it.
    """

    key: str
    measure: Callable[[], Result]


class Row(Config, ABC):
    """One model under one protocol.

    Attributes:
        name: by which it is asked for.
        title: for people.
        real: the real side, as ``longtake evaluate`` takes it; ``{data}`` is the folder of data.
        fits: trainings in order; the last one's model is measured.
        protocol: by name.
        changes: of the protocol.
        sampling: changes of how the model is sampled.
        published: the paper's numbers, by metric.
        remark: what to know beside them.
    """

    name: str
    title: str
    real: str
    fits: Annotated[tuple[Fit, ...], Field(min_length=1)]
    protocol: str
    changes: Changes = ()
    sampling: Changes = ()
    published: dict[str, Published]
    remark: str = ""

    @property
    def model(self) -> str:
        """Name of the model's folder."""
        return self.fits[-1].preset

    @abstractmethod
    def prepare(self, task: Task) -> Measurement:
        """Open both sides.

        Raises:
            ValueError: videos or model do not fit.
        """


class GenerationRow(Row):
    """Videos that a model makes, against real ones."""

    kind: Literal["generation"] = "generation"

    def prepare(self, task: Task) -> Measurement:
        """Open both sides."""
        work, metrics = task.work, list(self.published)
        sampling = SamplingSettings(changes=self.sampling, batch=task.batch, seed=work.seed)
        names = [task.real, task.model]
        real, generated = open_sources(names, task.protocol, sampling, work.ranks)
        sides = [digest(real.contents()), digest(generated.contents())]
        return Measurement(
            key=digest([task.protocol.hash, *sides, metrics, work.seed, work.floor]),
            measure=lambda: evaluate(real, generated, task.protocol, metrics, work),
        )


class ReconstructionRow(Row):
    """Videos that an autoencoder gives back, against themselves."""

    kind: Literal["reconstruction"] = "reconstruction"

    def prepare(self, task: Task) -> Measurement:
        """Open the videos and the autoencoder."""
        work = replace(task.work, ranks=Ranks(device=task.work.ranks.device))
        opened = VideoModel.from_pretrained(task.model, device=work.ranks.device)
        size, sampling = opened.autoencoder.spec.clip[1:], SamplingSettings(seed=work.seed)
        source = open_source(task.real, "real", task.protocol, sampling, work.ranks, size)
        weights = opened.index.weights["autoencoder"]
        key = [task.protocol.hash, digest(source.contents()), weights, work.seed, work.floor]
        return Measurement(
            key=digest(key),
            measure=lambda: evaluate_reconstruction(
                task.model, opened.autoencoder, source, task.protocol, work
            ),
        )


AnyRow = Annotated[GenerationRow | ReconstructionRow, Field(discriminator="kind")]


class Tiny(Config):
    """The whole path of a table in minutes on an embedded world.

    Attributes:
        real: the embedded world.
        fits: instead of each row's.
        changes: of each protocol, by its name.
        sampling: instead of each row's.
    """

    real: str
    fits: tuple[Fit, ...]
    changes: dict[str, Changes]
    sampling: Changes = ()


class Table(Config):
    """A paper's table.

    Attributes:
        name: by which it is asked for.
        title: for people.
        paper: whose it is.
        about: what to know before the numbers are compared.
        rows: of the table.
        tiny: its twin.
    """

    name: str
    title: str
    paper: str
    about: str = ""
    rows: tuple[AnyRow, ...]
    tiny: Tiny

    def chosen(self, names: Sequence[str] = ()) -> "Table":
        """With some of its rows, in the table's order; all where none is named.

        Raises:
            ConfigError: there is no such row.
        """
        known = {row.name: row for row in self.rows}
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"table {self.name} has no row {name!r}; {nearest(name, list(known))}"
                )
        rows = tuple(row for row in self.rows if not names or row.name in names)
        return self.model_copy(update={"rows": rows})

    def shrunk(self) -> "Table":
        """The first row of each protocol, with the networks and videos of the twin."""
        first = {row.protocol: row for row in reversed(self.rows)}
        tiny = self.tiny
        rows = tuple(
            row.model_copy(
                update={
                    "title": f"tiny twin of {row.title}",
                    "real": tiny.real,
                    "fits": tiny.fits,
                    "changes": (*row.changes, *tiny.changes.get(row.protocol, ())),
                    "sampling": tiny.sampling,
                }
            )
            for row in self.rows
            if row is first[row.protocol]
        )
        return self.model_copy(update={"rows": rows})


def tables() -> Mapping[str, Path]:
    """Files of all tables, by name."""
    root = Path(str(resources.files("longtake") / "tables"))
    return {path.stem: path for path in sorted(root.glob("*.yaml"))}


def table(name: str) -> Table:
    """A table by name.

    Raises:
        ConfigError: there is none of that name.
    """
    known = tables()
    if name not in known:
        raise ConfigError(f"there is no table {name!r}; {nearest(name, list(known))}")
    found: Table = load(known[name], Table)
    return found
