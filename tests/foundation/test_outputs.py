"""What is said of the notes of an interrupted command that cannot be used."""

from pathlib import Path

import pytest

from longtake.checkpoint import CheckpointError
from longtake.outputs import REQUEST, open_outputs


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """Path of the request of a command that was interrupted after its first file."""
    (tmp_path / ".made").mkdir()
    (tmp_path / ".made" / "first").touch()
    return tmp_path / ".made" / REQUEST


def opened(note: Path) -> str:
    place = note.parent.parent
    with (
        pytest.raises(CheckpointError) as caught,
        open_outputs(place, "made", {}, [[place / "first"]]),
    ):
        pass
    return str(caught.value)


def test_a_broken_note_is_to_be_removed(note: Path):
    note.write_text("{")
    assert opened(note).endswith(f"; remove {note.parent} to begin again")


def test_a_note_that_cannot_be_read_is_not_to_be_removed(note: Path):
    note.mkdir()  # reading it fails as without permission
    assert opened(note) == f"{note}: cannot be read (not a regular file)"
