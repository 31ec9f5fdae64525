"""A paper's table as data: models, videos, protocols and published numbers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
"""Overrides ``a.b=value``."""

Measurement = tuple[str, Callable[[], Result]]
"""Digest of everything that a row's numbers depend on, and what measures them."""


class Published(Config):
    """A number of a paper with its source, or the reason for its absence.

    Attributes:
        std: standard deviation as printed.
        source: where the number was read.
        quoted: whether the source only quotes the paper.
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
            raise ValueError(f"value={self.value} has no source; say where it was read")
        return self


class Training(Config):
    """A training that a row's model needs: a preset and its overrides."""

    preset: str
    changes: Changes = ()


class Row(Config, ABC):
    """One model under one protocol.

    Attributes:
        real: real videos, as an evaluation names them; ``{data}`` is the folder of data.
        trainings: trainings in order; the model of the last one is measured.
        changes: overrides of the protocol.
        sampling: overrides of the model's sampling.
        remark: notes on the paper's numbers.
    """

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
        """Open videos and model by their names; a ValueError says how they do not fit."""


class GenerationRow(Row):
    """Generated videos compared with real ones."""

    kind: Literal["generation"] = "generation"

    def prepare(
        self, model: str, real: str, protocol: Protocol, work: EvaluationSettings
    ) -> Measurement:
        metrics = list(self.published)
        sampling = SamplingSettings(changes=self.sampling, batch=work.batch, seed=work.seed)
        sources = open_sources([real, model], protocol, sampling, work.ranks)
        contents = [digest(source.contents()) for source in sources]
        key = digest([protocol.hash, *contents, metrics, work.seed, work.floor])
        return key, lambda: evaluate(*sources, protocol, metrics, work)


class ReconstructionRow(Row):
    """Reconstructed videos compared with their originals."""

    kind: Literal["reconstruction"] = "reconstruction"

    def prepare(
        self, model: str, real: str, protocol: Protocol, work: EvaluationSettings
    ) -> Measurement:
        work = replace(work, ranks=Ranks(device=work.ranks.device))
        opened = VideoModel.from_pretrained(model, device=work.ranks.device)
        autoencoder, sampling = opened.autoencoder, SamplingSettings(seed=work.seed)
        size = autoencoder.spec.clip[1:]
        source = open_source(real, "real", protocol, sampling, work.ranks, size)
        weights = opened.index.weights["autoencoder"]
        key = [protocol.hash, digest(source.contents()), weights, work.seed, work.floor]
        return digest(key), lambda: evaluate_reconstruction(
            model, autoencoder, source, protocol, work
        )


AnyRow = Annotated[GenerationRow | ReconstructionRow, Field(discriminator="kind")]


class Tiny(Config):
    """A tiny trial of a table: all of its steps in minutes on a synthetic world.

    Attributes:
        real: videos that stand for every row's.
        trainings: trainings of every row's model.
        changes: overrides of protocols, by name of protocol.
        every_row: measure every row with its own sampling, not one row of each protocol.
    """

    real: str
    trainings: tuple[Training, ...]
    changes: dict[str, Changes]
    sampling: Changes = ()
    every_row: bool = False


class Table(Config):
    """A paper's table; ``about`` has notes on comparing the numbers."""

    name: str
    title: str
    paper: str
    about: str = ""
    rows: tuple[AnyRow, ...]
    tiny: Tiny

    def chosen(self, names: Sequence[str] = ()) -> "Table":
        """The table with only the rows of these names; a ConfigError if one is unknown."""
        known = [row.name for row in self.rows]
        for name in names:
            if name not in known:
                raise ConfigError(f"table {self.name} has no row {name!r}; {nearest(name, known)}")
        rows = tuple(row for row in self.rows if not names or row.name in names)
        return self.model_copy(update={"rows": rows})

    def shrunk(self) -> "Table":
        """The table with the tiny trial's networks and videos, cut to one row per protocol.

        With ``tiny.every_row`` all rows stay, each with its own sampling.
        """
        tiny, rows = self.tiny, []
        for row in self.rows:
            if tiny.every_row or all(row.protocol != other.protocol for other in rows):
                changes = (*row.changes, *tiny.changes.get(row.protocol, ()))
                own = row.sampling if tiny.every_row else ()
                networks = {"trainings": tiny.trainings, "sampling": (*own, *tiny.sampling)}
                about = {"title": f"tiny trial of {row.title}", "real": tiny.real}
                rows.append(row.model_copy(update={**about, **networks, "changes": changes}))
        return self.model_copy(update={"rows": tuple(rows)})


def tables() -> Mapping[str, Path]:
    """Files of all tables, by name."""
    root = Path(str(resources.files("longtake") / "tables"))
    return {path.stem: path for path in sorted(root.glob("*.yaml"))}


def table(name: str) -> Table:
    """Load a table by name; a ConfigError if it is unknown."""
    known = tables()
    if name not in known:
        raise ConfigError(f"unknown table {name!r}; {nearest(name, list(known))}")
    found: Table = load(known[name], Table)
    return found
