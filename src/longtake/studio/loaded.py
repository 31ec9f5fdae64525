"""Models in a worker process: opened, described, and the last one kept loaded."""

from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from longtake.backends import Backend, OpenVINO
from longtake.config import nearest
from longtake.diffusion.signals import CONTEXT
from longtake.generate import LongVideo
from longtake.given import ending_with
from longtake.hub import INDEX, find_model
from longtake.model import Sampling, VideoModel, sampling_with
from longtake.model.index import read_model_files
from longtake.registry import AnyRollout
from longtake.rollout import Request, Rollout
from longtake.studio.costs import measured
from longtake.studio.memory import forget_peak, resident_mb, weights_mb
from longtake.studio.settings import VideoSettings
from longtake.text import Prompt, WordCodes

BACKENDS = ("torch", "openvino")


class Opened(NamedTuple):
    """An open model with all that makes a video with given settings.

    Attributes:
        model: the model.
        sampling: its sampling settings, with those of the video.
        video: makes its videos.
        backend: what runs the networks; None is torch.
    """

    model: VideoModel
    sampling: Sampling
    video: LongVideo
    backend: Backend | None


class Loaded:
    """Opens models by name; keeps the last one and its compiled programs loaded.

    Attributes:
        places: folder or hub id of each model, by its name.
    """

    def __init__(self) -> None:
        self.places: Mapping[str, str] = {}
        self._version: tuple[str, int, bool] | None = None
        self._model: VideoModel | None = None
        self._backends: dict[str, Backend] = {}

    def model(self, name: str, students: bool = False) -> VideoModel:
        """Load a model by name, to be sampled with its teachers or with its few-step students.

        Raises:
            CheckpointError: it is missing or broken.
            ValueError: there is no model of this name.
        """
        self._check(name)
        place = self.places[name]
        index = Path(place) / INDEX
        version = place, index.stat().st_mtime_ns if index.exists() else 0, students
        if self._model is None or self._version != version:
            self._drop()  # two models may not fit into memory
            self._model = VideoModel.from_pretrained(place, students=students)
            self._version = version
        return self._model

    def open(self, settings: VideoSettings) -> Opened:
        """Open a model for a video with these settings.

        Raises:
            ValueError: the settings do not fit the model (also ConfigError, BackendError).
        """
        model = self.model(settings.model, settings.students)
        sampling = sampling_with(model.index.sampling, settings.overrides)
        backend = self._backend(settings.backend)
        video = model.long_video(sampling, backend, settings.decoder)
        return Opened(model, sampling, video, backend)

    def _backend(self, name: str) -> Backend | None:
        """What runs the networks, with the programs that it has compiled; None is torch."""
        if name == BACKENDS[0]:
            return None
        if name not in self._backends:
            self._backends[name] = OpenVINO()
        return self._backends[name]

    def _drop(self) -> None:
        """Let go of the loaded model; the peak of memory starts again."""
        self._model, self._version, self._backends = None, None, {}
        forget_peak()

    def describe(self, name: str) -> dict[str, Any]:
        """Describe the model ``name`` as JSON data; measures a rollout step.

        Keys: ``name``, ``title``; ``kind``, ``lvdm`` or ``pvdm``; ``size``, and ``sizes`` by
        decoder, (height, width) of frames; ``students``, whether it has them; ``fps``;
        ``clip_frames``; ``grain``, frames of a rollout step; ``classes``; ``labels``, values of
        each named label; ``reads_class``, ``prompt``, ``needs_prompt``, whether it reads or needs
        them; ``words`` and ``most_words`` of a prompt, None: any; ``guidance_scale``; ``steps`` of
        the sampler; ``rollout``, ``rollouts``; ``can``, jobs and given frames; ``backends``;
        ``seconds_per_frame_step``, None if unknown; ``memory`` in MiB, None if unknown: ``worker``,
        that of a worker without a model; ``teachers`` and ``students``, weights where these sample;
        ``sampling`` and, by decoder, ``decoding``, what a rollout step takes besides.

        Raises:
            ValueError: there is no model of this name, or it cannot be opened.
        """
        self._drop()
        empty = resident_mb()
        has_students, students_mb = self._students(name)
        model = self.model(name)
        index, spec = model.index, model.autoencoder.spec
        named = model.labels.named
        found: dict[str, Any] = {
            "name": name,
            "title": name,
            "kind": "pvdm" if spec.frame_axis is None else "lvdm",
            "size": list(spec.clip[1:]),
            "sizes": {each: _size(model, each) for each in ("full", *model.decoders)},
            "students": has_students,
            "fps": index.fps,
            "clip_frames": spec.clip[0],
            "grain": spec.clip[0],
            "classes": list(index.classes),
            "labels": {k: list(v) for k, v in named.items()},
            "reads_class": model.labels.names.reads_class,
            "prompt": False,
            "needs_prompt": False,
            "words": None,
            "most_words": None,
            "guidance_scale": 1.0,
            "steps": 1,
            "can": ["reconstruct"],
            "backends": [BACKENDS[0], *(["openvino"] if find_spec("openvino") else [])],
            "seconds_per_frame_step": None,
            "memory": None,
        }
        if "first" not in model.denoisers:
            return found
        return found | _of_sampling(model) | measured(model, empty, students_mb)

    def _students(self, name: str) -> tuple[bool, float]:
        """Whether the model ``name`` has students, and the weights, in MiB, where they sample."""
        self._check(name)
        if not read_model_files(find_model(self.places[name]))[0].students:
            return False, 0.0
        found = weights_mb(self.model(name, students=True).components.values())
        self._drop()
        return True, found

    def _check(self, name: str) -> None:
        """Raise a ValueError if there is no model of this name."""
        if name not in self.places:
            raise ValueError(f"there is no model {name!r}; {nearest(name, list(self.places))}")


