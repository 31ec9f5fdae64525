"""Trainings in stages are tested without the weights of I3D that may be installed here."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_i3d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
