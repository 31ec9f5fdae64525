"""One writer for a place, or the processes of one job."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from longtake.files import InUseError, locked
from longtake.outputs import open_outputs

HOLD = """
import sys
from pathlib import Path
from longtake.files import locked

place = Path(sys.argv[1])
with locked(place, place / sys.argv[2], sys.argv[3], leave=lambda: print("left", flush=True)):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(place: Path, name: str, group: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until it is killed, or its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place), name, group],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_place_that_another_process_writes_to_is_refused_with_who_does(tmp_path: Path):
    files = [tmp_path / "a"]
    with holder(tmp_path, ".made.lock") as process:
        who = f"{tmp_path} is in use: process {process.pid} on {socket.gethostname()} writes to it"
        with pytest.raises(InUseError, match=who), open_outputs(tmp_path, "made", {}, [files]):
            pass
    with open_outputs(tmp_path, "made", {}, [files]):  # the other one was killed
        pass
    assert not list(tmp_path.iterdir())


def test_processes_of_one_job_share_a_lock_and_the_last_one_leaves(tmp_path: Path):
    called: list[str] = []

    def note(what: str) -> Callable[[], None]:
        return lambda: called.append(what)

    path = tmp_path / ".lock"
    with holder(tmp_path, ".lock", "job 7") as other:
        for group in ("", "job 8"):
            with pytest.raises(InUseError), locked(tmp_path, path, group):
                pass
        with locked(tmp_path, path, "job 7", enter=note("enter"), leave=note("leave")):
            assert called == []
        assert called == []
        assert path.exists()
        out, _ = other.communicate("")
        assert out == "left\n"
    assert not path.exists()
    with locked(tmp_path, path, "job 7", enter=note("enter"), leave=note("leave")):
        assert called == ["enter"]
    assert called == ["enter", "leave"]
