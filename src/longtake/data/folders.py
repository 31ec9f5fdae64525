"""Videos on disk as clips: folders of any shape, and the layouts of known data sets."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt

from longtake.config import to_dict
from longtake.data.captions import AnyCaptions
from longtake.data.clips import Clip, ClipPlan, ClipSource
from longtake.data.cutting import Crop, cut, fit_frames
from longtake.data.index import (
    VIDEO_SUFFIXES,
    Candidate,
    Found,
    Index,
    Rejected,
    build_index,
    stamp,
    subfolders,
    videos_below,
)

__all__ = [
    "UCF101",
    "VIDEO_SUFFIXES",
    "SkyTimelapse",
    "Taichi",
    "VideoFolder",
    "VideosOnDisk",
    "fit_frames",
]

Split = Literal["train", "test", "all"]


class VideosOnDisk(ClipSource):
    """Videos in files. Each process looks at them once, when it first needs them.

    Attributes:
        path: the data set's folder.
        plan: how a clip is cut from a video.
        crop: of frames that are wider or taller than the clip, after they are resized to cover it.
        frames_fps: frames a second of folders of frames, which cannot say it.
    """

    path: Path
    plan: ClipPlan = ClipPlan()
    crop: Crop = "centre"
    frames_fps: Annotated[float, Gt(0)] = 25.0

    @abstractmethod
    def found(self) -> Found:
        """Videos that belong to the source, whether or not they can be used."""

    @property
    @abstractmethod
    def looked_for(self) -> str:
        """What the videos are, and where they should be, for people."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders; empty where the layout has none."""
        return self._index().classes

    @property
    def fps(self) -> float:
        """Frames a second of a clip of the first video, so after the plan's stride."""
        return float(self._usable().items[0].video.fps / self.plan.stride)

    def rejected(self) -> tuple[Rejected, ...]:
        """Videos that cannot be used, and why."""
        return self._index().rejected

    def __len__(self) -> int:
        """Number of videos that can be used."""
        return len(self._usable().items)

    def clip(self, index: int, generator: torch.Generator) -> Clip:
        """A clip of video ``index``."""
        item = self._usable().items[index]
        start, frames = cut(item.video.path, item.video.frames, self.plan, self.crop, generator)
        return Clip(
            frames=frames,
            path=str(item.video.path),
            start_frame=start,
            fps=float(item.video.fps / self.plan.stride),
            label=item.label,
            caption=item.caption,
        )

    def identity(self) -> Any:
        """Settings, and every video's name, length, size and time of change."""
        settings = {k: v for k, v in to_dict(self).items() if k != "path"}
        return {**settings, "videos": stamp(self.path, self._usable().items)}

    def _usable(self) -> Index:
        index = self._index()
        index.check(self.looked_for, self.plan)
        return index

    def _index(self) -> Index:
        return _index(self)  # pyright: ignore[reportArgumentType]: frozen models have a hash


class VideoFolder(VideosOnDisk):
    """Video files and folders of frames, at any depth below a folder.

    Attributes:
        labels: ``folder``, the folder directly below ``path`` is a video's class, or ``none``.
        captions: where captions are; videos without one are then left out.
    """

    kind: Literal["folder"] = "folder"
    labels: Literal["folder", "none"] = "none"
    captions: AnyCaptions | None = None

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @property
    def looked_for(self) -> str:
        """Anything that is a video."""
        return f"{' '.join(sorted(VIDEO_SUFFIXES))} and folders of frames below {self.path}"

    def found(self) -> Found:
        """All videos below the folder."""
        videos = videos_below(_existing(self.path))
        captions = None if self.captions is None else self.captions.read(self.path, videos)
        classes = self._class_names(videos)
        candidates = []
        for video in videos:
            place = video.relative_to(self.path).parts
            label = classes.index(place[0]) if classes and len(place) > 1 else None
            caption, fault = (captions or {}).get(video), None
            if captions is not None and caption is None:
                fault = "has no caption"
            if self.labels == "folder" and label is None:
                fault = "lies in no class folder"
            candidates.append(Candidate(path=video, label=label, caption=caption, fault=fault))
        return Found(candidates=candidates, classes=classes)

    def _class_names(self, videos: Sequence[Path]) -> tuple[str, ...]:
        if self.labels == "none":
            return ()
        places = [video.relative_to(self.path).parts for video in videos]
        return tuple(sorted({parts[0] for parts in places if len(parts) > 1}))


