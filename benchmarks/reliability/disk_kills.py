"""Commands that are killed before any chosen change of the disk, and what they leave behind.

A command runs once, and its folder is copied before each of its changes: that is what a process
leaves that is killed there, as nothing of it runs any more. From each copy the command is repeated.
"""

import builtins
import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

PATHS = {  # functions that change the disk, and how many of their arguments are paths
    **dict.fromkeys(("replace", "rename", "link", "symlink"), 2),
    **dict.fromkeys(("unlink", "remove", "rmdir", "mkdir", "truncate"), 1),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

Tree = dict[str, bytes | None]
"""Content of every file below a folder, by its path; None for folders."""


@dataclass
class Disk:
    """Changes of the disk below a folder.

    Attributes:
        before: called before each change with the number of those that were made.
        changes: what was changed.
        synced: size and time of change of each file when its data was last forced to the disk.
        lock: held while a change is made, as a second thread may write a checkpoint.
    """

    root: Path
    before: Callable[[int], None] = lambda _: None
    changes: list[str] = field(default_factory=list)
    synced: dict[int, tuple[int, int]] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    def change(self, what: str, *paths: Any, dir_fd: int | None = None) -> None:
        """Count a change, if it is below the folder."""
        base = Path(f"/proc/self/fd/{dir_fd}").readlink() if dir_fd is not None else Path.cwd()
        names = [base / os.fsdecode(path) for path in paths if not isinstance(path, int)]
        inside = [str(p.relative_to(self.root)) for p in names if p.is_relative_to(self.root)]
        if inside:
            self.before(len(self.changes))
            self.changes.append(f"{what} {' to '.join(inside)}")

    def sync(self, number: int) -> None:
        """Count a file as forced to the disk, which costs milliseconds in earnest."""
        with self.lock:
            self.change("sync", Path(f"/proc/self/fd/{number}").readlink())
            stat = os.fstat(number)
            self.synced[stat.st_ino] = stat.st_size, stat.st_mtime_ns

    def keep(self) -> None:
        """Take all files that exist for forced to the disk."""
        for path in self.root.rglob("*"):
            stat = path.lstat()
            self.synced[stat.st_ino] = stat.st_size, stat.st_mtime_ns

    def after_power_cut(self) -> dict[str, int]:
        """Bytes that are left of files: half of what was written since its last sync."""
        left = {}
        for path in self.root.rglob("*"):
            stat = path.lstat()
            size, time = self.synced.get(stat.st_ino, (0, 0))
            if path.is_file() and (size, time) != (stat.st_size, stat.st_mtime_ns):
                start = size if size < stat.st_size else 0
                left[str(path.relative_to(self.root))] = start + (stat.st_size - start) // 2
        return left


@contextmanager
def watched(disk: Disk) -> Generator[Disk]:
    """Count changes below the disk's folder."""

    def changing(name: str, real: Callable[..., Any], *paths: Any, **options: Any) -> Any:
        with disk.lock:
            disk.change(name, *paths[: PATHS[name]], dir_fd=options.get("dir_fd"))
            return real(*paths, **options)

    def opening(
        real: Callable[..., Any], path: Any, mode: str = "r", *rest: Any, **more: Any
    ) -> Any:
        if not set(mode) & set("wax+"):
            return real(path, mode, *rest, **more)
        with disk.lock:
            disk.change("open", path)
            return real(path, mode, *rest, **more)

    def opening_number(
        real: Callable[..., int], path: Any, flags: int, *rest: Any, **more: Any
    ) -> int:
        if not flags & WRITING:
            return real(path, flags, *rest, **more)
        with disk.lock:
            disk.change("open", path, dir_fd=more.get("dir_fd"))
            return real(path, flags, *rest, **more)

    patches = {(os, name): partial(changing, name, getattr(os, name)) for name in PATHS}
    patches |= {(module, "open"): partial(opening, io.open) for module in (io, builtins)}
    patches |= {(os, "open"): partial(opening_number, os.open), (os, "fsync"): disk.sync}
    started = [mock.patch.object(*place, new) for place, new in patches.items()]
    for patch in started:
        patch.start()
    try:
        yield disk
    finally:
        for patch in started:
            patch.stop()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command that was killed ended when it was repeated.

    Attributes:
        where: the change of the disk before which it was killed, or when.
        code: exit code of the repeated command.
        said: what that wrote on its error stream.
        differs: files and folders that differ from those of an undisturbed command.
    """

    where: str
    code: int
    said: str
    differs: tuple[str, ...]

    @property
    def kind(self) -> str:
        """``equal``, ``complete`` if all was done before the kill, or ``fault``."""
        if not self.differs and self.code == 0:
            return "equal"
        return "complete" if not self.differs and "exists" in self.said else "fault"


Run = Callable[[], tuple[int, str]]
"""Something that is killed and repeated: returns an exit code and what it says of a mistake."""


def command(*arguments: object) -> Run:
    """A command line, called in this process."""

    def run() -> tuple[int, str]:
        from longtake.cli import INTERRUPTED, main

        err, argv = io.StringIO(), ["longtake", *map(str, arguments)]
        replaced = mock.patch.object(sys, "argv", argv)
        with replaced, redirect_stdout(io.StringIO()), redirect_stderr(err):
            try:
                main()
            except SystemExit as stop:
                if stop.code in INTERRUPTED:  # from outside
                    raise KeyboardInterrupt from stop
                return int(stop.code or 0), err.getvalue()
        return 0, err.getvalue()

    return run


def function(work: Callable[[], object]) -> Run:
    """A function whose mistakes of the user are a ValueError."""

    def run() -> tuple[int, str]:
        try:
            work()
        except ValueError as error:
            return 2, str(error)
        return 0, ""

    return run


def tree(root: Path, clean: Callable[[str, bytes], bytes] = lambda _, data: data) -> Tree:
    """Everything below a folder; ``clean`` removes from a file what differs from run to run."""
    found = {str(path.relative_to(root)): path for path in sorted(root.rglob("*"))}
    return {
        name: clean(name, path.read_bytes()) if path.is_file() else None
        for name, path in found.items()
    }


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Something that writes below ``root``, which is emptied before it begins.

    Attributes:
        run: the command.
        prepare: fills the folder with what the command finds there.
        clean: removes from a file what differs from run to run, such as times.
    """

    root: Path
    run: Run
    prepare: Callable[[Path], object] = lambda root: None
    clean: Callable[[str, bytes], bytes] = lambda _, data: data

    def undisturbed(self) -> tuple[Tree, list[str]]:
        """What the command makes, and its changes of the disk."""
        self.reset()
        with watched(Disk(self.root)) as disk:
            code, said = self.run()
        assert code == 0, said
        return tree(self.root, self.clean), disk.changes

    def repeated(self, expected: Tree, where: str) -> Outcome:
        """Run the command again after a kill."""
        with watched(Disk(self.root)):  # without waiting for the disk
            code, said = self.run()
        got = tree(self.root, self.clean)
        differs = sorted(
            name
            for name in got.keys() | expected.keys()
            if got.get(name, 0) != expected.get(name, 0)
        )
        return Outcome(where=where, code=code, said=said, differs=tuple(differs))

    def everywhere(self, every: int = 1, *, twice: bool = False) -> list[Outcome]:
        """Kill it before each change, or one in ``every``: every second time by a power cut.

        With ``twice``, each time both with and without a power cut.
        """
        expected, changes = self.undisturbed()
        outcomes = []
        with TemporaryDirectory(dir=self.root.parent) as folder:
            left = self._left_behind(Path(folder), every)
            for k, (number, cut_sizes) in enumerate(left.items()):
                for cut in (False, True) if twice else (k % 2 == 1,):
                    shutil.rmtree(self.root)
                    _copy(Path(folder) / str(number), self.root)
                    for name, size in cut_sizes.items() if cut else ():
                        os.truncate(self.root / name, size)
                    where = changes[number] if number < len(changes) else "the end"
                    outcomes.append(self.repeated(expected, where))
        return outcomes

    def _left_behind(self, folder: Path, every: int) -> dict[int, dict[str, int]]:
        """Copy what the command leaves when it is killed before a change, by the change's number.

        Returns what a power cut leaves of each file.
        """
        left: dict[int, dict[str, int]] = {}
        self.reset()
        disk = Disk(self.root)
        disk.keep()

        def keep(number: int) -> None:
            _copy(self.root, folder / str(number))
            left[number] = disk.after_power_cut()

        disk.before = lambda number: None if number % every else keep(number)
        with watched(disk):
            self.run()
        keep(len(disk.changes))
        return left

    def reset(self) -> None:
        """Empty the folder, and put into it what the command finds there."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        self.prepare(self.root)


def _copy(folder: Path, place: Path) -> None:
    """Copy a folder with times of change and links, past those who watch for changes."""
    subprocess.run(["cp", "--archive", str(folder), str(place)], check=True)
