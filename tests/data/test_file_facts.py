"""Facts about files are found out once, and again after any change."""

import json
import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from mutations import COUNT, changed, torn

from longtake.data import file_facts as module
from longtake.data.file_facts import file_facts


@pytest.fixture(autouse=True)
def _database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "database", lambda: tmp_path / "facts" / "files.sqlite3")
    monkeypatch.setattr(module, "CLOCK_TICK_NS", 0)


class Reader:
    """Reads files, and counts how often."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: Path) -> str | OSError:
        self.read.append(path.name)
        try:
            return path.read_text() if path.is_file() else str(len(list(path.iterdir())))
        except OSError as error:
            return error


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_whose_name_is_not_utf_8_is_read_each_time(tmp_path: Path):
    read = Reader()
    paths = [put(tmp_path / "a" / os.fsdecode(name), "x") for name in (b"caf\xe9", b"b")]
    assert [file_facts("kind", paths, read) for _ in range(2)] == [["x", "x"]] * 2
    assert read.read == [paths[0].name, "b", paths[0].name]


def test_what_is_known_is_not_computed_again(tmp_path: Path):
    paths = [put(tmp_path / name, name) for name in "abc"]
    read = Reader()
    for _ in range(2):
        assert file_facts("x", paths, read) == ["a", "b", "c"]
    assert sorted(read.read) == ["a", "b", "c"]
    assert file_facts("y", paths[:1] * 2, read) == ["a", "a"]
    assert len(read.read) == 4


def test_a_change_is_seen_even_if_size_and_time_are_put_back(tmp_path: Path):
    path, read = put(tmp_path / "a", "one"), Reader()
    before = path.stat()
    assert file_facts("x", [path], read) == ["one"]
    time.sleep(0.02)
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_facts("x", [path], read) == ["two"]


def test_a_folder_changes_with_its_pictures_alone(tmp_path: Path):
    put(tmp_path / "f" / "1.png", "one")
    read = Reader()
    for name, times in (("2.txt", 1), ("2.png", 1), ("2.png", 2)):
        file_facts("x", [tmp_path / "f"], read)
        assert len(read.read) == times
        time.sleep(0.02)
        put(tmp_path / "f" / name, "two")
    file_facts("x", [tmp_path / "f"], read)
    assert len(read.read) == 3


def test_a_file_that_has_just_changed_is_read_again(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "CLOCK_TICK_NS", 10**12)
    path, read = put(tmp_path / "a", "one"), Reader()
    for _ in range(2):
        file_facts("x", [path], read)
    assert len(read.read) == 2


def test_a_fault_is_not_kept(tmp_path: Path):
    read = Reader()
    (fault,) = file_facts("x", [tmp_path / "a"], read)
    assert isinstance(fault, OSError)
    assert file_facts("x", [put(tmp_path / "a", "one")], read) == ["one"]


def test_a_damaged_fact_is_computed_again(tmp_path: Path):
    draw, fact = random.Random(0), {"frames": 20, "times": [[0, 1], [125, 19]], "name": "\u00e4"}
    path = put(tmp_path / "a", "one")
    assert file_facts("x", [path], lambda _: fact) == [fact]
    whole = module.database().read_bytes()
    with closing(sqlite3.connect(module.database())) as facts:
        ((stored,),) = facts.execute("SELECT value FROM facts").fetchall()
    for number in range(COUNT):
        if number % 2:
            module.database().write_bytes(torn(whole, draw))
        else:
            text = stored[: module.SUM] + json.dumps(changed(fact, draw))
            value = draw.choice([text, text[module.SUM :], 3, None, stored.encode()])
            module.database().write_bytes(whole)
            with closing(sqlite3.connect(module.database())) as facts, facts:
                facts.execute("UPDATE facts SET value = ?", (value,))
        assert file_facts("x", [path], lambda _: fact) == [fact]


@pytest.mark.parametrize("damage", ["broken", "folder", "other"])
def test_a_database_that_cannot_be_used_costs_time_only(tmp_path: Path, damage: str):
    path = put(tmp_path / "a", "one")
    place = module.database()
    if damage == "folder":
        place.mkdir(parents=True)
    elif damage == "broken":
        put(place, "no database")
    else:
        place.parent.mkdir()
        with closing(sqlite3.connect(place)) as other, other:
            other.execute("CREATE TABLE facts (something)")
    for _ in range(2):
        assert file_facts("x", [path], Reader()) == ["one"]
