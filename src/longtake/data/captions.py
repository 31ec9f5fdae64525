"""Captions of videos: from files beside them, a table, or the prompts that they were made of."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from longtake.config import Config, nearest
from longtake.documents import DocumentError, decoded, open_regular, parse_json, read_text
from longtake.video.archive import is_file, is_folder, read_bytes

EXTRA = "\0"  # stands for fields that a row has too many or too few
LONGEST_FIELD = 1 << 24  # characters of a field of a .csv, or of a line of a .jsonl
LONGEST_CAPTION_BYTES = 1 << 20
LONGEST_TABLE = 1 << 30  # characters of all names and captions of a table
ROWS_AT_ONCE = 256  # of a Parquet file


class CaptionBeside(Config):
    """Reads the caption of ``sea.mp4``, or of the folder of frames ``sea``, from ``sea.txt``.

    If that file does not exist, from ``sea.json``, a JSON object with the key ``caption``. In a tar
    file, such as a shard of webdataset, the caption's file is a member like the video.
    """

    kind: Literal["beside"] = "beside"

    def read(self, root: Path, videos: Sequence[Path]) -> Mapping[Path, str]:
        """Caption of each of ``videos`` that has a caption file beside it; ``root`` is not used.

        Raises:
            ValueError: a caption's file cannot be read, or is not UTF-8 text or JSON.
        """
        del root
        stems = {video: video.name if is_folder(video) else video.stem for video in videos}
        found = {}
        for suffix, read in ((".json", _caption), (".txt", _words)):
            files = {video: video.with_name(f"{stem}{suffix}") for video, stem in stems.items()}
            found |= {video: read(path) for video, path in files.items() if is_file(path)}
        return {video: caption for video, caption in found.items() if caption is not None}


class CaptionTable(Config):
    """Reads captions from a ``.csv``, ``.jsonl`` or ``.parquet`` file; Parquet needs pyarrow.

    Attributes:
        path: path of the table; if relative, then to the folder of the videos.
        file_column: name of the column with each video's path relative to the folder of the videos,
            with or without suffix.
        caption_column: name of the column with the captions.
    """

    kind: Literal["table"] = "table"
    path: Path
    file_column: str = "file"
    caption_column: str = "caption"

    def read(self, root: Path, videos: Sequence[Path]) -> Mapping[Path, str]:
        """Caption of each of ``videos``, in folder ``root``, that the table lists.

        If it lists a video more than once, its last row counts.

        Raises:
            ValueError: the table cannot be read, or lacks a column; the message names file and row.
        """
        path = root / self.path
        table: dict[str, str] = {}
        columns, length = (self.file_column, self.caption_column), 0
        for place, row in _rows(path):
            name, caption = (_text(row, column, place) for column in columns)
            length += len(name) + len(caption)
            if length > LONGEST_TABLE:
                raise ValueError(
                    f"{place}: names and captions take more than {LONGEST_TABLE} characters up to "
                    "here; split the folder and its table"
                )
            if caption and not name:
                raise ValueError(
                    f"{place}: names no file for its caption; fill in the column "
                    f"{self.file_column!r}"
                )
            if caption:
                table[Path(name).as_posix()] = caption
        names = {video: video.relative_to(root) for video in videos}
        found = {
            video: table.get(name.as_posix(), table.get(name.with_suffix("").as_posix()))
            for video, name in names.items()
        }
        return {video: caption for video, caption in found.items() if caption is not None}


class CaptionPrompts(Config):
    """Reads captions from the text file of prompts, one per line, of which videos were generated.

    The caption of ``prompt_0003_seed_0000.mp4`` is line 3, counted from 0; blank lines do not
    count.

    Attributes:
        path: path of the file; if relative, then to the folder of the videos.
    """

    kind: Literal["prompts"] = "prompts"
    path: Path

    def read(self, root: Path, videos: Sequence[Path]) -> Mapping[Path, str]:
        """Caption of each of ``videos``, in folder ``root``, that is named after a prompt's line.

        Raises:
            ValueError: the file is not UTF-8 text, or has no prompt.
            OSError: the file cannot be read.
        """
        lines = read_prompts(root / self.path)
        named = {video: re.match(r"prompt_(\d+)_", video.name) for video in videos}
        numbers = {video: int(found[1]) for video, found in named.items() if found}
        return {video: lines[line] for video, line in numbers.items() if line < len(lines)}


AnyCaptions = Annotated[CaptionBeside | CaptionTable | CaptionPrompts, Field(discriminator="kind")]
"""Where the captions of videos are read from."""


def read_prompts(path: Path) -> list[str]:
    """Read prompts from a text file, one per line; blank lines do not count.

    Raises:
        ValueError: the file is not UTF-8 text, is longer than 64 MiB, or has no prompt.
        OSError: the file cannot be read.
    """
    try:
        text = read_text(path)
    except DocumentError as error:
        raise ValueError(f"{path}: {error}") from error
    if lines := [line.strip() for line in text.splitlines() if line.strip()]:
        return lines
    raise ValueError(f"{path}: has no prompt; expected one per line")


def _text(row: Any, column: str, place: str) -> str:
    """A cell of a table's row as text with single spaces; empty if it is null.

    Raises:
        ValueError: there is no such column, or the cell is not text; ``place`` begins the message.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{place}: is a {type(row).__name__}, expected an object with columns")
    if column not in row:
        raise ValueError(f"{place}: there is no column {column!r}; {nearest(column, list(row))}")
    value = row[column]
    if value is None or value != value:  # a number that is missing, in Parquet
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{place}: {column} is a {type(value).__name__}, expected text")
    whole = isinstance(value, float) and value.is_integer()
    return " ".join(str(int(value) if whole else value).split())


