"""Output files of a command that, stopped or killed, continues if repeated, with the same result.

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
    """The output folder holds unfinished files of another request."""

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)


class Outputs:
    """The files that a command makes, which an interrupted command continues.

    Made by ``open_outputs``. Files are made in a hidden folder and moved to their own paths when
    they are complete; those of a set (``Files``) together.

    Args:
        work: hidden folder in which files are made.
        overwrite: replace files that another command made at those paths.
    """

    def __init__(self, work: Path, overwrite: bool) -> None:
        self._work, self._overwrite = work, overwrite
        self._made: set[Path] = set()
        self.begun = False

    def folder(self, files: Files) -> Path:
        """Hidden folder in which to make a set of files, under their names.

        Anything else in it is removed when the set is moved.
        """
        folder = self._work / self._name(files)
        folder.mkdir(exist_ok=True)
        return folder

    def put(self, files: Files) -> None:
        """Move a set of files from its hidden folder; ExistsError if another file is in the way."""
        folder = self.folder(files)
        noted = {path.name: fingerprint(folder / path.name) for path in files}
        write_text(self._note(files), json.dumps(noted, indent=1) + "\n")
        self.made(files)

    def made(self, files: Files) -> bool:
        """Whether a set of files is complete and unchanged; finishes an interrupted move first.

        Raises:
            CheckpointError: the note of the files' hashes is broken.
            ExistsError: a file was put in the place of one to write.
        """
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
        """Begin a request, or continue it if the hidden folder holds the same request.

        Args:
            request: JSON data on which the files depend.
            sets: all sets of files of the request.

        Raises:
            ExistsError: a file exists that was not made for this request, or the hidden folder is
                of another request.
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
        """Remove the hidden folder if all sets of files are made, or if nothing is.

        Raises:
            CheckpointError: a note of files' hashes is broken.
            ExistsError: a file was put in the place of one to write.
        """
        path = self._work / REQUEST
        if not (self.begun and path.exists()):
            return
        if all(self.made(files) for files in sets) or not self._any():
            retire(path)
            remove(self._work)

    def _any(self) -> bool:
        """Whether the hidden folder holds whole files besides the request."""
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
    """Context manager that reserves the files of a request; yields ``Outputs``.

    What an interrupted process made for the same request is kept.

    Args:
        place: folder of the files, which is created if missing, or the path of one of them.
        kind: one word for what makes the files, such as ``generate``.
        request: JSON data on which the files depend.
        sets: all files of the request, in sets that are moved together.
        overwrite: replace files that were there before, and drop unfinished ones of another
            request.
        group: name shared by processes that make the files together; see ``locked``.

    Raises:
        InUseError: another process makes files there.
        ExistsError: a file exists that was not made for this request, or the place holds
            unfinished files of another request.
        CheckpointError: what the place holds is broken.
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
    """Whether a file exists and has the fingerprint that ``noted`` has for its name."""
    try:
        return path.exists() and fingerprint(path) == noted.get(path.name)
    except VideoError:
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except DocumentError as error:
        raise CheckpointError(f"{path}: {error}; remove {path.parent} to begin again") from error
    return found if isinstance(found, dict) else {}
