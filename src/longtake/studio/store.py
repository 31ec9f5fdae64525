"""The job store: an SQLite file that survives a kill at any time."""

import json
import secrets
import sqlite3
import string
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LETTERS = string.ascii_lowercase + string.digits
WAITING, RUNNING = "queued", "running"
ACTIVE = (WAITING, RUNNING)
COLUMNS = {
    "id": "TEXT PRIMARY KEY",
    "kind": "TEXT NOT NULL",
    "settings": "TEXT NOT NULL",
    "origin": "TEXT NOT NULL",
    "status": "TEXT NOT NULL",
    "created": "REAL NOT NULL",
    "queued": "REAL NOT NULL",
    "ended": "REAL",
    "frames": "INTEGER",
    "frames_done": "INTEGER NOT NULL",
    "seconds_left": "REAL",
    "changes": "TEXT NOT NULL",
    "result": "TEXT NOT NULL",
    "error": "TEXT NOT NULL",
}
IN_JSON = ("settings", "changes", "result")


def new_id() -> str:
    """A random name of 12 letters and digits."""
    return "".join(secrets.choice(LETTERS) for _ in range(12))


@dataclass(kw_only=True)
class Job:
    """A job of a studio, as its ``JobStore`` keeps it.

    Attributes:
        id: random name.
        kind: ``live``, ``video``, ``make``, ``reconstruct``, ``compare`` or ``train``.
        settings: fields of its ``JobKind`` but ``kind``, as JSON data, such as ``settings``.
        origin: what submitted it: ``studio``, the page, or ``videos``, the API ``/v1/videos``.
        status: queued, running, stopped, done or failed.
        created: time in seconds since 1970.
        queued: time by which the queue is ordered.
        ended: time at which it last stopped; None while it waits or runs.
        frames: number of frames that are asked for; None: without end, or unknown.
        frames_done: number of frames that are on disk.
        seconds_left: estimated time to its end; None if it is unknown.
        changes: log of changes of a live video: step, first frame and what changed.
        result: what it found, such as measures, as JSON data.
        error: why it failed, or what kept it from going further; one sentence.
    """

    id: str = field(default_factory=new_id)
    kind: str
    settings: dict[str, Any]
    origin: str = "studio"
    status: str = WAITING
    created: float = field(default_factory=time.time)
    queued: float = field(default_factory=time.time)
    ended: float | None = None
    frames: int | None = None
    frames_done: int = 0
    seconds_left: float | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""


class JobStore:
    """Jobs in an SQLite file, written through at every change.

    Args:
        path: the file; it is created if it is missing.

    Raises:
        ValueError: the file is damaged, or is not that of a store.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(f"CREATE TABLE IF NOT EXISTS jobs ({columns})")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, data TEXT)"
            )
            self.jobs()
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            self.close()
            raise ValueError(
                f"{path}: is damaged, or is not a list of jobs ({error}); move it to another "
                "folder to begin with an empty list"
            ) from error

    def save(self, job: Job) -> None:
        """Write a job, new or changed."""
        values = {name: getattr(job, name) for name in COLUMNS}
        values |= {name: json.dumps(values[name]) for name in IN_JSON}
        marks = ", ".join("?" * len(values))
        self._database.execute(f"INSERT OR REPLACE INTO jobs VALUES ({marks})", [*values.values()])

    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        rows = self._database.execute("SELECT * FROM jobs ORDER BY created, rowid").fetchall()
        return [
            Job(**{k: json.loads(row[k]) if k in IN_JSON else row[k] for k in row.keys()})  # noqa: SIM118
            for row in rows
        ]

    def delete(self, ids: Sequence[str]) -> None:
        """Remove the jobs with these ids from the store; files that they wrote stay."""
        self._database.executemany("DELETE FROM jobs WHERE id = ?", [(each,) for each in ids])

    def fact(self, name: str) -> Any:
        """JSON data that ``set_fact`` stored under a name; None if nothing was stored."""
        row = self._database.execute("SELECT data FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row["data"])

    def set_fact(self, name: str, data: Any) -> None:
        """Store JSON data under a name, in place of what ``fact`` would return."""
        self._database.execute(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(data))
        )

    def close(self) -> None:
        """Close the file of the store."""
        self._database.close()
