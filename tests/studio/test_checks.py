"""What a model cannot make is refused when it is asked for, not when its job starts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longtake.diffusion.signals.context_cases import Last
from longtake.model import VideoModel
from longtake.rollout import Autoregressive
from longtake.studio.checks import Description, check_change, check_video
from longtake.studio.loaded import Loaded, request_of
from longtake.studio.settings import Change, Limits, VideoSettings


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


def test_a_negative_prompt_without_a_prompt_is_refused_not_ignored(
    known: dict[str, Description],
):
    with pytest.raises(ValueError, match="negative belongs to a prompt"):
        check_change(Change(negative="rain"), known["text"])
    with pytest.raises(ValueError, match="negative belongs to a prompt"):
        check_video(settings(prompt=None, negative="rain"), known, Limits(), Path())


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


def test_an_end_image_alone_is_for_models_that_were_trained_to_lead_up_to_one(
    tiny_model: VideoModel, tmp_path: Path
):
    sampling = tiny_model.index.sampling.model_copy(update={"rollout": Autoregressive()})
    update = {"sampling": sampling, "context_cases": {"first": (Last(),)}}
    masked = replace(tiny_model, index=tiny_model.index.model_copy(update=update))
    masked.save_pretrained(tmp_path / "masked")
    made, upload = Loaded(), "a" * 12
    made.places = {"masked": str(tmp_path / "masked")}
    models = {"masked": made.describe("masked")}
    assert "end_image_alone" in models["masked"]["can"]
    (tmp_path / "uploads" / upload).mkdir(parents=True)
    asked = VideoSettings(model="masked", end_image=upload)
    check_video(asked, models, Limits(), tmp_path)
    both = asked.model_copy(update={"continue_video": upload})
    with pytest.raises(ValueError, match="end_image and continue_video cannot be combined"):
        check_video(both, models, Limits(), tmp_path)
    models["masked"]["can"].remove("end_image_alone")
    with pytest.raises(ValueError, match="end_image needs a start_image too"):
        check_video(asked, models, Limits(), tmp_path)


def test_what_a_model_can_use_is_named_as_the_settings_are(tiny_run_folder: Path):
    made = Loaded()
    made.places = {"volume": str(tiny_run_folder)}
    usable = {*made.describe("volume")["can"]} - {"reconstruct", "make", "live"}
    assert {"start_image", "continue_video"} <= usable <= VideoSettings.model_fields.keys()
