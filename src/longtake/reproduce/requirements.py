"""Data, models and trainings that a table needs, and whether they exist."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.config import Config
from longtake.data.folders import VideosOnDisk
from longtake.evaluation.opening import SYNTHETIC, is_model, open_videos
from longtake.evaluation.protocols import Protocol, protocol
from longtake.reproduce.table import Row, Table, Training
from longtake.runs import AnyRun, DiffusionRun, read_run

RUNS = Path("runs")
UNTRAINED = ("network.kind=random_features", "treatment.size=32")


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where the inputs and outputs of reproducing a table are.

    Attributes:
        data: folder that holds the data sets.
        models: folder that holds runs and models, named as presets; or a single model.
        out: folder of the results.
    """

    data: Path
    models: Path
    out: Path

    def real(self, row: Row) -> str:
        """Name of the real videos of a table's row, such as ``ucf101:train:FOLDER``."""
        return row.real.format(data=self.data)

    def model(self, row: Row) -> Path:
        """Path of the model of a table's row."""
        return self.models if is_model(str(self.models)) else self.models / row.model

    def run(self, training: Training) -> Path:
        """Path of the run folder of a training."""
        return self.models / training.preset

    def check(self, table: Table) -> None:
        """Raise a ValueError if ``models`` is one model, but the table's rows need several."""
        models = dict.fromkeys(row.model for row in table.rows)
        if is_model(str(self.models)) and len(models) > 1:
            raise ValueError(
                f"{self.models} is one model, and the rows are of {', '.join(models)}; "
                "choose the rows of this model"
            )


class Missing(Config):
    """Why a row of a paper's table cannot be measured; all fields are empty if it can.

    Attributes:
        data: data that is missing, and where it should be.
        model: model that is missing, and where it should be.
        commands: commands that train the model.
        fault: any other reason.
    """

    data: str = ""
    model: str = ""
    commands: tuple[str, ...] = ()
    fault: str = ""

    def __bool__(self) -> bool:
        """Whether anything is missing."""
        return bool(self.data or self.model or self.fault)


def missing(row: Row, folders: Folders) -> Missing:
    """Find which data, model and trainings a row of a paper's table needs and does not have.

    Raises:
        ConfigError: a preset or an override is not valid.
    """
    model = str(folders.model(row))
    return Missing(
        data=_missing_data(folders.real(row)),
        model="" if is_model(model) else model,
        commands=tuple(training_command(t, folders) for t in pending(row, folders)),
    )


def pending(row: Row, folders: Folders) -> Sequence[Training]:
    """Trainings that the model of a table's row still needs, the first to run first.

    There is none if the model exists.
    """
    if is_model(str(folders.model(row))):
        return ()
    return [training for training in row.trainings if not is_model(str(folders.run(training)))]


def training_run(training: Training, folders: Folders) -> AnyRun:
    """Config of a training, with the paths of ``folders``.

    Raises:
        ConfigError: the preset or an override is not valid.
    """
    return read_run(training.preset, training_changes(training, folders))


def training_changes(training: Training, folders: Folders) -> list[str]:
    """Overrides of a training's preset: those of the table, and the paths of ``folders``.

    Raises:
        ConfigError: the preset or an override is not valid.
    """
    run, changes = read_run(training.preset, training.changes), list(training.changes)
    for field in ("data", "validation"):
        source = getattr(run, field, None)
        if isinstance(source, VideosOnDisk):
            path = folders.data / source.path.name
            changes += [f"{field}.path={path}"] if path != source.path else []
    if isinstance(run, DiffusionRun):
        base = folders.models / Path(run.model).name
        changes += [f"model={base}"] if base != Path(run.model) else []
    return changes


def training_command(training: Training, folders: Folders) -> str:
    """Command line of a training that a paper's table needs, quoted for a shell.

    Raises:
        ConfigError: the preset or an override is not valid.
    """
    words = ["longtake", "fit", training.preset, *training_changes(training, folders)]
    folder = folders.run(training)
    return shlex.join(words if folder == RUNS / training.preset else [*words, "-o", str(folder)])


def protocol_of(row: Row, n: int | None = None, *, untrained: bool = False) -> Protocol:
    """The evaluation protocol of a row of a paper's table.

    Args:
        row: the row.
        n: number of real and of generated clips; None: the protocol's.
        untrained: use features of a random network, which need no weights.

    Raises:
        ConfigError: there is no such protocol, or an override is not valid.
    """
    return protocol(row.protocol, [*row.changes, *(UNTRAINED if untrained else ())], n)


def _missing_data(name: str) -> str:
    kind, *rest = name.split(":")
    if kind in SYNTHETIC:
        return ""
    folder = Path(rest[-1])
    place = f"{kind}, split {rest[0]}: {folder}"
    if not folder.is_dir():
        return f"{place} is not a folder"
    try:
        return "" if open_videos(name) else f"{place} has no videos"
    except ValueError as error:
        return str(error)
