"""Reads JSON and YAML of any origin: regular files only, of limited size, depth and values."""

import copy
import errno
import json
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

MAX_JSON_BYTES, MAX_YAML_BYTES = 1 << 24, 1 << 18  # YAML is read at 100 kB a second
MAX_TEXT_BYTES = 1 << 26
MAX_VALUES, MAX_DEPTH = 1 << 17, 50
TOO_DEEP = f"lists and objects are nested deeper than {MAX_DEPTH} levels, the limit; nest fewer"
KEPT_TEXTS = 64  # parsed YAML: presets, and configs that a page shows after each logging step
INTEGERS = range(-(2**63), 2**63)


class DocumentError(ValueError):
    """A text is not JSON or YAML, or exceeds a limit; the message says which.

    Unless a function says otherwise, the limits are 16 MiB of JSON, 256 KiB of YAML, 64 MiB of
    other text, 131,072 values, and 50 levels of nesting.
    """


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; an OSError if it is a pipe, a device or anything but a file.

    An IsADirectoryError if it is a folder.
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would block
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        reason = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(reason, "not a regular file", str(path))
    return os.fdopen(number, "rb")


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read a UTF-8 text file, with or without a byte order mark, of 64 MiB at most by default.

    Raises:
        OSError: the file cannot be read.
        DocumentError: the file is not UTF-8, or longer than ``max_bytes``.
    """
    with open_regular(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise DocumentError(f"the text is longer than {max_bytes} bytes, the limit; shorten it")
    return decoded(data)


def decoded(data: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark; a DocumentError if it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"is not text in UTF-8 ({error}); save it as UTF-8") from error


def read_json(path: Path) -> Any:
    """Read the data of a JSON file.

    Raises:
        OSError: the file cannot be read.
        DocumentError: it is not JSON, or exceeds 16 MiB, 131,072 values or 50 levels of nesting.
    """
    return parse_json(read_text(path, MAX_JSON_BYTES))


def read_json_lines(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> Iterator[Any]:
    """Yield the data of each line of a JSON lines file; broken and truncated lines are skipped.

    A file that does not exist has no lines.

    Raises:
        OSError: the file cannot be read.
        DocumentError: it is not UTF-8, or longer than ``max_bytes``, by default 64 MiB.
    """
    for line in read_text(path, max_bytes).splitlines() if path.exists() else ():
        with suppress(DocumentError):
            yield parse_json(line)


def read_json_like(path: Path, expected: Any) -> Any:
    """Read a JSON file that is to be compared with ``expected``, whose size sets the limits.

    The file may list the videos of a data set, of which there can be millions.

    Raises:
        OSError: the file cannot be read.
        DocumentError: it is not JSON, exceeds 50 levels of nesting, or is much larger than
            ``expected`` (over four times, and over 16 MiB or 131,072 values).
    """
    text = json.dumps(expected)
    max_values = max(MAX_VALUES, 4 * (text.count(",") + text.count("{")))
    return parse_json(read_text(path, max(MAX_JSON_BYTES, 4 * len(text))), max_values)


def read_yaml(path: Path) -> Any:
    """Read the data of a YAML file.

    Raises:
        OSError: the file cannot be read.
        DocumentError: it is not YAML, or exceeds 256 KiB, 131,072 values or 50 levels of nesting.
    """
    return parse_yaml(read_text(path, MAX_YAML_BYTES))


def parse_json(text: str, max_values: int = MAX_VALUES) -> Any:
    """Parse a JSON text.

    A DocumentError if it is not JSON, is nested deeper than 50 levels, or has more than
    ``max_values`` values, by default 131,072.
    """
    try:
        data = json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError as error:
        raise DocumentError(TOO_DEEP) from error
    except ValueError as error:
        raise DocumentError(f"not valid JSON ({error})") from error
    return _checked(data, max_values)


def parse_yaml(text: str) -> Any:
    """Parse a YAML text; a DocumentError if it is not YAML, or too large.

    It may have at most 131,072 values, nested at most 50 deep. An alias counts as much as what it
    repeats. The data is the caller's own, also where a text is parsed again.
    """
    return copy.deepcopy(_parsed(text))


@lru_cache(maxsize=KEPT_TEXTS)
def _parsed(text: str) -> Any:
    """Data of a YAML text, kept because parsing it takes forty times as long as copying it."""
    try:
        loader = _Loader(text)
        if (node := loader.get_single_node()) is None:
            return None
        _check_limits(node, lambda n: () if isinstance(n, yaml.ScalarNode) else _flat(n.value))
        data = loader.construct_document(node)
    except DocumentError:
        raise
    except Exception as error:  # what a value such as !!int x raises can be of any type
        raise DocumentError(f"not valid YAML ({_fault(error)})") from error
    return _checked(data)


def _fault(error: Exception) -> str:
    """What is wrong with a YAML text and where, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark):
        context = f"{error.context}, " if error.context else ""
        return f"line {mark.line + 1}, column {mark.column + 1}: {context}{error.problem}"
    return " ".join(str(error).split())


class _Loader(yaml.SafeLoader):
    """YAML loader that stops at 50 levels, since the parser is slow with many open brackets."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise DocumentError(TOO_DEEP)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        key = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        raise ValueError(f"the key {key!r} is there twice; remove one")
    return data


def _checked(data: Any, max_values: int = MAX_VALUES) -> Any:
    """Return ``data``; a DocumentError if it exceeds a limit or has an integer beyond 64 bits."""
    for value in _check_limits(data, _parts, max_values):
        if isinstance(value, int) and value not in INTEGERS:
            raise DocumentError("an integer has more than 64 bits; give a smaller one")
    return data


def _check_limits(
    root: Any, parts: Callable[[Any], Collection[Any]], max_values: int = MAX_VALUES
) -> list[Any]:
    """All values of a tree, level by level; one that is shared counts each time.

    ``parts`` returns the children of a value. A DocumentError if there are more than ``max_values``
    values or 50 levels.
    """
    found, level = [], [root]
    for _ in range(MAX_DEPTH):
        found += level
        count = len(found)
        for value in level:
            count += len(parts(value))
            if count > max_values:
                raise DocumentError(
                    f"the text has more than {max_values} values, the limit; give fewer"
                )
        level = [part for value in level for part in parts(value)]
        if not level:
            return found
    raise DocumentError(TOO_DEEP)


def _parts(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list | tuple | set) else ()


def _flat(children: list[Any]) -> list[Any]:
    """Nodes of a sequence, or keys and values of a mapping."""
    return [n for child in children for n in (child if isinstance(child, tuple) else (child,))]
