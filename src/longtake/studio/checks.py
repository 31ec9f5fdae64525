"""Checks of a job's settings against the descriptions of models, before it waits in the queue."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longtake.config import nearest, plural
from longtake.studio.places import UPLOADS
from longtake.studio.settings import DEFAULT_FRAMES, Change, Limits, VideoSettings
from longtake.vocabulary import LabelNames, check_words

Description = Mapping[str, Any]
"""What a model is and can do, as ``Loaded.describe`` of the worker returns it."""
ONE_CLIP = "one_clip"


def described(name: str, models: Mapping[str, Description]) -> Description:
    """The description of the model ``name``; a ValueError if there is no such model."""
    if name not in models:
        raise ValueError(f"there is no model {name!r}; {nearest(name, list(models))}")
    return models[name]


def steps_of(settings: VideoSettings, model: Description) -> int:
    """Number of sampler steps of a clip: that of the settings, or else the model's own."""
    return settings.steps or model["steps"]


def size_of(settings: VideoSettings, model: Description) -> tuple[int, int]:
    """Height and width of the frames that the decoder of the settings makes.

    Raises a ValueError if the model has no such decoder.
    """
    if settings.decoder not in model["sizes"]:
        raise ValueError(
            f"{settings.model} has no decoder {settings.decoder!r}; "
            f"{nearest(settings.decoder, list(model['sizes']))}"
        )
    height, width = model["sizes"][settings.decoder]
    return height, width


def check_uploads(folder: Path, *names: str | None) -> None:
    """Raise a ValueError if one of the uploads ``names``, ids or None, does not exist.

    ``folder`` is the studio's.
    """
    for name in names:
        if name is not None and not (folder / UPLOADS / name).is_dir():
            raise ValueError(f"there is no upload {name}; upload the file again")


def check_video(
    settings: VideoSettings, models: Mapping[str, Description], limits: Limits, folder: Path
) -> None:
    """Raise a ValueError if the model cannot make this video, or it goes beyond the limits.

    ``models`` are the descriptions by name, ``folder`` is the studio's.
    """
    model = described(settings.model, models)
    if "make" not in model["can"]:
        raise ValueError(
            f"{settings.model} is an autoencoder alone; choose a model that makes videos"
        )
    frames, (height, width) = settings.frames or DEFAULT_FRAMES, size_of(settings, model)
    if settings.students and not model["students"]:
        raise ValueError(f"{settings.model} has no students; leave them out")
    check_choices(settings, model, frames)
    if frames > limits.frames:
        raise ValueError(
            f"{frames} frames are more than the limit of {limits.frames}; ask for fewer"
        )
    steps = steps_of(settings, model)
    asked = frames * height * width * steps
    if asked > limits.pixel_steps:
        most = int(limits.pixel_steps * frames / asked)
        raise ValueError(
            f"{frames} frames of {height} x {width} pixels in {plural(steps, 'step')} are "
            f"{asked:.2g} (their product), over the limit of {limits.pixel_steps:.2g}; ask for "
            f"at most {most} frames, or for fewer steps"
        )
    needs = {
        "start_image": settings.start_image,
        "end_image": None if _ends_alone(settings, model) else settings.end_image,
        "continue_video": settings.continue_video,
        "loop": settings.loop or None,
    }
    for name, value in needs.items():
        if value is not None and name not in model["can"]:
            able = [n for n, other in models.items() if name in other["can"]]
            others = f"models that can: {', '.join(able)}" if able else "no model here can"
            raise ValueError(f"{settings.model} cannot use {name}; {others}")
    check_conditions(settings, model)
    check_uploads(folder, settings.start_image, settings.end_image, settings.continue_video)


def check_choices(settings: VideoSettings, model: Description, frames: int) -> None:
    """Raise a ValueError if the rollout or backend of the settings cannot be used.

    They must be able to make a video of ``frames`` frames with this model.
    """
    if settings.rollout is not None and settings.rollout not in model["rollouts"]:
        raise ValueError(
            f"{settings.model} has no network for the rollout {settings.rollout!r}; "
            f"{nearest(settings.rollout, list(model['rollouts']))}"
        )
    most = longest(settings.rollout, model)
    if most is not None and frames > most:
        raise ValueError(
            f"{settings.model} makes single clips of {most} frames, not {frames} frames; ask for "
            f"at most {most}"
        )
    if settings.backend not in model["backends"]:
        raise ValueError(f"{settings.backend} is not installed here; choose backend=torch")


def longest(rollout: str | None, model: Description) -> int | None:
    """Number of frames of the longest video that a rollout makes; None: any length.

    ``rollout`` is the kind of the rollout; None: the model's own.
    """
    return model["clip_frames"] if (rollout or model["rollout"]) == ONE_CLIP else None


def check_change(change: Change, model: Description) -> None:
    """Raise a ValueError if the model does not read what is new: label, words, start image."""
    names = LabelNames(
        classes=model["classes"], named=model["labels"], reads_class=model["reads_class"]
    )
    if change.label is not None:
        names.check(change.label)
    if change.start_image is not None and "start_image" not in model["can"]:
        raise ValueError(f"{model['name']} cannot use start_image: it begins videos from noise")
    if change.negative is not None and change.prompt is None:
        raise ValueError("negative belongs to a prompt; give a prompt too")
    for text in (change.prompt, change.negative):
        if text is not None and not model["prompt"]:
            raise ValueError(f"{model['name']} reads no prompt; give a label, or nothing")
        if text is not None and model["most_words"] is not None:
            check_words(text, model["words"] or (), model["most_words"])


def check_conditions(settings: VideoSettings, model: Description) -> None:
    """Raise a ValueError if labels, prompts or given frames are missing, unknown or at odds."""
    words = Change(label=settings.label, prompt=settings.prompt, negative=settings.negative)
    check_change(words, model)
    if settings.prompt is None and model["needs_prompt"]:
        raise ValueError(f"{settings.model} makes videos of a text; give a prompt")
    if settings.start_image is not None and settings.continue_video is not None:
        raise ValueError("start_image and continue_video cannot be combined; choose one")
    if settings.end_image is not None and settings.continue_video is not None:
        raise ValueError("end_image and continue_video cannot be combined; choose one")
    started = settings.start_image is not None or _ends_alone(settings, model)
    if settings.end_image is not None and not started:
        raise ValueError("end_image needs a start_image too")
    if settings.end_image is not None and settings.loop:
        raise ValueError("end_image and loop cannot be combined; choose one")


def _ends_alone(settings: VideoSettings, model: Description) -> bool:
    """Whether the video ends with an image without a start image, as the model can make it."""
    given = settings.end_image is not None and settings.start_image is None
    return given and "end_image_alone" in model["can"]
