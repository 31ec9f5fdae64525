"""A cache on disk of facts about files, such as lengths of videos, until the files change.

The database saves time only: what is damaged or cannot be read or written is computed again.
"""

import json
import os
import sqlite3
import stat
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from longtake.config import digest
from longtake.files import user_cache
from longtake.video.pictures import SUFFIXES as PICTURES

THREADS = 4
SAVED_TOGETHER = 256
CLOCK_TICK_NS = 100_000_000  # coarser than file systems tell times
WAIT_SECONDS = 10  # for another process that writes
SUM = 8  # hexadecimal digits of the checksum before each fact
_TABLE = "CREATE TABLE IF NOT EXISTS facts (kind, path, stamp, value, PRIMARY KEY (kind, path))"
# CROSS JOIN, which SQLite does not reorder: each wanted file is looked up in the primary key.
_KNOWN = "SELECT path, value FROM wanted CROSS JOIN facts USING (path, stamp) WHERE kind = ?"


def file_facts(kind: str, paths: Sequence[Path], compute: Callable[[Path], Any]) -> list[Any]:
    """Return ``compute(path)`` for each of ``paths``, from a cache on disk where it is known.

    What is not known, or belongs to a file that has changed, is computed by up to four threads and
    stored.

    Args:
        kind: name of what is computed, with everything besides the file that it depends on.
        paths: files, and folders of image files.
        compute: returns JSON data, which is stored, or an exception, which is returned but not
            stored.
    """
    names = [str(path.absolute()) for path in paths]
    stamps = dict(zip(names, map(_stamp, names), strict=True))
    known = _read(kind, stamps)
    new = {n: path for n, path in zip(names, paths, strict=True) if n not in known}
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(new), SAVED_TOGETHER):
            some = list(new)[start : start + SAVED_TOGETHER]
            found = dict(zip(some, pool.map(compute, [new[name] for name in some]), strict=True))
            known |= found
            _write(kind, stamps, found)
    return [known[name] for name in names]


def database() -> Path:
    """Path of the database in which ``file_facts`` caches, in the user's cache folder."""
    return user_cache() / "files.sqlite3"


def _stamp(path: str) -> str | None:
    """Text that changes when a file, or an image file of a folder, is written or replaced.

    None if it cannot be read, has a name that is not UTF-8, which SQLite refuses, or has changed in
    the last 0.1 s: it may then change again at a time that the file system does not tell apart.
    """
    try:
        path.encode()
        there = os.stat(path)  # noqa: PTH116 (a third of the time of Path.stat)
        states = {"": there}
        if stat.S_ISDIR(there.st_mode):
            with os.scandir(path) as entries:
                pictures = [e for e in entries if Path(e.name).suffix.lower() in PICTURES]
                states = {entry.name: entry.stat() for entry in pictures}
    except NotADirectoryError:  # a member of a tar file changes when that does
        return _stamp(str(Path(path).parent))
    except (OSError, UnicodeEncodeError):
        return None
    latest = max((state.st_ctime_ns for state in states.values()), default=0)
    if time.time_ns() - latest < CLOCK_TICK_NS:
        return None
    rows = [[n, s.st_size, s.st_mtime_ns, s.st_ctime_ns] for n, s in sorted(states.items())]
    return digest(rows) if len(rows) != 1 else " ".join(map(str, rows[0]))


def _read(kind: str, stamps: Mapping[str, str | None]) -> dict[str, Any]:
    """Stored facts of one kind about files that still have their stamps, by path.

    Files with the stamp None are left out. The time that it takes does not grow with the number of
    other files in the database.
    """
    wanted = [pair for pair in stamps.items() if pair[1] is not None]
    with (
        suppress(sqlite3.Error, OSError, ValueError),
        closing(sqlite3.connect(database(), timeout=WAIT_SECONDS)) as facts,
    ):
        facts.execute("PRAGMA temp_store = MEMORY")
        facts.execute("CREATE TEMP TABLE wanted (path, stamp)")
        facts.executemany("INSERT INTO wanted VALUES (?, ?)", wanted)
        found = facts.execute(_KNOWN, (kind,)).fetchall()
        return {path: json.loads(value[SUM:]) for path, value in found if _is_whole(value)}
    return {}


def _stored(value: Any) -> str:
    """A fact as text, behind its checksum."""
    text = json.dumps(value)
    return f"{zlib.crc32(text.encode()):0{SUM}x}{text}"


def _is_whole(stored: object) -> bool:
    """Whether the database has a fact as ``_stored`` made it."""
    text = stored if isinstance(stored, str) else ""
    return text[:SUM] == f"{zlib.crc32(text[SUM:].encode()):0{SUM}x}"


def _write(kind: str, stamps: Mapping[str, str | None], found: Mapping[str, Any]) -> None:
    rows = [
        (kind, path, stamps[path], _stored(value))
        for path, value in found.items()
        if stamps[path] is not None and not isinstance(value, Exception)
    ]
    with suppress(sqlite3.Error, OSError):
        database().parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(database(), timeout=WAIT_SECONDS)) as facts, facts:
            facts.execute(_TABLE)
            facts.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", rows)
