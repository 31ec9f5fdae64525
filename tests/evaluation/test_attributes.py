"""What captions say is read off true videos, for each attribute of the synthetic data sets."""

import numpy as np
import pytest

from longtake.data.arrays import ArrayVideos
from longtake.data.clips import ClipPlan
from longtake.data.synthetic import MarblesWorld, SkyWorld
from longtake.data.synthetic.attributes import WORLDS, world_of_captions
from longtake.evaluation.evaluate import evaluate
from longtake.evaluation.feature_sets import EvaluationSettings as Settings
from longtake.evaluation.protocols import protocol

WORLDS_AT = {"sky": SkyWorld, "marbles": MarblesWorld}
LEAST = 0.98


def world(name: str, videos: int = 72, size: int = 32):
    plan = ClipPlan(height=size, width=size)
    return WORLDS_AT[name](plan=plan, videos=videos, split="test", video_frames=64)


@pytest.mark.parametrize("name", WORLDS_AT)
def test_captions_in_every_wording_say_the_truth(name: str):
    shown = world(name, videos=36)
    for index in range(36):
        truth = shown.attributes(index)
        for wording in range(5):
            said = WORLDS[name].said(shown.caption(index, wording=wording))
            assert len(said) >= 2
            for attribute, words in said.items():
                assert all(word in truth[attribute] for word in words)
    assert world_of_captions([shown.caption(0)]) == name


@pytest.mark.parametrize("name", WORLDS_AT)
def test_true_videos_obey_their_captions(name: str):
    source, chosen = world(name, videos=48), protocol("trial", n=48)
    scores = evaluate(None, source, chosen, ["attributes"], Settings()).scores
    assert {*scores} == {"attributes", *(f"{each} right" for each in WORLDS[name].values)}
    for score in scores.values():
        assert score.value >= 100 * LEAST


def test_the_wind_of_clouds_that_move_every_fourth_frame_alone_is_read():
    source = world("sky", videos=24, size=64)
    for index in range(24):
        frames = source.video(index, 0, 16).frames
        for shown in (frames[::4].repeat(4, 0), frames[:3]):
            wind = WORLDS["sky"].shown(shown)["wind"]
            assert wind == (source.attributes(index)["wind"],)


def test_videos_of_other_captions_do_not():
    source = world("marbles", videos=12)
    chosen = protocol("trial", n=12)

    class Swapped(MarblesWorld):
        def caption(self, index: int, start_frame: int = 0, wording: int = 0) -> str:
            return super().caption((index + 1) % 12, start_frame, wording)

    swapped = Swapped.model_validate(source.model_dump())
    score = evaluate(None, swapped, chosen, ["attributes"], Settings()).scores
    assert score["speed right"].value < 10  # which differs between neighbours
    assert score["number right"].value > 70


def test_captions_of_no_world_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"such as 'a dog' state nothing that can be measured"):
        world_of_captions(["a dog"])
    np.save(tmp_path / "a.npy", np.zeros((4, 16, 16, 16, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="has no caption to compare the video with"):
        evaluate(
            None,
            ArrayVideos(tmp_path / "a.npy"),
            protocol("trial", n=4),
            ["attributes"],
            Settings(),
        )
