"""Files that a command makes, so that one that was stopped or killed continues, and ends as if not.

Files are made in a hidden folder and moved to their places when they are complete. Before that, a
note with their fingerprints is written. So a repeated command knows which of the files that exist
it has made, and never replaces any other.
"""

import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from longtake.checkpoint import CheckpointError, ExistsError, check_free, write_text
from longtake.config import describe_differences, differences, digest
from longtake.data.fingerprint import fingerprint
from longtake.documents import DocumentError, read_json
from longtake.files import locked, put, remove, retire
from longtake.video import VideoError

REQUEST = "request.json"

Files = Sequence[Path]
"""Files of one folder that are moved to their places together."""


class OtherRequestError(ExistsError):
    """The output folder holds the unfinished files of another request."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)


class Outputs:
    """The files of a request; ``open_outputs`` makes one.

    Args:
        work: hidden folder of what is not finished.
        overwrite: replace other files.
    """

    def __init__(self, work: Path, overwrite: bool) -> None:
        self._work, self._overwrite = work, overwrite
        self._made: set[Path] = set()
        self.begun = False

    def folder(self, files: Files) -> Path:
        """Hidden folder to make files in, under their names; whatever else is in it is removed."""
        folder = self._work / self._name(files)
        folder.mkdir(exist_ok=True)
        return folder

    def put(self, files: Files) -> None:
        """Move files from their hidden folder to their places; ExistsError if one is taken."""
        folder = self.folder(files)
        noted = {path.name: fingerprint(folder / path.name) for path in files}
        write_text(self._note(files), json.dumps(noted, indent=1) + "\n")
        self.made(files)

    def made(self, files: Files) -> bool:
        """Whether files are made and unchanged; those that were only noted are moved first."""
        if self._made.issuperset(files):
            return True
        note, folder = self._note(files), self._work / self._name(files)
        if not note.exists():
            return False
        noted = _read(note)
        for path in files:
            if _is(folder / path.name, noted) and not _is(path, noted):
                path.parent.mkdir(parents=True, exist_ok=True)
                put(folder / path.name, check_free(path, self._overwrite))
            elif not _is(path, noted):
                retire(note)
                return False
        remove(folder)
        self._made.update(files)
        return True

    def begin(self, request: Mapping[str, Any], sets: Sequence[Files]) -> None:
        """Begin a request, or continue it if the folder holds the same.

        Raises:
            ExistsError: a file exists that was not made for it, or the folder is of another one.
        """
        path = self._work / REQUEST
        if path.exists() and not self._any():
            retire(path)
        if path.exists() and (changes := self._changes(request)):
            if not self._overwrite:
                raise OtherRequestError(
                    f"{self._work.parent} holds unfinished files of another request, in which "
                    f"{changes}; repeat that one, choose another path or set overwrite=True"
                )
            retire(path)
        new = not path.exists()
        if new:
            remove(self._work)  # of a request that was killed when all of it was done
        for files in sets:
            if not self._note(files).exists():
                for file in files:
                    check_free(file, self._overwrite)
        if new:
            self._work.mkdir()
            write_text(path, json.dumps(request, indent=1) + "\n")

    def end(self, sets: Sequence[Files]) -> None:
        """Remove the hidden folder if all files are made, or nothing at all."""
        path = self._work / REQUEST
        if not (self.begun and path.exists()):
            return
        if all(self.made(files) for files in sets) or not self._any():
            retire(path)
            remove(self._work)

    def _any(self) -> bool:
        """Whether the hidden folder holds anything to continue from."""
        found = (path for path in self._work.rglob("*") if path.is_file())
        return any(p.name != REQUEST and ".partial" not in p.name for p in found)

    def _changes(self, request: Mapping[str, Any]) -> str:
        try:
            before = _read(self._work / REQUEST)
        except CheckpointError:
            if self._overwrite:
                return "something is broken"
            raise
        return describe_differences(differences(before, dict(request)))

    def _note(self, files: Files) -> Path:
        return self._work / f"{self._name(files)}.json"

    def _name(self, files: Files) -> str:
        return digest([os.path.relpath(path, self._work.parent) for path in files])


@contextmanager
def open_outputs(
    place: Path,
    kind: str,
    request: Mapping[str, Any],
    sets: Sequence[Files],
    *,
    overwrite: bool = False,
    group: str = "",
) -> Generator[Outputs]:
    """Hold a place for the files of a request, and continue what was begun there.

    Args:
        place: folder of the files, which is created if need be, or one of them.
        kind: what makes the files, a word.
        request: plain data on which the files depend.
        sets: all files of the request, as they are moved to their places.
        overwrite: replace other files, and drop unfinished ones of another request.
        group: name of the processes that make them together; see ``locked``.

    Raises:
        InUseError: another process makes files there.
        ExistsError: a file exists that was not made for this request, or the place holds
            unfinished files of another request; CheckpointError: what it holds is broken.
    """
    single = any(place in files for files in sets)
    root, stem = (place.parent, f".{place.name}") if single else (place, "")
    new = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    outputs = Outputs(root / f"{stem}.{kind}", overwrite)
    plain = json.loads(json.dumps(request))
    try:
        with locked(
            place,
            root / f"{stem}.{kind}.lock",
            group,
            enter=lambda: outputs.begin(plain, sets),
            leave=lambda: outputs.end(sets),
        ):
            outputs.begun = True
            yield outputs
    finally:
        if new:
            with suppress(OSError):
                root.rmdir()


def _is(path: Path, noted: Mapping[str, Any]) -> bool:
    """Whether a file exists and is the noted one."""
    try:
        return path.exists() and fingerprint(path) == noted.get(path.name)
    except VideoError:
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, DocumentError) as error:
        raise CheckpointError(f"{path}: {error}; remove {path.parent} to begin again") from error
    return found if isinstance(found, dict) else {}
