"""A paper's table as data: models, videos, protocols and published numbers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, ClassVar, Literal

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
    """A number of a paper, or the reason for its absence.

    Attributes:
        std: standard deviation as printed.
        source: where the number was read.
        quoted: whether the source only quotes the paper.
        absent: text in place of a value.
    """

    renamed: ClassVar[Mapping[str, str]] = {"deviation": "std", "second_hand": "quoted"}

    value: float | None = None
    std: float | None = None
    source: str = ""
    quoted: bool = False
    absent: Literal["not published", "not verified"] | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> "Published":
        if (self.value is None) != (self.absent is not None):
            raise ValueError("a number has either a value or a reason for its absence, not both")
        if self.value is not None and not self.source:
            raise ValueError(f"value={self.value} has no source")
        return self


class Training(Config):
    """A training that a row's model needs.

    Attributes:
        changes: ``a.b=value`` overrides.
    """

    preset: str
    changes: Changes = ()


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A row that is ready to be measured.

    Attributes:
        key: digest of everything that its numbers depend on.
    """

    key: str
    measure: Callable[[], Result]


class Row(Config, ABC):
    """One model under one protocol.

    Attributes:
        real: real videos, as an evaluation names them; ``{data}`` is the folder of data.
        trainings: trainings in order; the model of the last one is measured.
        sampling: overrides of the model's sampling.
        remark: notes on the paper's numbers.
    """

    renamed: ClassVar[Mapping[str, str]] = {"fits": "trainings"}

    name: str
    title: str
    real: str
    trainings: Annotated[tuple[Training, ...], Field(min_length=1)]
    protocol: str
    changes: Changes = ()
    sampling: Changes = ()
    published: dict[str, Published]
    remark: str = ""

    @property
    def model(self) -> str:
        """Name of the model's folder."""
        return self.trainings[-1].preset

    @abstractmethod
    def prepare(
        self, model: str, real: str, protocol: Protocol, work: EvaluationSettings
    ) -> Measurement:
        """Open videos and model.

        Args:
            model: folder of the model.
            real: name of the real videos.
            protocol: protocol with all changes.
            work: settings of the evaluation.

        Raises:
            ValueError: videos and model do not fit each other.
        """


class GenerationRow(Row):
    """Generated videos compared with real ones."""

    kind: Literal["generation"] = "generation"

    def prepare(
        self, model: str, real: str, protocol: Protocol, work: EvaluationSettings
    ) -> Measurement:
        """Open the real videos and the model."""
        metrics = list(self.published)
        sampling = SamplingSettings(changes=self.sampling, batch=work.batch, seed=work.seed)
        sources = open_sources([real, model], protocol, sampling, work.ranks)
        contents = [digest(source.contents()) for source in sources]
        return Measurement(
            key=digest([protocol.hash, *contents, metrics, work.seed, work.floor]),
            measure=lambda: evaluate(*sources, protocol, metrics, work),
        )


class ReconstructionRow(Row):
    """Reconstructed videos compared with their originals."""

    kind: Literal["reconstruction"] = "reconstruction"

    def prepare(
        self, model: str, real: str, protocol: Protocol, work: EvaluationSettings
    ) -> Measurement:
        """Open the videos and the autoencoder."""
        work = replace(work, ranks=Ranks(device=work.ranks.device))
        opened = VideoModel.from_pretrained(model, device=work.ranks.device)
        size, sampling = opened.autoencoder.spec.clip[1:], SamplingSettings(seed=work.seed)
        source = open_source(real, "real", protocol, sampling, work.ranks, size)
        weights = opened.index.weights["autoencoder"]
        key = [protocol.hash, digest(source.contents()), weights, work.seed, work.floor]
        return Measurement(
            key=digest(key),
            measure=lambda: evaluate_reconstruction(
                model, opened.autoencoder, source, protocol, work
            ),
        )


AnyRow = Annotated[GenerationRow | ReconstructionRow, Field(discriminator="kind")]


class Tiny(Config):
    """A tiny trial of a table: all of its steps in minutes on a synthetic world.

    Attributes:
        real: name of the synthetic videos.
        trainings: trainings of every row's model.
        changes: overrides by name of protocol.
        sampling: overrides of the model's sampling.
    """

    renamed: ClassVar[Mapping[str, str]] = {"fits": "trainings"}

    real: str
    trainings: tuple[Training, ...]
    changes: dict[str, Changes]
    sampling: Changes = ()


class Table(Config):
    """A paper's table.

    Attributes:
        paper: reference of the paper.
        about: notes on comparing the numbers.
        tiny: settings of the tiny trial.
    """

    name: str
    title: str
    paper: str
    about: str = ""
    rows: tuple[AnyRow, ...]
    tiny: Tiny

    def chosen(self, names: Sequence[str] = ()) -> "Table":
        """The table with the rows of these names, in the table's order; without names, all rows.

        Raises:
            ConfigError: the table has no row of a name.
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
        """The table cut to one row per protocol, with the tiny trial's networks and videos."""
        first = {row.protocol: row for row in reversed(self.rows)}
        tiny = self.tiny
        rows = tuple(
            row.model_copy(
                update={
                    "title": f"tiny trial of {row.title}",
                    "real": tiny.real,
                    "trainings": tiny.trainings,
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
    """Load a table by name.

    Raises:
        ConfigError: the name is unknown.
    """
    known = tables()
    if name not in known:
        raise ConfigError(f"unknown table {name!r}; {nearest(name, list(known))}")
    found: Table = load(known[name], Table)
    return found
