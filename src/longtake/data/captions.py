"""Captions of videos, read from files beside the videos or from a table."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from longtake.config import Config, nearest


class CaptionBeside(Config):
    """``sea.txt`` holds the caption of ``sea.mp4``, or of the folder of frames ``sea``."""

    kind: Literal["beside"] = "beside"

    def read(self, root: Path, videos: Sequence[Path]) -> Mapping[Path, str]:
        """Captions of the videos that have a text file."""
        del root
        stems = {video: video.name if video.is_dir() else video.stem for video in videos}
        texts = {video: video.with_name(f"{stem}.txt") for video, stem in stems.items()}
        return {
            video: " ".join(text.read_text(encoding="utf-8").split())
            for video, text in texts.items()
            if text.is_file()
        }


class CaptionTable(Config):
    """A ``.csv``, ``.jsonl`` or ``.parquet`` file with a row per video; Parquet needs pyarrow.

    Attributes:
        path: path of the table; a relative one is relative to the folder of the videos.
        file_column: column of the video's path in that folder, with or without suffix.
        caption_column: column of the caption.
    """

    kind: Literal["table"] = "table"
    path: Path
    file_column: str = "file"
    caption_column: str = "caption"

    def read(self, root: Path, videos: Sequence[Path]) -> Mapping[Path, str]:
        """Captions of the videos that the table has.

        Raises:
            ValueError: the table cannot be read, or lacks a column.
        """
        path = root / self.path
        table: dict[str, str] = {}
        for row in _rows(path):
            for column in (self.file_column, self.caption_column):
                if column not in row:
                    raise ValueError(
                        f"{path}: there is no column {column!r}; {nearest(column, list(row))}"
                    )
            if row[self.caption_column]:
                table[Path(row[self.file_column]).as_posix()] = str(row[self.caption_column])
        names = {video: video.relative_to(root) for video in videos}
        found = {
            video: table.get(name.as_posix(), table.get(name.with_suffix("").as_posix()))
            for video, name in names.items()
        }
        return {video: caption for video, caption in found.items() if caption is not None}


AnyCaptions = Annotated[CaptionBeside | CaptionTable, Field(discriminator="kind")]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    readers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    if path.suffix not in readers:
        raise ValueError(f"{path}: captions are read from {', '.join(readers)}")
    try:
        yield from readers[path.suffix](path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                if line.strip():
                    yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}: line {number} is not valid JSON ({error})") from error


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(f"{path}: Parquet needs `pip install pyarrow`, or use .csv") from error
    yield from parquet.read_table(path).to_pylist()
