"""What a model cannot make is refused when it is asked for, not when its job starts."""

from pathlib import Path
from typing import Any

import pytest

from longtake.studio.checks import Description, check_video
from longtake.studio.loaded import Loaded, request_of
from longtake.studio.settings import Limits, VideoSettings


@pytest.fixture(scope="module")
def loaded(tiny_text_folder: Path) -> Loaded:
    made = Loaded()
    made.places = {"text": str(tiny_text_folder)}
    return made


@pytest.fixture(scope="module")
def known(loaded: Loaded) -> dict[str, Description]:
    return {"text": loaded.describe("text")}


def settings(**changes: Any) -> VideoSettings:
    return VideoSettings(**{"model": "text", "prompt": "Calm sea!", "frames": 8, **changes})


@pytest.mark.parametrize("changes", [{}, {"label": "calm"}, {"negative": "rain"}])
def test_what_is_accepted_can_be_made(
    loaded: Loaded, known: dict[str, Description], changes: dict[str, Any]
):
    asked = settings(**changes)
    check_video(asked, known, Limits(), Path())
    assert request_of(loaded.model("text"), asked).signals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "calm see"}, "has the word 'see'; did you mean 'sea'"),
        ({"negative": "rane"}, "has the word 'rane'; did you mean 'rain'"),
        ({"prompt": "sea sea sea sea sea"}, "has 5 words, this encoder takes at most 4"),
        ({"label": "wind, lfet"}, "is not a class of this model; did you mean 'wind, left'"),
    ],
)
def test_unknown_words_are_refused_as_the_model_would(
    loaded: Loaded, known: dict[str, Description], changes: dict[str, Any], message: str
):
    asked = settings(**changes)
    with pytest.raises(ValueError, match=message):
        check_video(asked, known, Limits(), Path())
    with pytest.raises(ValueError, match=message):
        request_of(loaded.model("text"), asked)


@pytest.mark.parametrize(
    "given",
    [
        {"start_image": "a" * 12},
        {"start_image": "a" * 12, "end_image": "b" * 12},
        {"continue_video": "a" * 12},
        {"loop": True},
    ],
)
def test_given_frames_that_a_model_cannot_use_are_named_as_the_user_named_them(
    known: dict[str, Description], given: dict[str, Any]
):
    lacking = {"text": {**known["text"], "can": ["make"]}}
    able = {**known["text"], "can": ["make", *given]}
    for field in given:
        almost = {**known["text"], "can": ["make", *(given.keys() - {field})]}
        models = {"text": almost, "other": able}
        with pytest.raises(ValueError, match=f"text cannot use {field}; models that can: other"):
            check_video(settings(**given), models, Limits(), Path())
    with pytest.raises(ValueError, match="no model here can"):
        check_video(settings(**given), lacking, Limits(), Path())
    assert {*given} <= VideoSettings.model_fields.keys()


def test_what_a_model_can_use_is_named_as_the_settings_are(tiny_run_folder: Path):
    made = Loaded()
    made.places = {"volume": str(tiny_run_folder)}
    usable = {*made.describe("volume")["can"]} - {"reconstruct", "make", "live"}
    assert {"start_image", "continue_video"} <= usable <= VideoSettings.model_fields.keys()
