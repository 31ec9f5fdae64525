"""What a table needs and where it is looked for: data sets, models, and trainings for the rest."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.config import Config
from longtake.data.folders import VideosOnDisk
from longtake.evaluation.opening import SYNTHETIC, is_model, open_videos
from longtake.evaluation.protocols import Protocol, protocol
from longtake.features.i3d import cache_path
from longtake.reproduce.table import Fit, Row, Table
from longtake.runs import AutoencoderRun, DiffusionRun, read_run

RUNS = Path("runs")
UNTRAINED = ("network.kind=random_features", "treatment.size=32")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things are.

    Attributes:
        data: folder of the data sets' folders.
        models: folder of runs and models, named as presets; or one model.
        out: folder that results are written to.
    """

    data: Path
    models: Path
    out: Path

    def real(self, row: Row) -> str:
        """The real side of a row."""
        return row.real.format(data=self.data)

    def model(self, row: Row) -> Path:
        """The model of a row."""
        return self.models if is_model(str(self.models)) else self.models / row.model

    def run(self, fit: Fit) -> Path:
        """Folder of a training."""
        return self.models / fit.preset

    def check(self, table: Table) -> None:
        """Whether one model is not to stand for several.

        Raises:
            ValueError: it is.
        """
        models = dict.fromkeys(row.model for row in table.rows)
        if is_model(str(self.models)) and len(models) > 1:
            raise ValueError(
                f"--models {self.models} is one model, and the rows are of {', '.join(models)}; "
                "choose with --rows those that it is measured for"
            )


class Missing(Config):
    """What a row lacks.

    Attributes:
        data: what there is not, and where it is looked for.
        model: where the model is looked for.
        commands: that would train it.
        fault: why it cannot be measured, where nothing of that is missing.
    """

    data: str = ""
    model: str = ""
    commands: tuple[str, ...] = ()
    fault: str = ""

    def __bool__(self) -> bool:
        """Whether it lacks anything."""
        return bool(self.data or self.model or self.fault)


def missing(row: Row, places: Places) -> Missing:
    """What a row lacks."""
    model = places.model(row)
    absent = not is_model(str(model))
    return Missing(
        data=_missing_data(places.real(row)),
        model=str(model) if absent else "",
        commands=tuple(command(fit, places) for fit in fits(row, places)) if absent else (),
    )


def fits(row: Row, places: Places) -> Sequence[Fit]:
    """Trainings that a row's model still needs, in order."""
    if is_model(str(places.model(row))):
        return ()
    return [fit for fit in row.fits if not is_model(str(places.run(fit)))]


def run_of(fit: Fit, places: Places) -> AutoencoderRun | DiffusionRun:
    """A training, with data and models where they are."""
    return read_run(fit.preset, settings(fit, places))


def settings(fit: Fit, places: Places) -> list[str]:
    """What a training's preset is changed in."""
    run, changes = read_run(fit.preset, fit.changes), list(fit.changes)
    for field in ("data", "validation"):
        source = getattr(run, field, None)
        if isinstance(source, VideosOnDisk):
            path = places.data / source.path.name
            changes += [f"{field}.path={path}"] if path != source.path else []
    if isinstance(run, DiffusionRun):
        base = places.models / Path(run.model).name
        changes += [f"model={base}"] if base != Path(run.model) else []
    return changes


def command(fit: Fit, places: Places) -> str:
    """The line that trains."""
    words = ["longtake", "fit", fit.preset, *settings(fit, places)]
    folder = places.run(fit)
    return shlex.join(words if folder == RUNS / fit.preset else [*words, "-o", str(folder)])


def protocol_of(row: Row, n: int | None = None, *, untrained: bool = False) -> Protocol:
    """A row's protocol; with ``untrained``, of features that mean nothing and need no weights."""
    return protocol(row.protocol, [*row.changes, *(UNTRAINED if untrained else ())], n)


def lacks_weights(weights: Path | None) -> bool:
    """Whether I3D's weights are neither named nor in their usual place."""
    return weights is None and not cache_path().exists()


def _missing_data(name: str) -> str:
    kind, *rest = name.split(":")
    if kind in SYNTHETIC:
        return ""
    folder = Path(rest[-1])
    if not folder.is_dir():
        return f"{kind}, split {rest[0]}: looked for in {folder}, which is no folder"
    try:
        source = open_videos(name)
        assert source is not None
        return "" if len(source) else f"{kind}, split {rest[0]}: {folder} has no videos"
    except ValueError as error:
        return str(error)
