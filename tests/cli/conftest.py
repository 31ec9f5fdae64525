"""The command line, as a user calls it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True, kw_only=True)
class Called:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def longtake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Called]:
    """Call the entry point in this process."""
    from longtake.cli import main

    def call(*arguments: object) -> Called:
        monkeypatch.setattr(sys, "argv", ["longtake", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        reported = capsys.readouterr()
        return Called(code=code, out=reported.out, err=reported.err)

    return call
