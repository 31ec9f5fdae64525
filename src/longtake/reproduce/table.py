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
"""Overrides of a config's settings, as ``a.b=value``."""

Measurement = tuple[str, Callable[[], Result]]
"""Hash of everything that a row's numbers depend on, and a function that measures them."""


class Published(Config):
    """A number of a paper with its source, or the reason why there is none.

    Attributes:
        value: the number; None if there is none.
        std: standard deviation as printed; None if none is.
        source: where the number was read.
        quoted: whether the source is another paper that quotes the number.
        absent: why there is no number; None if there is one.
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
            raise ValueError(
                f"value={self.value} and absent={self.absent}: a number has either a value or a "
                "reason for its absence, and not both"
            )
        if self.value is not None and not self.source:
            raise ValueError(f"value={self.value} has no source; set source to where it was read")
        return self


class Training(Config):
    """A training that the model of a table's row needs.

    Attributes:
        preset: name of the preset.
        changes: overrides of the preset, as ``a.b=value``.
    """

    preset: str
    changes: Changes = ()


class Row(Config, ABC):
    """A row of a paper's table: one model, measured under one protocol.

    Attributes:
        name: name of the row.
        title: title of the row.
        real: name of the real videos, such as ``ucf101:train:{data}/UCF-101``; ``{data}`` stands
            for the folder that holds the data sets.
        trainings: trainings, the first to run first; the model of the last one is measured.
        protocol: name of the evaluation protocol.
        changes: overrides of the protocol, as ``a.b=value``.
        sampling: overrides of the model's sampling settings, as ``a.b=value``.
        published: the paper's numbers, by metric.
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
        """Open videos and model of this row.

        Returns a hash of all that the row's numbers depend on, and a function that measures them.

        Args:
            model: path of the model.
            real: name of the real videos.
            protocol: the evaluation protocol.
            work: seed, cache, device and progress.

        Raises:
            ValueError: videos and model do not fit each other.
        """


class GenerationRow(Row):
    """A row of a paper's table that compares generated videos with real ones."""

    kind: Literal["generation"] = "generation"

    def prepare(
        self, model: str, real: str, protocol: Protocol, work: EvaluationSettings
    ) -> Measurement:
        metrics = list(self.published)
        sampling = SamplingSettings(changes=self.sampling, batch=work.batch, seed=work.seed)
        sources = open_sources([real, model], protocol, sampling, work.ranks)
        contents = [digest(source.contents()) for source in sources if source is not None]
        key = digest([protocol.hash, *contents, metrics, work.seed, work.floor])
        return key, lambda: evaluate(*sources, protocol, metrics, work)


class ReconstructionRow(Row):
    """A row of a paper's table that compares reconstructions with their original videos."""

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
    """Settings of a tiny trial of a table: all its steps in minutes, on a synthetic data set.

    Attributes:
        real: name of the videos that replace every row's real videos.
        trainings: trainings that replace those of every row's model.
        changes: overrides of protocols, by the protocol's name.
        sampling: overrides of the model's sampling settings.
        every_row: measure every row with its own sampling, not one row of each protocol.
    """

    real: str
    trainings: tuple[Training, ...]
    changes: dict[str, Changes]
    sampling: Changes = ()
    every_row: bool = False


class Table(Config):
    """A table of a paper that can be reproduced.

    Attributes:
        name: name of the table.
        title: title of the table.
        paper: the paper that has the table, with its arXiv number.
        about: notes on comparing the numbers.
        rows: rows of the table.
        tiny: settings of a tiny trial.
    """

    name: str
    title: str
    paper: str
    about: str = ""
    rows: tuple[AnyRow, ...]
    tiny: Tiny

    def chosen(self, names: Sequence[str] = ()) -> "Table":
        """This table with the rows ``names`` only (empty: all); a ConfigError for unknown names."""
        known = [row.name for row in self.rows]
        for name in names:
            if name not in known:
                raise ConfigError(f"table {self.name} has no row {name!r}; {nearest(name, known)}")
        rows = tuple(row for row in self.rows if not names or row.name in names)
        return self.model_copy(update={"rows": rows})

    def shrunk(self) -> "Table":
        """A tiny trial of the table: one row per protocol, small networks, a synthetic data set.

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
    """YAML file of each table of a paper that can be reproduced, by the table's name."""
    root = Path(str(resources.files("longtake") / "tables"))
    return {path.stem: path for path in sorted(root.glob("*.yaml"))}


def table(name: str) -> Table:
    """Load a paper's table by name; a ConfigError if it is unknown."""
    known = tables()
    if name not in known:
        raise ConfigError(f"unknown table {name!r}; {nearest(name, list(known))}")
    found: Table = load(known[name], Table)
    return found
