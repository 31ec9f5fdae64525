"""The kinds of jobs, each with its checks and the function that the worker calls for it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from longtake.config import Config
from longtake.studio.checks import (
    Description,
    check_change,
    check_uploads,
    check_video,
    described,
)
from longtake.studio.errors import StateError
from longtake.studio.places import FOOTAGE
from longtake.studio.settings import (
    DEFAULT_FRAMES,
    CompareSettings,
    Limits,
    LoggedChange,
    ReconstructSettings,
    TrainSettings,
    VideoSettings,
)

if TYPE_CHECKING:
    from longtake.studio.catalogue import Catalogue
    from longtake.studio.work import Work

WORKER, TRAINING = "worker", "training"


class JobKind(Config, ABC):
    """A kind of job that a worker process carries out, with the settings of one job.

    Attributes:
        lane: name of the worker process; jobs of one lane are carried out one after another.
        steerable: whether its settings can be changed while it runs.
    """

    lane: ClassVar[str] = WORKER
    steerable: ClassVar[bool] = False

    @abstractmethod
    def check(self, models: Mapping[str, Description], limits: Limits, folder: Path) -> None:
        """Raise a ValueError if the job cannot be done, or goes beyond the limits.

        Args:
            models: descriptions of the models by name.
            limits: limits of the studio.
            folder: folder of the studio, with uploads and footage.
        """

    def check_longer(self) -> None:
        """Raise a StateError if the job, which is done, cannot get a longer video."""
        raise StateError("this job is done, and makes no video that could get longer")

    def learn(self, catalogue: "Catalogue", seconds_per_frame: float) -> None:
        """Store the speed of a finished job for estimates, if it ran as fast as possible.

        ``seconds_per_frame`` is the time that a frame of its video took, decoding included.
        """

    @abstractmethod
    def run(self, work: "Work") -> dict[str, Any]:
        """Carry out the job in a worker process; returns its result as JSON data.

        Raises:
            StoppedError: the job was stopped.
        """

    def keep(self, work: "Work") -> int:
        """Join the parts that a killed worker left to one file; return its number of frames.

        It is 0 if there are no parts, and then there is no file.
        """
        del work
        return 0

    @property
    def title(self) -> str:
        """Name of the job in lists of results."""
        return ""

    @property
    def frames(self) -> int | None:
        """Number of frames of the job's video; None: without end, or unknown."""
        return None


class LiveJob(JobKind):
    """A job that shows a video while it is made, at its frame rate; the video can be steered.

    Attributes:
        settings: the video.
        changes: changes to make again, if a video is repeated; else empty.
    """

    steerable: ClassVar[bool] = True

    kind: Literal["live"] = "live"
    settings: VideoSettings
    changes: tuple[LoggedChange, ...] = ()

    @property
    def frames(self) -> int | None:
        return self.settings.frames

    def check_longer(self) -> None:
        pass

    @property
    def paced(self) -> bool:
        """Whether the worker waits so that frames are made no faster than they are played."""
        return True

    def check(self, models: Mapping[str, Description], limits: Limits, folder: Path) -> None:
        check_video(self.settings, models, limits, folder)
        for change in self.changes:
            check_change(change, models[self.settings.model])
            check_uploads(folder, change.start_image)
        for name in ("end_image", "loop", "sheet"):
            if getattr(self.settings, name):
                raise ValueError(
                    f"{name} is for videos of a given length, not for live ones; leave it out, "
                    "or set kind=make"
                )

    def run(self, work: "Work") -> dict[str, Any]:
        from longtake.studio.live import run_live

        return run_live(self.settings, work, self.changes, paced=self.paced)

    def keep(self, work: "Work") -> int:
        from longtake.studio.live import keep_live

        return keep_live(work)


class VideoJob(LiveJob):
    """A ``LiveJob`` that makes a video as fast as possible; viewers may read it meanwhile."""

    kind: Literal["video"] = "video"  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def paced(self) -> bool:
        return False

    def learn(self, catalogue: "Catalogue", seconds_per_frame: float) -> None:
        catalogue.learn(self.settings, seconds_per_frame)


class MakeJob(JobKind):
    """A job that makes a video of a given length, by the same code as the command line."""

    kind: Literal["make"] = "make"
    settings: VideoSettings

    @property
    def frames(self) -> int | None:
        filled = self.settings.end_image is not None
        return None if filled else self.settings.frames or DEFAULT_FRAMES

    def check_longer(self) -> None:
        if self.settings.loop or self.settings.end_image is not None:
            raise StateError(
                "this video leads to its beginning, or to an image; make a longer one as a new job"
            )

    def check(self, models: Mapping[str, Description], limits: Limits, folder: Path) -> None:
        check_video(self.settings, models, limits, folder)

    def learn(self, catalogue: "Catalogue", seconds_per_frame: float) -> None:
        catalogue.learn(self.settings, seconds_per_frame)

    def run(self, work: "Work") -> dict[str, Any]:
        from longtake.studio.make import run_make

        return run_make(self.settings, work)

    def keep(self, work: "Work") -> int:
        from longtake.studio.make import keep_made

        return keep_made(work)


class ReconstructJob(JobKind):
    """A job that encodes and decodes an upload, and shows its latents, clean and noisy."""

    kind: Literal["reconstruct"] = "reconstruct"
    settings: ReconstructSettings

    def check(self, models: Mapping[str, Description], limits: Limits, folder: Path) -> None:
        del limits
        described(self.settings.model, models)
        check_uploads(folder, self.settings.upload)

    def run(self, work: "Work") -> dict[str, Any]:
        from longtake.studio.inside import run_reconstruct

        return run_reconstruct(self.settings, work)


class CompareJob(JobKind):
    """A job that compares the videos of two jobs, frame by frame."""

    kind: Literal["compare"] = "compare"
    settings: CompareSettings

    def check(self, models: Mapping[str, Description], limits: Limits, folder: Path) -> None:
        del models, limits, folder
        if self.settings.a == self.settings.b:
            raise ValueError("a and b are one job; choose two")

    def run(self, work: "Work") -> dict[str, Any]:
        from longtake.studio.comparing import run_compare

        return run_compare(self.settings, work)


class TrainJob(JobKind):
    """A job that trains a model on footage in the studio's folder, or on an upload."""

    lane: ClassVar[str] = TRAINING

    kind: Literal["train"] = "train"
    settings: TrainSettings

    @property
    def title(self) -> str:
        return f"{self.settings.folder_name or 'upload'}, {self.settings.system}"

    def check(self, models: Mapping[str, Description], limits: Limits, folder: Path) -> None:
        del limits
        if (self.settings.folder_name is None) == (self.settings.upload is None):
            raise ValueError("a training needs footage: give folder_name or upload")
        check_uploads(folder, self.settings.upload)
        name = self.settings.folder_name
        if name is not None and not (folder / FOOTAGE / name).is_dir():
            raise ValueError(f"there is no folder {name!r} in {folder / FOOTAGE}; put it there")
        if self.settings.init_from is not None:
            described(self.settings.init_from, models)

    def run(self, work: "Work") -> dict[str, Any]:
        from longtake.studio.training import run_training

        return run_training(self.settings, work)


AnyJob = Annotated[
    LiveJob | VideoJob | MakeJob | ReconstructJob | CompareJob | TrainJob,
    Field(discriminator="kind"),
]
