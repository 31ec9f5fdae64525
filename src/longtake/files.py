"""Moves files to their places when they are complete, and locks places for one writer."""

import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, lockf
from pathlib import Path
from typing import TextIO

LOGGER = logging.getLogger("longtake")
ATTEMPTS, WAIT_SECONDS = 20, 0.05  # to read the name of a holder that has not written it yet


def _can_be_written(record: logging.LogRecord) -> bool:
    """Replace bytes of file names that are not UTF-8 by escapes; True, so that all is logged.

    Python keeps such bytes as surrogates, which cannot be written as UTF-8.
    """
    text = record.getMessage()
    escaped = text.encode("utf-8", "backslashreplace").decode()
    if escaped != text:
        record.msg, record.args = escaped, ()
    return True


LOGGER.addFilter(_can_be_written)


def user_cache() -> Path:
    """Folder of longtake in the user's cache folder, below ``$XDG_CACHE_HOME`` if that is set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longtake"


class InUseError(ValueError):
    """Another process writes to the same place."""


def put(partial: Path, path: Path) -> None:
    """Move a complete file or folder to ``path``, replacing what is there.

    Data is forced to the disk before the move, and the move before this function returns, so that
    later writes can rely on both even after a power cut.
    """
    for written in (*partial.rglob("*"), partial):
        sync(written)
    if path.is_dir() or partial.is_dir():
        remove(path)
    partial.replace(path)
    sync(path.parent)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def retire(path: Path) -> None:
    """Delete a file durably: later writes can rely on its absence even after a power cut."""
    path.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Force a file's data, or a folder's list of files, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError:
        if not path.is_dir():  # some file systems cannot sync a folder
            raise
    finally:
        os.close(number)


def _nothing() -> None:
    pass


@contextmanager
def locked(
    place: Path,
    path: Path,
    group: str = "",
    *,
    enter: Callable[[], None] = _nothing,
    leave: Callable[[], None] = _nothing,
) -> Generator[None]:
    """Context manager that holds a lock file, alone or together with the processes of one group.

    The lock is released when the processes end, however they end.

    Args:
        place: what the lock is for, in messages.
        path: the lock file, in a folder that exists.
        group: a name that only the processes of one job know; empty: this process alone.
        enter: called by the first process of the group, before any other is let in.
        leave: called by the last process of the group, when no other is left.

    Raises:
        InUseError: a process outside the group holds the lock; the message has its number and host.
    """
    file, first = _claimed(place, path, group)
    with file:
        try:
            if first:
                enter()
                if group:
                    lockf(file, LOCK_SH)
            yield
        finally:
            if not group or _alone(file, path):
                try:
                    leave()
                finally:
                    path.unlink(missing_ok=True)


def _claimed(place: Path, path: Path, group: str) -> tuple[TextIO, bool]:
    """Lock ``path``; return the open file, and whether this process is the first to hold the lock.

    The first process holds it alone. Raises an InUseError if a process outside the group does.
    """
    attempts = 0
    while True:
        file = path.open("a+", encoding="utf-8")
        first = _taken(file)
        if not first:
            file.seek(0)
            holder, _, others = file.read().partition("\n")
            if not group or others.strip() != group:
                file.close()
                attempts += 1
                if group and attempts < ATTEMPTS:
                    time.sleep(WAIT_SECONDS)
                    continue
                raise InUseError(
                    f"{place} is in use: {holder or 'another process'} writes to it; "
                    "stop it, or choose another place"
                )
            lockf(file, LOCK_SH)  # waits until the first process has entered
        if _is_at(file, path):
            if first:
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}\n{group}\n")
                file.flush()
            return file, first
        file.close()  # of a lock that was given back meanwhile


def _taken(file: TextIO) -> bool:
    """Try to lock a file for this process alone; whether no other process holds the lock."""
    try:
        lockf(file, LOCK_EX | LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        LOGGER.warning(
            "%s: this file system has no locks (%s), so that a second process that writes to the "
            "same place is not refused",
            file.name,
            error.strerror,
        )
    return True


def _alone(file: TextIO, path: Path) -> bool:
    """Give a shared lock back, then try to hold it alone; whether no other process holds it."""
    lockf(file, LOCK_UN)
    return _taken(file) and _is_at(file, path)


def _is_at(file: TextIO, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino
    return False
