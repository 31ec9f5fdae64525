"""Sides whose videos lie on the disk, and embedded worlds: any clip can be read on its own."""

import os
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from longtake.checkpoint import file_hash
from longtake.config import digest, parse, to_dict
from longtake.data.clips import ClipPlan, Rejected
from longtake.data.folders import VideosOnDisk
from longtake.data.index import Candidate, Found, Index, build_index, stamp
from longtake.data.synthetic import SyntheticSource
from longtake.evaluation.arrays import map_array
from longtake.evaluation.sides import Look, Pick, Side
from longtake.video import read_clip

WORLD_VIDEOS = 1 << 16
"""Of an embedded world that clips are drawn from."""

AHEAD = 4
"""Clips that a thread reads before they are asked for."""


class ReadableSide(Side):
    """A side any clip of which can be read on its own; several threads read ahead."""

    @abstractmethod
    def read(self, pick: Pick, frames: int, stride: int) -> UInt8[np.ndarray, "t h w 3"]:
        """One clip."""

    def clips(
        self, picks: Sequence[Pick], frames: int, stride: int
    ) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
        """The clips that were picked, in their order."""
        threads = min(8, os.cpu_count() or 1)
        coming: deque[Future[np.ndarray]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for pick in picks:
                    coming.append(pool.submit(self.read, pick, frames, stride))
                    if len(coming) > threads * AHEAD:
                        yield coming.popleft().result()
                while coming:
                    yield coming.popleft().result()
            finally:
                for future in coming:
                    future.cancel()


class FolderSide(ReadableSide):
    """Videos and folders of frames below a folder, a data set in its layout, or one video."""

    def __init__(self, source: VideosOnDisk | Path) -> None:
        self._source = source
        self._root = source if isinstance(source, Path) else source.path

    @property
    def name(self) -> str:
        """The folder's or the file's name, and what of it."""
        if isinstance(self._source, Path):
            return self._source.name
        split = to_dict(self._source).get("split")
        return f"{self._source.name}:{split}" if split else self._source.name

    def __len__(self) -> int:
        return len(self._index.items)

    def look(self, video: int) -> Look:
        """What a video is; a folder of frames says no rate."""
        info = self._index.items[video].video
        fps = None if info.path.is_dir() else float(info.fps)
        return Look(info.frames, info.height, info.width, fps, info.variable_rate)

    def title(self, video: int) -> str:
        """The video's path."""
        return str(self._index.items[video].video.path)

    def rejected(self) -> Sequence[Rejected]:
        """What is broken."""
        return self._index.rejected

    def identity(self) -> Any:
        """Every video's name, length, size and time of change."""
        return stamp(self._folder, self._index.items)

    def contents(self) -> Any:
        """Every video's name, length and size."""
        return [row[:3] for row in stamp(self._folder, self._index.items)]

    def record(self) -> dict[str, Any]:
        """Nothing more."""
        return {}

    def read(self, pick: Pick, frames: int, stride: int) -> UInt8[np.ndarray, "t h w 3"]:
        """One clip, frame-exact."""
        path = self._index.items[pick.video].video.path
        return read_clip(path, pick.start_frame, frames, stride)

    @property
    def _folder(self) -> Path:
        return self._root.parent if isinstance(self._source, Path) else self._root

    @cached_property
    def _index(self) -> Index:
        plan = ClipPlan(frames=1)
        if isinstance(self._source, Path):
            index = build_index(Found(candidates=[Candidate(path=self._source)]), plan, 25.0)
            looked_for = str(self._source)
        else:
            index = build_index(self._source.found(), plan, self._source.frames_fps)
            looked_for = self._source.looked_for
        index.check(looked_for, plan)
        return index


class WorldSide(ReadableSide):
    """An embedded world. It has no end, so never too few videos."""

    def __init__(self, world: SyntheticSource) -> None:
        settings = {**to_dict(world), "videos": WORLD_VIDEOS}
        self._world = parse(type(world), settings)

    @property
    def name(self) -> str:
        """As the user calls it: world, split and size."""
        plan = self._world.plan
        return f"{self._world.name}:{self._world.split}:{plan.height}x{plan.width}"

    def __len__(self) -> int:
        return len(self._world)

    def look(self, video: int) -> Look:
        """The same for all."""
        return self._look

    def title(self, video: int) -> str:
        """The video's address."""
        return self._world.address(video)

    def rejected(self) -> Sequence[Rejected]:
        """None."""
        return ()

    def identity(self) -> Any:
        """Settings and revision."""
        return self._world.identity()

    def contents(self) -> Any:
        """Settings and revision."""
        return self._world.identity()

    def record(self) -> dict[str, Any]:
        """Nothing more."""
        return {}

    def read(self, pick: Pick, frames: int, stride: int) -> UInt8[np.ndarray, "t h w 3"]:
        """One clip, rendered."""
        plan = self._world.plan.model_copy(update={"frames": frames, "stride": stride})
        world = self._world.model_copy(update={"plan": plan})
        return world.video(pick.video, pick.start_frame, frames).frames

    @cached_property
    def _look(self) -> Look:
        plan = self._world.plan
        return Look(self._world.video_frames, plan.height, plan.width, self._world.fps)


class ArraySide(ReadableSide):
    """An array file of clips, (N, T, H, W, 3) of uint8, of which only what is asked for is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._array = map_array(path)

    @property
    def name(self) -> str:
        """Of the file."""
        return self._path.name

    def __len__(self) -> int:
        return len(self._array)

    def look(self, video: int) -> Look:
        """The same for all; an array says no rate."""
        frames, height, width = self._array.shape[1:4]
        return Look(frames, height, width)

    def title(self, video: int) -> str:
        """The file and the row."""
        return f"{self._path}[{video}]"

    def rejected(self) -> Sequence[Rejected]:
        """None."""
        return ()

    def identity(self) -> Any:
        """Hash of the file."""
        return self._hash

    def contents(self) -> Any:
        """Hash of the file."""
        return self._hash

    def record(self) -> dict[str, Any]:
        """Nothing more."""
        return {}

    def read(self, pick: Pick, frames: int, stride: int) -> UInt8[np.ndarray, "t h w 3"]:
        """One clip."""
        first = pick.start_frame
        return np.array(self._array[pick.video, first : first + frames * stride : stride])

    @cached_property
    def _hash(self) -> str:
        return file_hash(self._path)


def contents_hash(side: Side) -> str:
    """By which results tell whether they were measured on the same videos."""
    return digest(side.contents())