def _words(path: Path) -> str:
    return " ".join(_content(path).split())


def _caption(path: Path) -> str | None:
    try:
        row = parse_json(_content(path))
    except DocumentError as error:
        raise ValueError(f"{path}: {error}") from error
    return _text(row, "caption", str(path)) if isinstance(row, dict) and "caption" in row else None


def _content(path: Path) -> str:
    try:
        if path.is_file():
            return read_text(path, LONGEST_CAPTION_BYTES)
        return decoded(read_bytes(path, LONGEST_CAPTION_BYTES))
    except DocumentError as error:
        raise ValueError(f"{path}: {error}") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield each row of a table with its place for messages, such as ``table.csv: line 3``.

    Raises:
        ValueError: the file is missing, cannot be read, or is not a table.
    """
    readers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    if path.suffix not in readers:
        raise ValueError(
            f"{path}: is not a table of captions; expected a file that ends in {', '.join(readers)}"
        )
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of captions")
    try:
        yield from readers[path.suffix](path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from error


def _csv(path: Path) -> Iterator[tuple[str, Any]]:
    with TextIOWrapper(open_regular(path), newline="", encoding="utf-8-sig") as file:
        csv.field_size_limit(LONGEST_FIELD)
        rows = csv.DictReader(file, restkey=EXTRA, restval=EXTRA, strict=True)
        try:
            for row in rows:
                place = f"{path}: line {rows.line_num}"
                if EXTRA in row or EXTRA in row.values():
                    fields = len(rows.fieldnames or ())
                    raise ValueError(
                        f"{place}: has more or fewer fields than the header's {fields}; put a "
                        "field with commas into quotation marks"
                    )
                yield place, row
        except csv.Error as error:
            raise ValueError(
                f"{path}: not valid CSV after line {rows.line_num} ({error})"
            ) from error


def _jsonl(path: Path) -> Iterator[tuple[str, Any]]:
    with TextIOWrapper(open_regular(path), encoding="utf-8-sig") as file:
        lines = iter(lambda: file.readline(LONGEST_FIELD), "")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except DocumentError as error:
                raise ValueError(f"{path}: line {number}: {error}") from error
            yield f"{path}: line {number}", row


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            f"{path}: Parquet needs `pip install pyarrow` ({error}), or use .csv"
        ) from error
    try:
        with open_regular(path) as file:
            batches = parquet.ParquetFile(file).iter_batches(ROWS_AT_ONCE)
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows, 1):
                yield f"{path}: row {number}", row
    except ArrowException as error:
        raise ValueError(f"{path}: not valid Parquet ({error})") from error