def prompt_of(settings: Any) -> Prompt | None:
    """The prompt of settings with ``prompt`` and ``negative``; None without one."""
    if settings.prompt is None:
        return None
    return Prompt(settings.prompt, settings.negative or "")


def request_of(model: VideoModel, settings: VideoSettings) -> Request:
    """The ``Request`` by which a model makes the one video of these settings."""
    return model.request([settings.seed], settings.label, prompt_of(settings))


def _of_sampling(model: VideoModel) -> dict[str, Any]:
    """Those entries of a description that depend on a model's denoisers."""
    index, video = model.index, model.long_video()
    reads = model.denoisers["first"].reads
    sampling = index.sampling
    encoder = index.text_encoder if "text" in reads else None
    words = encoder if isinstance(encoder, WordCodes) else None
    return {
        "grain": video.grain,
        "prompt": "text" in reads,
        "needs_prompt": "text" in model.denoisers["first"].needs,
        "words": sorted(words.words) or None if words else None,
        "most_words": words.tokens if words else None,
        "guidance_scale": getattr(sampling.guidance, "scale", 1.0),
        "steps": len(sampling.sampler.times(video.samplers["first"].diffusion.schedule)) - 1,
        "rollout": kind_of(sampling.rollout),
        "rollouts": _rollouts(model),
        "can": ["reconstruct", *_can(video)],
    }


def _size(model: VideoModel, decoder: str) -> list[int]:
    """Height and width of the frames of a decoder."""
    return list(model.autoencoder_with(decoder).spec.clip[1:])


def kind_of(rollout: Rollout) -> str:
    """The field ``kind`` of a rollout in configs, such as ``autoregressive``."""
    return type(rollout).model_fields["kind"].default


def _rollouts(model: VideoModel) -> list[str]:
    """Rollouts that a model's networks were trained for."""
    found = []
    for each in get_args(get_args(AnyRollout)[0]):
        with suppress(ValueError):
            sampling_with(model.index.sampling, [f"rollout.kind={kind_of(each())}"])
            each().check(model.long_video().samplers)
            found.append(kind_of(each()))
    return found


def _can(video: LongVideo) -> list[str]:
    """``make``, ``live``, and fields of ``VideoSettings`` that a model can use, as ``loop``.

    ``end_image`` is for one with a start image, ``end_image_alone`` for one without.
    """
    reads = video.samplers["next"].reads
    found = ["make", "live"]
    if CONTEXT[0] in reads or "previous" in reads:
        found += ["start_image", "continue_video"]
    with suppress(ValueError):
        ending_with(video, np.zeros((1, *video.autoencoder.spec.clip[1:], 3), np.uint8))
        found.append("end_image_alone")
    return found + (["end_image", "loop"] if "interpolator" in video.samplers else [])
