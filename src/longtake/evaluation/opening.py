"""Sources of an evaluation from the names that a user gives."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from longtake.backends import Backend
from longtake.config import nearest, parse, read
from longtake.data.arrays import ARRAY_SUFFIXES, ArrayVideos
from longtake.data.captions import AnyCaptions
from longtake.data.clips import ClipPlan
from longtake.data.folders import SkyTimelapse, Taichi, VideoFolder, VideosOnDisk
from longtake.data.index import VIDEO_SUFFIXES
from longtake.data.source import VideoSource
from longtake.data.synthetic import DoomWorld, MarblesWorld, SkyWorld, SyntheticSource
from longtake.data.ucf101 import UCF101
from longtake.distributed import Ranks
from longtake.evaluation.protocols import Protocol, Side
from longtake.hub import INDEX, shipped_models
from longtake.model import VideoModel, sampling_with
from longtake.model_videos import ModelVideos, open_kept
from longtake.video.archive import SUFFIX as TAR

LOGGER = logging.getLogger("longtake")
SYNTHETIC = {"sky": SkyWorld, "marbles": MarblesWorld, "doom": DoomWorld}
LAYOUTS = {"ucf101": UCF101, "sky_timelapse": SkyTimelapse, "taichi": Taichi}
SYNTHETIC_VIDEOS = 1 << 16
"""Number of videos of a synthetic data set that clips are drawn from."""

ANY_LENGTH = ClipPlan(frames=1)
"""Clip plan with which folders are opened; the protocol decides whether a video is long enough."""

FORMS = (
    "a video, a folder or tar file of videos or of folders of frames, an array file "
    f"({', '.join(ARRAY_SUFFIXES)}), a data set as ucf101:train:FOLDER, a synthetic data set as "
    "sky:test:64, or a model"
)


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How the videos of a model are sampled for an evaluation.

    Attributes:
        changes: ``a.b=value`` overrides of the model's sampling settings.
        label: class of all videos, by name or number; None: each seed draws a class.
        prompts: prompts of a model that reads text; the video of seed i has prompt i, from the
            first again when there are no more.
        text_encoder: folder of the text encoder's files; None: they are found by the encoder's
            name.
        batch: number of videos that are sampled together.
        seed: seed of the videos; two seeds have no random number in common.
        keep: folder in which the sampled videos are stored; None: they are not stored.
        dtype: dtype of the networks' weights.
        backend: what runs the networks; None: torch.
        students: sample with the model's students, networks distilled to take few steps.
    """

    changes: Sequence[str] = ()
    label: str | None = None
    prompts: tuple[str, ...] = ()
    text_encoder: Path | None = None
    batch: int = 8
    seed: int = 0
    keep: Path | None = None
    dtype: torch.dtype = torch.float32
    backend: Backend | None = None
    students: bool = False


def open_videos(
    name: str, size: tuple[int, int] = (64, 64), captions: AnyCaptions | None = None
) -> VideoSource | None:
    """Open videos by a name; None if the name may be that of a model.

    Args:
        name: a path, a synthetic data set as ``NAME[:SPLIT][:SIZE]``, such as ``sky:test:64``, or a
            data set as ``LAYOUT[:SPLIT]:FOLDER``, such as ``ucf101:train:FOLDER``. The name of a
            synthetic data set is that, even if a local folder has the same name; ``./NAME`` is the
            folder.
        size: height and width in pixels of a synthetic data set whose name has no size.
        captions: where captions of a folder of videos are read from; None: no captions.

    Raises:
        ValueError: the name of a data set is not valid, a file is not a video or array, or there is
            nothing of that name.
    """
    kind, *rest = name.split(":")
    path = Path(name)
    if kind in SYNTHETIC:
        if path.exists():
            LOGGER.warning(
                "%s: this is the synthetic data set, not the file or folder of that name here, "
                "which is ./%s",
                name,
                name,
            )
        return _synthetic(name, size)
    if kind in LAYOUTS and rest:
        return _layout(name)
    if path.suffix in ARRAY_SUFFIXES:
        return ArrayVideos(path)
    if path.is_file() and path.suffix.lower() not in {*VIDEO_SUFFIXES, TAR}:
        raise ValueError(f"{path}: is not a source of videos; expected {FORMS}")
    if path.is_file() or (path.is_dir() and not is_model(name)):
        return VideoFolder(path=path, plan=ANY_LENGTH, captions=captions)
    if path.exists() or is_model(name) or name.count("/") == 1:
        return None
    raise ValueError(
        f"{name}: no such file, folder, data set or model; expected {FORMS}; "
        f"{nearest(name, [*SYNTHETIC, *shipped_models()])}"
    )


def open_source(
    name: str,
    side: Side,
    protocol: Protocol,
    settings: SamplingSettings,
    ranks: Ranks,
    size: tuple[int, int] | None = None,
    captions: AnyCaptions | None = None,
) -> VideoSource:
    """Open videos or a model by name.

    Args:
        name: a name as ``open_videos`` takes, or that of a model.
        side: ``real`` or ``generated``.
        protocol: decides number and length of a model's videos.
        settings: how a model is sampled.
        ranks: processes that share the sampling.
        size: height and width in pixels of a synthetic data set if neither its name nor the
            protocol has one; None: 64 x 64.
        captions: where captions of a folder of videos are read from; None: no captions.

    Raises:
        ValueError: there is no such source, or ``settings`` do not fit the model.
    """
    square = protocol.resolution
    size = (size or (64, 64)) if square is None else (square, square)
    return open_videos(name, size, captions) or _model(name, side, protocol, settings, ranks)


