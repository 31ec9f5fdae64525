"""The times of a file's frames, kept as text."""

from pathlib import Path

import numpy as np
import pytest
from films import encode, film

from longtake.video import read_clip, timeline
from longtake.video.timeline import _of_runs, _runs, packed_timeline


@pytest.mark.parametrize("values", [[], [0], [5], [-3, -1, 1], [0, 1, 2, 9, 10, 11, 50]])
def test_runs_give_the_values_back(values: list[int]):
    np.testing.assert_array_equal(_of_runs(_runs(np.array(values, np.int64))), values)


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("avi", "mpeg4")])
def test_a_kept_timeline_is_that_of_the_file(tmp_path: Path, suffix: str, codec: str):
    path = tmp_path / f"film.{suffix}"
    encode(path, film(30, 64, 64), codec, "yuv420p", options={"g": "8"})
    text = packed_timeline(path)
    assert text is not None
    whole, kept = timeline.timeline(path), timeline.timeline(path, text)
    assert kept is not whole
    for field in ("frames", "packets", "first_key", "seekable", "tick_seconds", "last_ticks"):
        assert getattr(kept, field) == getattr(whole, field)
    for field in ("ticks", "keys"):
        np.testing.assert_array_equal(getattr(kept, field), getattr(whole, field))
    np.testing.assert_array_equal(read_clip(path, 9, 4, 2, text), read_clip(path, 9, 4, 2))


def test_a_kept_timeline_of_a_file_that_has_changed_is_not_used(tmp_path: Path):
    path = tmp_path / "film.mp4"
    encode(path, film(30, 64, 64), "libx264", "yuv420p")
    text = packed_timeline(path)
    encode(path, film(12, 64, 64), "libx264", "yuv420p")
    assert timeline.timeline(path, text).frames == 12
