"""Videos on disk: folders of any shape, single files, and the layouts of known data sets."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Gt, Interval

from longtake.config import Config, to_dict
from longtake.data.captions import AnyCaptions
from longtake.data.clips import Clip, ClipPlan, ClipSource, Crop, cut
from longtake.data.fingerprint import fingerprints
from longtake.data.forward import ForwardVideos
from longtake.data.held_out import Half, HeldOut
from longtake.data.index import (
    VIDEO_SUFFIXES,
    Candidate,
    Found,
    Index,
    Item,
    Searched,
    Split,
    build_index,
    existing,
    former_stamp,
    search,
    subfolders,
    whole,
)
from longtake.data.source import Frames, Rejected
from longtake.data.views import TrainingClips
from longtake.video import VideoInfo, frames_from, read_clip
from longtake.video.archive import SUFFIX as TAR
from longtake.video.archive import is_archive

SplitName = Literal["train", "test", "all"]


class VideosOnDisk(Config, ClipSource):
    """A source of videos that are files, or folders of image files.

    The files are searched and opened once, when they are first used; later changes are not seen.

    Attributes:
        path: folder of the data set; if relative, then to the working directory.
        plan: how a training clip is cut from a video; videos shorter than a clip are left out.
        crop: where frames are cropped after they were resized to cover the clip's size: ``centre``,
            or ``random`` for each clip.
        frames_fps: frame rate, in frames per second, assumed for folders of image files, which do
            not store one.
    """

    path: Path
    plan: ClipPlan = ClipPlan()
    crop: Crop = "centre"
    frames_fps: Annotated[float, Gt(0)] = 25.0

    @abstractmethod
    def found(self) -> Found:
        """Search the folder for videos that belong to the source, readable or not."""

    @property
    def root(self) -> Path:
        """Folder to which the videos' names in ``identity`` are relative."""
        return self.path

    @property
    def parts(self) -> Split:
        """Function that chooses which frames of each video belong to the source."""
        return whole

    @property
    def unset(self) -> frozenset[str]:
        """Names of settings that have no effect; ``identity`` omits them."""
        return frozenset()

    @property
    def name(self) -> str:
        split = getattr(self, "split", None)
        return f"{self.kind}:{split}" if split else self.path.resolve().name

    @property
    def classes(self) -> tuple[str, ...]:
        return self._index().classes

    def __len__(self) -> int:
        return len(self._items())

    def info(self, index: int) -> VideoInfo:
        return self._items()[index].video

    def label(self, index: int) -> int | None:
        return self._items()[index].label

    def caption(self, index: int) -> str | None:
        return self._items()[index].caption

    def read(self, index: int, start_frame: int, count: int, stride: int = 1) -> Frames:
        item = self._items()[index]
        first = item.first_frame + start_frame
        return read_clip(item.video.path, first, count, stride, item.timeline)

    def frames_from(self, index: int, start_frame: int) -> Iterator[np.ndarray]:
        item = self._items()[index]
        frames = frames_from(item.video.path, item.first_frame + start_frame, item.timeline)
        return islice(frames, item.video.frames - start_frame)

    def forward(self) -> ClipSource:
        return TrainingClips(ForwardVideos(self, self.plan), self.plan, self.crop)

    def clip(self, index: int, generator: torch.Generator, start_frame: int | None = None) -> Clip:
        return cut(self, index, self.plan, self.crop, generator, start_frame)

    def rejected(self) -> tuple[Rejected, ...]:
        return self._index().rejected

    def passed_over(self) -> Sequence[Rejected]:
        return self._index().passed_over

    def identity(self) -> Any:
        """Settings, and number of frames, fingerprint and label of each video by its name.

        Raises:
            ValueError: no video can be used.
            VideoError: a video cannot be read.
        """
        without = {"path", "captions", *self.unset}
        settings = {k: v for k, v in to_dict(self).items() if k not in without}
        labels = [item.label for item in self._items()]
        rows = zip(self.contents(), labels, strict=True)
        return {**settings, "videos": {name: [*row, label] for (name, *row), label in rows}}

    def former_identity(self) -> Any:
        settings = {k: v for k, v in to_dict(self).items() if k not in {"path", *self.unset}}
        return {**settings, "videos": former_stamp(self.root, self._items())}

    def contents(self) -> Any:
        """Name, number of frames and fingerprint of each video.

        A video of which only the frames from some index on belong to the source has that index too.

        Raises:
            ValueError: no video can be used.
            VideoError: a video cannot be read.
        """
        items = self._items()
        prints = fingerprints([item.video.path for item in items])
        names = [item.video.path.relative_to(self.root).as_posix() for item in items]
        starts = [[item.first_frame] if item.first_frame else [] for item in items]
        rows = zip(names, items, prints, starts, strict=True)
        return [[name, item.video.frames, mark, *start] for name, item, mark, start in rows]

    def _items(self) -> Sequence[Item]:
        index = self._index()
        if index.fault is not None:
            raise ValueError(index.fault)
        return index.items

    def _index(self) -> Index:
        return _index(self, id(self))  # pyright: ignore[reportArgumentType]: frozen models have a hash


