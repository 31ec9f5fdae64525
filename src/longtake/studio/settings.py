"""Settings of jobs, and limits. Neither torch nor diffusers is imported."""

import re
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Le
from pydantic import StringConstraints

from longtake.config import Config

DEFAULT_FRAMES = 64
NOISE_TIMES = tuple(step / 10 for step in range(11))

UPLOAD_ID = re.compile(r"[a-z0-9]{12}")
Id = Annotated[str, StringConstraints(pattern=rf"^{UPLOAD_ID.pattern}$")]
"""Random name of a job or an upload."""
Text = Annotated[str, StringConstraints(max_length=1000)]
FolderName = Annotated[str, StringConstraints(pattern=r"^\w[\w. -]{0,99}$")]
Scale = Annotated[float, Interval(ge=-100, le=100)]


class Limits(Config):
    """Limits of a studio.

    Attributes:
        jobs: greatest number of jobs that wait.
        frames: most frames that a video may be asked to have; an endless one may have more.
        pixel_steps: greatest product of frames, pixels of a frame and sampler steps of a video; an
            endless one counts as 64 frames.
        disk_bytes: size of the studio's folder beyond which no job starts or goes further.
        upload_bytes: largest uploaded file.
        upload_frames: most frames of an uploaded video.
        upload_pixels: most pixels of a frame of an upload.
        idle_seconds: time without a viewer after which an endless video is stopped.
        viewers: greatest number of viewers of all jobs together.
    """

    jobs: Annotated[int, Ge(1)] = 20
    frames: Annotated[int, Ge(1)] = 1_000_000
    pixel_steps: Annotated[float, Gt(0)] = 1e12
    disk_bytes: Annotated[int, Ge(1)] = 50 << 30
    upload_bytes: Annotated[int, Ge(1)] = 256 << 20
    upload_frames: Annotated[int, Ge(1)] = 3000
    upload_pixels: Annotated[int, Ge(1)] = 4096 * 2304
    idle_seconds: Annotated[float, Gt(0)] = 900.0
    viewers: Annotated[int, Ge(1)] = 64


class VideoSettings(Config):
    """Settings of a video to make.

    Attributes:
        model: name of the model.
        frames: number of frames; None: 64, or without end for a live video.
        seed: seed of the video.
        label: class, or named labels such as ``time=dusk, wind=left``; None: the seed draws them.
        prompt: text, for a model that reads one.
        negative: text that guidance contrasts the prompt with.
        guidance_scale: scale of classifier-free guidance; None: the model's own guidance.
        steps: number of sampler steps; None: the model's own.
        rollout: kind of the rollout; None: the model's own.
        backend: what runs the networks: ``torch``, or a backend such as ``openvino``.
        decoder: ``full``, or the name of another decoder of the model, such as ``large``.
        students: sample with the model's students of few evaluations.
        start_image: id of the upload that is the first frame.
        end_image: id of the upload that is the last frame; most models need a start image too.
        continue_video: id of the upload that the video continues.
        loop: lead the end back to the beginning.
        sheet: also make a contact sheet.
    """

    model: Text
    frames: Annotated[int, Ge(1)] | None = None
    seed: Annotated[int, Ge(0), Le(2**63 - 1)] = 0
    label: Text | None = None
    prompt: Text | None = None
    negative: Text | None = None
    guidance_scale: Scale | None = None
    steps: Annotated[int, Ge(1), Le(1000)] | None = None
    rollout: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")] | None = None
    backend: Literal["torch", "openvino"] = "torch"
    decoder: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,40}$")] = "full"
    students: bool = False
    start_image: Id | None = None
    end_image: Id | None = None
    continue_video: Id | None = None
    loop: bool = False
    sheet: bool = False

    @property
    def overrides(self) -> list[str]:
        """Changes of the model's sampling settings, as ``a.b=value``."""
        found = [] if self.steps is None else [f"sampler.steps={self.steps}"]
        if self.guidance_scale is not None:
            found += ["guidance.kind=classifier_free", f"guidance.scale={self.guidance_scale:g}"]
        return [*found, *([] if self.rollout is None else [f"rollout.kind={self.rollout}"])]


class ReconstructSettings(Config):
    """Settings of a reconstruction: an upload, encoded and decoded by a model.

    Attributes:
        model: name of the model.
        upload: id of the uploaded video or image.
        times: noise times in [0, 1] at which a noisy latent and the clean estimate are shown.
    """

    model: Text
    upload: Id
    times: tuple[Annotated[float, Interval(ge=0, le=1)], ...] = NOISE_TIMES


class CompareSettings(Config):
    """Ids of two jobs, ``a`` and ``b``, whose videos are compared."""

    a: Id
    b: Id


class TrainSettings(Config):
    """Settings of a training.

    Attributes:
        folder_name: folder of videos, below ``footage`` in the studio's folder.
        upload: id of an uploaded video to train on instead.
        system: ``lvdm`` or ``pvdm``.
        size: height and width of frames in pixels; None: the system's own.
        budget_minutes: time for everything.
        init_from: name of the model whose autoencoder gives the initial weights; None: the
            system's own.
    """

    folder_name: FolderName | None = None
    upload: Id | None = None
    system: Literal["lvdm", "pvdm"] = "lvdm"
    size: Annotated[int, Ge(8), Le(1024)] | None = None
    budget_minutes: Annotated[float, Gt(0), Le(60 * 24 * 30)] = 120.0
    init_from: Text | None = None


class Change(Config):
    """A change of a live video while it is made; None leaves a setting as it is.

    Attributes:
        label: class, or named labels such as ``time=dusk, wind=left``.
        prompt: text; it ends a label that the seed drew, but not one that was given.
        negative: text that guidance contrasts a new ``prompt`` with, without which it is refused;
            None beside a prompt: the empty text.
        guidance_scale: scale of classifier-free guidance.
        start_image: id of the upload that is the next frame; the video continues from it, as a new
            one would begin with it.
    """

    label: Text | None = None
    prompt: Text | None = None
    negative: Text | None = None
    guidance_scale: Scale | None = None
    start_image: Id | None = None


class LoggedChange(Change):
    """A change of a live video as the log of changes stores it.

    Attributes:
        step: number of the rollout's step from which it holds, counted from the last start image.
        from_frame: first frame that it can have an effect on.
    """

    step: Annotated[int, Ge(0)]
    from_frame: Annotated[int, Ge(0)]
