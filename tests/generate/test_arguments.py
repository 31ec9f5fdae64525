"""Arguments of ``VideoModel`` as users of other libraries write them.

Many are not of the annotated types, so this file is not in ``tests/model``, where ``make test``
checks annotations.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longtake.backends import CudaGraphs
from longtake.given import FilledVideo, LoopedVideo, StartedVideo
from longtake.model import ModelIndex, VideoModel
from longtake.text import Prompt


@pytest.mark.parametrize("seeds", [torch.arange(2), np.arange(2), range(2), iter((0, 1))])
def test_seeds_of_every_integer_type_are_the_seeds_of_their_values(
    tiny_model: VideoModel, seeds: Any
):
    asked = tiny_model.request(seeds)
    assert [type(seed) for seed in asked.seeds] == [int, int]
    assert asked.seeds == (0, 1)


@pytest.mark.parametrize("seeds", [0, "calm", [0.5], [], [torch.Generator()], torch.Generator()])
def test_what_is_not_a_seed_is_refused(tiny_model: VideoModel, seeds: Any):
    with pytest.raises(ValueError, match=r"^seeds=.*: expected whole numbers, one per video"):
        tiny_model.request(seeds)


@pytest.mark.parametrize("number", [1, np.int64(1)])
def test_a_class_may_be_given_by_its_number(tiny_model: VideoModel, number: Any):
    one, two = (tiny_model.request([0], label).signals["label"] for label in (number, "1"))
    assert torch.equal(one.value, two.value)


def test_a_prompt_may_be_a_text_or_one_for_each_video(tiny_text_folder: Path):
    model = VideoModel.from_pretrained(tiny_text_folder)
    for text in ("calm sea", ["calm sea", "storm"]):
        plain, named = (model.request([0, 1], prompt=p) for p in (text, Prompt(text)))
        one, two = plain.signals["text"], named.signals["text"]
        assert torch.equal(one.value, two.value)
        assert torch.equal(one.null, two.null)


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_refused(tiny_text_folder: Path, device: str):
    with pytest.raises(ValueError, match=f"^device={device}: no such device here .*; try cpu$"):
        VideoModel.from_pretrained(tiny_text_folder, device=device)


@pytest.mark.parametrize("dtype", ["float16", torch.int8, float])
def test_what_is_not_a_dtype_of_weights_is_refused(
    tiny_model: VideoModel, tiny_text_folder: Path, tmp_path: Path, dtype: Any
):
    message = "^dtype=.*: expected a floating-point dtype such as torch.float16$"
    with pytest.raises(ValueError, match=message):
        VideoModel.from_pretrained(tiny_text_folder, dtype=dtype)
    with pytest.raises(ValueError, match=message):
        tiny_model.save_pretrained(tmp_path / "model", dtype=dtype)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("frames", [-1, 0, 8.0, "8"])
def test_a_number_of_frames_that_no_video_has_is_refused(tiny_model: VideoModel, frames: Any):
    video = tiny_model.long_video()
    given = np.zeros((2, 16, 16, 3), np.uint8)
    streams = (
        video,
        FilledVideo(video=video, frames=given),
        StartedVideo(video=video, frames=given),
        LoopedVideo(video=video, opening=video),
    )
    for stream in streams:
        with pytest.raises(ValueError, match=f"^frames={frames!r}: expected a whole number"):
            next(stream(tiny_model.request([0]), frames))


@pytest.mark.parametrize("label", [["calm"], ["calm", "wind, left"], 1.0, {"time": "dusk"}])
def test_what_is_not_one_label_is_refused(tiny_model: VideoModel, label: Any):
    for ask in (
        lambda: tiny_model.request([0], label),
        lambda: tiny_model.label_signals([0], label),
        lambda: tiny_model.signals_of([0], label, None),
        lambda: tiny_model.labels.class_of(label),
    ):
        with pytest.raises(ValueError, match=r"^label=.*: expected one text or number for all"):
            ask()


@pytest.mark.parametrize("prompt", [5, [], [0, 1], {"calm": 1}, Prompt(5)])  # pyright: ignore[reportArgumentType]
def test_what_is_not_a_prompt_is_refused(tiny_text_folder: Path, prompt: Any):
    model = VideoModel.from_pretrained(tiny_text_folder)
    with pytest.raises(ValueError, match=r"^prompt=.*: expected a text, or a list of one text"):
        model.request([0], prompt=prompt)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("backend", "openvino", "backend='openvino': expected None for PyTorch, or a backend such"),
        ("backend", CudaGraphs, "backend=<class .*: expected None for PyTorch, or a backend such"),
        ("sampling", "ddim", "sampling='ddim': expected None or a longtake.Sampling, such as"),
        ("sampling", {"steps": 3}, "sampling={'steps': 3}: expected None or a longtake.Sampling"),
    ],
)
def test_what_is_not_a_backend_or_settings_of_sampling_is_refused(
    tiny_model: VideoModel, name: str, value: Any, message: str
):
    given: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"^{message}"):
        tiny_model.long_video(**given)
    with pytest.raises(ValueError, match=f"^{message}"):
        tiny_model.clip_sampler("first", **given)


@pytest.mark.parametrize("role", ["frist", None, 0])
def test_a_role_that_is_not_there_is_refused(tiny_model: VideoModel, role: Any):
    with pytest.raises(
        ValueError, match=r"^role=.*: no such role; (did you mean 'first'|valid are first, next)"
    ):
        tiny_model.clip_sampler(role)


def test_a_model_without_denoisers_has_no_clip_sampler(tiny_model: VideoModel):
    alone = VideoModel(index=ModelIndex(), autoencoder=tiny_model.autoencoder)
    with pytest.raises(ValueError, match="no network that samples clips, only autoencoder"):
        alone.clip_sampler("first")


@pytest.mark.parametrize("decoder", [None, 0, "lihgt"])
def test_a_decoder_that_is_not_there_is_refused(tiny_model: VideoModel, decoder: Any):
    with pytest.raises(ValueError, match=r"^decoder .*: this model has no such decoder; valid are"):
        tiny_model.autoencoder_with(decoder)


@pytest.mark.parametrize("other", ["lvdm-sky", None])
def test_what_is_not_a_model_cannot_be_merged(tiny_model: VideoModel, other: Any):
    with pytest.raises(ValueError, match=r"^merge\(.*\): expected a VideoModel; open it by"):
        tiny_model.merge(other)
