import importlib.util
import sys

import numpy as np
import pytest

from longtake.data.clips import ClipPlan
from longtake.data.synthetic.doom import MAPS, TURNINGS, DoomWorld
from longtake.data.synthetic.doom_walker import load

needs_vizdoom = pytest.mark.skipif(
    importlib.util.find_spec("vizdoom") is None, reason="vizdoom is not installed"
)
WORLD = DoomWorld(plan=ClipPlan(frames=8, height=32, width=32))


@needs_vizdoom
def test_a_walk_is_the_same_again_after_another_and_from_any_frame() -> None:
    whole = WORLD.video(0, 0, 24).frames
    WORLD.video(5, 0, 2)
    np.testing.assert_array_equal(WORLD.video(0, 16, 8).frames, whole[16:])
    np.testing.assert_array_equal(WORLD.video(0, 4, 8).frames, whole[4:12])


@needs_vizdoom
def test_every_frame_of_a_walk_shows_something_new() -> None:
    frames = WORLD.video(5, 0, 64).frames.astype(np.int16)
    assert np.abs(np.diff(frames, axis=0)).mean((1, 2, 3)).min() > 1
    assert frames.std() > 10


@needs_vizdoom
def test_a_clip_says_its_map_pace_and_turning() -> None:
    clip = WORLD.video(0, 8, 8)
    kinds = WORLD.attributes(0, 8)
    assert clip.frames.shape == (8, 32, 32, 3)
    assert clip.label == 0
    assert WORLD.classes[0] == kinds["map"] == "maze"
    assert kinds["turning"] in TURNINGS
    assert clip.caption is not None
    assert kinds["pace"] in clip.caption
    assert kinds["turning"] in clip.caption


@needs_vizdoom
def test_a_frame_before_the_first_is_refused() -> None:
    with pytest.raises(ValueError, match="start_frame=-1 must be 0 or more"):
        WORLD.video(0, -1, 2)


@needs_vizdoom
def test_a_picture_larger_than_dooms_screen_is_refused() -> None:
    large = DoomWorld(plan=ClipPlan(frames=1, height=2000, width=2000))
    with pytest.raises(ValueError, match="size 2000x2000 must be at most"):
        large.video(0, 0, 1)


def test_labels_take_the_maps_in_turn() -> None:
    assert [WORLD.label(index) for index in range(6)] == [0, 1, 2, 3, 4, 0]
    assert WORLD.classes == tuple(MAPS)


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(ImportError, match=r"pip install 'longtake\[doom\]'"):
        load()