class VideoFolder(VideosOnDisk):
    """Video files and folders of image files at any depth below a folder, or one video file.

    A tar file counts as a folder: webdataset shards, or a folder of them, are read in place.
    ``VideosOnDisk`` describes the other fields.

    Attributes:
        labels: ``folder``: a video's class is the name of the folder directly below ``path`` that
            holds it, and videos that lie in no such folder are left out; ``none``: no classes.
        captions: where captions are read from; videos without a caption are then left out. None: no
            captions.
        split: ``train``: all footage but what is held out; ``validation``: what is held out;
            ``all``: all footage.
        held_out: share of the footage that is held out: the last frames of each video. Whole videos
            are held out instead if there are 20 or more, or if even the longest of several videos
            would have fewer than 16 frames held out.
    """

    kind: Literal["folder"] = "folder"
    labels: Literal["folder", "none"] = "none"
    captions: AnyCaptions | None = None
    split: Half | Literal["all"] = "all"
    held_out: Annotated[float, Interval(gt=0, lt=1)] = 0.1

    @property
    def root(self) -> Path:
        return self.path.parent if self.path.is_file() else self.path

    @property
    def name(self) -> str:
        part = "" if self.split == "all" else f":{self.split}"
        return f"{self.path.resolve().name}{part}"

    @property
    def parts(self) -> Split:
        if self.split == "all":
            return whole
        return HeldOut(share=self.held_out, half=self.split, root=self.root)

    @property
    def unset(self) -> frozenset[str]:
        return frozenset({"split", "held_out"} if self.split == "all" else ())

    def found(self) -> Found:
        file = self.path.is_file() and not is_archive(self.path)
        whole = Searched([self.path], ())
        videos, passed_over = whole if file else search(existing(self.path))
        captions = {} if self.captions is None else self.captions.read(self.root, videos)
        paths = {video: _folders(video.relative_to(self.root)) for video in videos}
        inner = paths.values() if self.labels == "folder" else ()
        classes = tuple(sorted({parts[0] for parts in inner if len(parts) > 1}))
        candidates = []
        for video, parts in paths.items():
            label = classes.index(parts[0]) if classes and len(parts) > 1 else None
            caption, fault = captions.get(video), None
            if self.captions is not None and caption is None:
                fault = "has no caption"
            if self.labels == "folder" and label is None:
                fault = f"has no class: it lies in no folder below {self.path}"
            candidates.append(Candidate(path=video, label=label, caption=caption, fault=fault))
        suffixes = " ".join(sorted(VIDEO_SUFFIXES))
        looked_for = f"{suffixes}, folders of frames and .tar below {self.path}"
        return Found(candidates, looked_for, classes, passed_over)


class SkyTimelapse(VideosOnDisk):
    """SkyTimelapse: ``{train,test}/VIDEO/CLIP/`` holds the frames of one clip as image files.

    ``VideosOnDisk`` describes the other fields.

    Attributes:
        split: ``train``: the folder ``train``; ``test``: the folders ``test`` and ``val``; ``all``:
            all three.
    """

    kind: Literal["sky_timelapse"] = "sky_timelapse"
    split: SplitName = "train"

    def found(self) -> Found:
        names = {"train": ["train"], "test": ["test", "val"], "all": ["train", "test", "val"]}
        folders = [existing(self.path) / name for name in names[self.split]]
        videos = [video for folder in folders for video in subfolders(folder)]
        candidates = [Candidate(path=clip) for video in videos for clip in subfolders(video)]
        return Found(candidates, " and ".join(f"{f}/VIDEO/CLIP/FRAMES" for f in folders))


class Taichi(VideosOnDisk):
    """TaiChi-HD: all ``.mp4`` files below the folder.

    ``VideosOnDisk`` describes the other fields.

    Attributes:
        split: ``train`` or ``test``: videos in the folder of that name; ``all``: all videos.
    """

    kind: Literal["taichi"] = "taichi"
    split: SplitName = "train"

    def found(self) -> Found:
        root = existing(self.path if self.split == "all" else self.path / self.split)
        candidates = [Candidate(path=path) for path in sorted(root.rglob("*.mp4"))]
        return Found(candidates, f"{root}/**/*.mp4")


def _folders(path: Path) -> tuple[str, ...]:
    """Folders and name of a relative path, without tar files on the way; empty for ``.``."""
    folders = (part for part in path.parts[:-1] if not part.lower().endswith(TAR))
    return *folders, *path.parts[-1:]


@lru_cache(maxsize=32)
def _index(source: VideosOnDisk, number: int) -> Index:
    """Search and open the videos of a source, once for each object.

    ``number`` is the object's id, so that an equal source made later sees changes on disk.
    """
    del number
    return build_index(source.found(), source.plan, source.frames_fps, source.parts)
