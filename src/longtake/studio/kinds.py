"""The kinds of jobs. Each says how it is checked and what carries it out in the worker."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from longtake.config import Config, nearest
from longtake.studio.places import FOOTAGE, UPLOADS
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

Description = Mapping[str, Any]
"""What a model is and can do, as ``describe`` of the worker says it."""
WORKER, TRAINING = "worker", "training"


class JobKind(Config, ABC):
    """Something that a worker does.

    Attributes:
        lane: jobs of one lane are carried out one after another.
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

    def learn(self, catalogue: "Catalogue", seconds_per_frame: float) -> None:
        """Take note of how fast a job was; jobs that are not as fast as possible say nothing."""

    @abstractmethod
    def run(self, work: "Work") -> dict[str, Any]:
        """Carry out the job in a worker process; returns its result as JSON data.

        Raises:
            Cancelled: the job was stopped.
        """

    def keep(self, work: "Work") -> int:
        """Make a file of what a killed worker left of the job; returns the number of frames."""
        del work
        return 0

    @property
    def title(self) -> str:
        """What it is called where its result is chosen."""
        return ""

    @property
    def frames(self) -> int | None:
        """Number of frames of its video; None: without end, or unknown."""
        return None


class LiveJob(JobKind):
    """A video that is shown while it is made, at the pace of its frame rate, and can be steered.

    Attributes:
        settings: the video.
        changes: log of changes of a video that is repeated.
    """

    steerable: ClassVar[bool] = True

    kind: Literal["live"] = "live"
    settings: VideoSettings
    changes: tuple[LoggedChange, ...] = ()

    @property
    def frames(self) -> int | None:
        return self.settings.frames

    @property
    def paced(self) -> bool:
        """Whether frames are made no faster than they are shown."""
        return True

    def check(self, models: Mapping[str, Description], limits: Limits, folder: Path) -> None:
        check_video(self.settings, models, limits, folder)
        for name in ("end_image", "loop", "sheet"):
            if getattr(self.settings, name):
                raise ValueError(f"{name} belongs to a finished video; make one of kind make")

    def run(self, work: "Work") -> dict[str, Any]:
        from longtake.studio.live import run_live

        return run_live(self.settings, work, self.changes, paced=self.paced)

    def keep(self, work: "Work") -> int:
        from longtake.studio.live import keep_live

        return keep_live(work)


class VideoJob(LiveJob):
    """A video of a given length that is made as fast as possible, and can be read meanwhile."""

    kind: Literal["video"] = "video"  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def paced(self) -> bool:
        return False

    def learn(self, catalogue: "Catalogue", seconds_per_frame: float) -> None:
        catalogue.learn(self.settings, seconds_per_frame)


class MakeJob(JobKind):
    """A finished video, by the code of the command that repeats it."""

    kind: Literal["make"] = "make"
    settings: VideoSettings

    @property
    def frames(self) -> int | None:
        filled = self.settings.end_image is not None
        return None if filled else self.settings.frames or DEFAULT_FRAMES

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
    """An upload, encoded and decoded; its latents, and the latents with noise, as pictures."""

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
    """The videos of two jobs, frame by frame."""

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
    """A training on footage of the studio's folder."""

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


def described(name: str, models: Mapping[str, Description]) -> Description:
    """The description of a model; a ValueError if there is none of that name."""
    if name not in models:
        raise ValueError(f"there is no model {name!r}; {nearest(name, list(models))}")
    return models[name]


def steps_of(settings: VideoSettings, model: Description) -> int:
    """Number of sampling steps of a clip."""
    return settings.steps or model["steps"]


def size_of(settings: VideoSettings, model: Description) -> tuple[int, int]:
    """Height and width of a video's frames; a ValueError if the model has no such decoder."""
    if settings.decoder not in model["sizes"]:
        raise ValueError(
            f"{settings.model} has no decoder {settings.decoder!r}; "
            f"{nearest(settings.decoder, list(model['sizes']))}"
        )
    height, width = model["sizes"][settings.decoder]
    return height, width


def check_uploads(folder: Path, *names: str | None) -> None:
    """Raise a ValueError if an upload that is named does not exist."""
    for name in names:
        if name is not None and not (folder / UPLOADS / name).is_dir():
            raise ValueError(f"there is no upload {name}; upload the file again")


def check_video(
    settings: VideoSettings, models: Mapping[str, Description], limits: Limits, folder: Path
) -> None:
    """Raise a ValueError if a model cannot make a video, or it goes beyond the limits."""
    model = described(settings.model, models)
    if "make" not in model["can"]:
        raise ValueError(f"{settings.model} is an autoencoder alone: it makes no videos")
    frames, (height, width) = settings.frames or DEFAULT_FRAMES, size_of(settings, model)
    if settings.students and not model["students"]:
        raise ValueError(f"{settings.model} has no students; leave them out")
    if frames > limits.frames:
        raise ValueError(
            f"{frames} frames are more than the limit of {limits.frames}; ask for fewer"
        )
    asked = frames * height * width * steps_of(settings, model)
    if asked > limits.pixel_steps:
        most = int(limits.pixel_steps * frames / asked)
        raise ValueError(
            f"{frames} frames of {height} x {width} pixels in {steps_of(settings, model)} steps "
            f"are {asked:.2g} pixel steps, over the limit of {limits.pixel_steps:.2g}; ask for "
            f"at most {most} frames, or for fewer steps"
        )
    needs = {
        "start_image": settings.start_image,
        "end_image": settings.end_image,
        "continue": settings.continue_video,
        "loop": settings.loop or None,
    }
    for name, value in needs.items():
        if value is not None and name not in model["can"]:
            able = [n for n, other in models.items() if name in other["can"]]
            raise ValueError(f"{settings.model} cannot use {name}; {nearest(name, able)}")
    check_words(settings, model)
    check_uploads(folder, settings.start_image, settings.end_image, settings.continue_video)


def check_words(settings: VideoSettings, model: Description) -> None:
    """Raise a ValueError if a prompt is missing, or given to a model that reads none."""
    if settings.prompt is not None and not model["prompt"]:
        raise ValueError(f"{settings.model} reads no prompt; give a label, or nothing")
    if settings.prompt is None and model["prompt"]:
        raise ValueError(f"{settings.model} makes videos of a text; give a prompt")
    if settings.negative is not None and settings.prompt is None:
        raise ValueError("negative belongs to a prompt; give one")
    if settings.start_image is not None and settings.continue_video is not None:
        raise ValueError("start_image and continue_video cannot be combined; choose one")
    if settings.end_image is not None and settings.start_image is None:
        raise ValueError("end_image needs a start_image too")
