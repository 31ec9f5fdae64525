"""What the synthetic data sets have in common: classes that are left out, and short captions."""

import pytest

from longtake.config import ConfigError, parse
from longtake.data.clips import ClipPlan
from longtake.data.synthetic import DoomWorld, MarblesWorld, SkyWorld, SyntheticSource
from longtake.data.synthetic.attributes import WORLDS

SMALL = ClipPlan(frames=4, height=16, width=16)
EVERY = [DoomWorld, MarblesWorld, SkyWorld]


@pytest.mark.parametrize("kind", EVERY)
def test_a_class_that_is_left_out_is_in_no_video(kind: type[SyntheticSource]) -> None:
    names = kind().classes
    left_out = names[1::3]
    videos = 4 * (len(names) - len(left_out))
    world = kind(plan=SMALL, videos=videos, without=left_out)
    shown = [names[world.label(index)] for index in range(videos)]
    assert {name: shown.count(name) for name in names} == {
        name: 0 if name in left_out else 4 for name in names
    }
    assert world.identity() != kind(plan=SMALL, videos=videos).identity()
    assert "without" not in kind(plan=SMALL).identity()  # as caches before the setting have it


@pytest.mark.parametrize("kind", EVERY)
def test_classes_to_leave_out_must_be_some_of_them(kind: type[SyntheticSource]) -> None:
    names = kind().classes
    with pytest.raises(ConfigError, match=r"there is no class .* did you mean"):
        parse(kind, {"without": [names[0] + "x"]})
    with pytest.raises(ConfigError, match="lists every class"):
        parse(kind, {"without": list(names)})


@pytest.mark.parametrize("kind", [MarblesWorld, SkyWorld])
def test_short_captions_state_what_the_video_shows_and_no_more(
    kind: type[MarblesWorld] | type[SkyWorld],
) -> None:
    world, reader = kind(plan=SMALL, videos=24, short_captions=True), WORLDS[kind().kind]
    assert "short_captions" not in kind(plan=SMALL).identity()  # as caches before it have it
    for index in range(24):
        truth = reader.said(" ".join(world.attributes(index).values()))
        said = [reader.said(world.caption(index, wording=w)) for w in range(16)]
        assert all(words and words.items() <= truth.items() for words in said)
        assert all(len(words) >= len(truth) - 1 for words in said[:10])
        assert {len(words) for words in said[10:]} <= set(range(1, len(truth)))