def open_sources(
    names: Sequence[str],
    protocol: Protocol,
    settings: SamplingSettings,
    ranks: Ranks,
    *,
    captions: AnyCaptions | None = None,
    alone: bool = False,
) -> tuple[VideoSource | None, VideoSource]:
    """Open real and generated videos by their names.

    Of two names, the first is that of the real videos. A single name is that of a model that was
    trained on a synthetic data set, and the real videos are those of the data set; or with
    ``alone`` it is that of the generated videos, and None is returned for the real ones. A
    synthetic data set whose name has no size gets the frame size of the other source. ``captions``
    says where captions of a folder of generated videos are read from (None: no captions),
    ``settings`` how a model is sampled, ``protocol`` how many videos and frames; ``ranks`` are the
    processes that share the sampling.

    Raises:
        ValueError: a name is not a source, or a single name is not a model of a synthetic data
            set.
    """
    if not 1 <= len(names) <= 2:
        raise ValueError(
            "an evaluation has two sources, REAL and GENERATED, or one model of a synthetic data "
            f"set; got {len(names)} names"
        )

    def open_one(name: str, side: Side, beside: VideoSource | None = None) -> VideoSource:
        world = name.split(":")[0] in SYNTHETIC
        info = beside.info(0) if beside is not None and world else None
        size = info and (info.height, info.width)
        of_folder = captions if side == "generated" else None
        return open_source(name, side, protocol, settings, ranks, size, of_folder)

    fake = names[-1]
    if len(names) == 2 and fake.split(":")[0] in SYNTHETIC:
        real = open_one(names[0], "real")
        generated = open_one(fake, "generated", real)
        _check_takes_captions(captions, generated, settings)
        return real, generated
    generated = open_one(fake, "generated")
    _check_takes_captions(captions, generated, settings)
    if len(names) == 1 and alone:
        return None, generated
    name = names[0] if len(names) == 2 else _trained_on(fake, generated)
    return open_one(name, "real", generated), generated


def is_model(name: str) -> bool:
    """Whether a name is that of a local model: a model folder, a run folder, or a shipped model.

    A shipped model is one that is installed with longtake.
    """
    path = Path(name)
    return (path / INDEX).exists() or (path / "model" / INDEX).exists() or name in shipped_models()


def world_of(classes: Sequence[str]) -> str | None:
    """Name of the synthetic data set that has these classes; None if there is none."""
    worlds = SYNTHETIC.items() if classes else ()
    return next((name for name, world in worlds if world().classes == tuple(classes)), None)


def _synthetic(name: str, size: tuple[int, int]) -> SyntheticSource:
    """The synthetic videos that ``name``, as ``sky:test:64``, names; else of ``size``."""
    kind, *rest = name.split(":")
    split = "train"
    for part in rest:
        if part in ("train", "test"):
            split = part
            continue
        numbers = part.split("x")
        if len(numbers) > 2 or not all(n.isdecimal() and int(n) for n in numbers):
            raise ValueError(
                f"{name}: {part!r} is neither a split (train, test) nor a size (64, 48x64)"
            )
        size = int(numbers[0]), int(numbers[-1])
    plan = {"height": size[0], "width": size[1]}
    return parse(SYNTHETIC[kind], {"split": split, "plan": plan, "videos": SYNTHETIC_VIDEOS})


def _layout(name: str) -> VideosOnDisk:
    kind, *rest = name.split(":")
    split, *path = rest if rest[0] in ("train", "test", "all") else ["train", *rest]
    if not path:
        raise ValueError(f"{name}: names no folder; expected {kind}:{split}:FOLDER")
    return LAYOUTS[kind](split=split, path=Path(":".join(path)), plan=ANY_LENGTH)


def _model(
    name: str, side: Side, protocol: Protocol, settings: SamplingSettings, ranks: Ranks
) -> ModelVideos:
    """Open the model ``name`` as the source of ``protocol.n`` videos, kept in ``settings.keep``."""
    model = VideoModel.from_pretrained(
        name, device=ranks.device, dtype=settings.dtype, students=settings.students
    )
    source = ModelVideos(
        model_name=name,
        model=model,
        sampling=sampling_with(model.index.sampling, settings.changes),
        videos=protocol.n,
        frames=protocol.span(side),
        label_words=settings.label,
        prompts=settings.prompts,
        text_encoder=settings.text_encoder,
        levels=protocol.treatment.levels,
        first_seed=settings.seed * protocol.n,
        batch=settings.batch,
        backend=settings.backend,
    )
    source.check()
    if settings.keep is None or side == "real":
        return source
    if ranks.main:
        open_kept(source, settings.keep)
    ranks.barrier()
    return replace(source, keep=settings.keep)


def _check_takes_captions(
    captions: AnyCaptions | None, generated: VideoSource, settings: SamplingSettings
) -> None:
    prompted = isinstance(generated, ModelVideos) and settings.prompts
    if captions is not None and not prompted and not isinstance(generated, VideoFolder):
        raise ValueError(
            f"{generated.name}: captions can be given only for a folder of videos, and prompts "
            "only for such a folder or a model; for a model give prompts instead, else give neither"
        )


def _trained_on(name: str, source: VideoSource) -> str:
    """Name of the test videos of the synthetic data set that a model was trained on."""
    if not isinstance(source, ModelVideos):
        raise ValueError(
            f"{name} alone cannot be measured: name the real videos first, then {name}; either is "
            f"{FORMS}"
        )
    found, config = world_of(source.classes), Path(name) / "config.yaml"
    if found is None and config.exists():  # that of a run
        data = read(config).get("data")
        found = data.get("kind") if isinstance(data, dict) else None
    if found not in SYNTHETIC:
        raise ValueError(
            f"{name}: is not a model of a synthetic data set ({', '.join(SYNTHETIC)}); name the "
            "real videos first, then the model"
        )
    return f"{found}:test"