class UCF101(VideosOnDisk):
    """UCF-101: ``CLASS/*.avi`` and the official lists ``ucfTrainTestlist/trainlist01.txt``, ...

    Attributes:
        split: of the official lists; ``all`` needs none.
        fold: of the three official ones.
    """

    kind: Literal["ucf101"] = "ucf101"
    split: Split = "train"
    fold: Literal[1, 2, 3] = 1

    @property
    def name(self) -> str:
        """Of the data set."""
        return "ucf101"

    @property
    def looked_for(self) -> str:
        """Class folders."""
        return f"CLASS/*.avi in {self._root()}"

    def found(self) -> Found:
        """The videos of a split, in the order of its list."""
        root = self._root()
        videos = sorted(_existing(root).glob("*/*.avi"))
        classes = tuple(sorted({video.parent.name for video in videos}))
        there = set(videos)
        chosen = videos if self.split == "all" else [root / name for name in self._listed(root)]
        candidates = [
            Candidate(
                path=video,
                label=classes.index(video.parent.name) if video in there else None,
                fault=None if video in there else "is in the official list but not on the disk",
            )
            for video in chosen
        ]
        return Found(candidates=candidates, classes=classes)

    def _root(self) -> Path:
        inner = self.path / "UCF-101"
        return inner if inner.is_dir() else self.path

    def _listed(self, root: Path) -> list[str]:
        name = f"{self.split}list{self.fold:02d}.txt"
        folders = [
            place / inner
            for place in dict.fromkeys((root, self.path, root.parent))
            for inner in ("ucfTrainTestlist", ".")
        ]
        for folder in folders:
            if (folder / name).is_file():
                lines = (folder / name).read_text().splitlines()
                return [line.split()[0] for line in lines if line.strip()]
        raise ValueError(
            f"the official list {name} was not found in {', '.join(map(str, folders))}; put the "
            "folder ucfTrainTestlist of UCF-101 there, or set split=all"
        )


class SkyTimelapse(VideosOnDisk):
    """SkyTimelapse: ``{train,test}/VIDEO/CLIP/`` holds the frames of one clip.

    Attributes:
        split: ``test`` may also be called ``val`` on the disk.
    """

    kind: Literal["sky_timelapse"] = "sky_timelapse"
    split: Split = "train"

    @property
    def name(self) -> str:
        """Of the data set."""
        return "sky_timelapse"

    @property
    def looked_for(self) -> str:
        """Folders of frames."""
        return " and ".join(f"{folder}/VIDEO/CLIP/FRAMES" for folder in self._folders())

    def found(self) -> Found:
        """The clips of a split."""
        _existing(self.path)
        videos = [video for folder in self._folders() for video in subfolders(folder)]
        return Found(candidates=[Candidate(path=c) for video in videos for c in subfolders(video)])

    def _folders(self) -> list[Path]:
        names = {"train": ["train"], "test": ["test", "val"], "all": ["train", "test", "val"]}
        return [self.path / name for name in names[self.split]]


class Taichi(VideosOnDisk):
    """TaiChi-HD: ``**/*.mp4``.

    Attributes:
        split: ``train`` and ``test`` are folders; ``all`` is every video.
    """

    kind: Literal["taichi"] = "taichi"
    split: Split = "train"

    @property
    def name(self) -> str:
        """Of the data set."""
        return "taichi"

    @property
    def looked_for(self) -> str:
        """Files."""
        return f"{self._root()}/**/*.mp4"

    def found(self) -> Found:
        """The videos of a split."""
        root = _existing(self._root())
        return Found(candidates=[Candidate(path=path) for path in sorted(root.rglob("*.mp4"))])

    def _root(self) -> Path:
        return self.path if self.split == "all" else self.path / self.split


@lru_cache(maxsize=32)
def _index(source: VideosOnDisk) -> Index:
    return build_index(source.found(), source.plan, source.frames_fps)


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    return folder
