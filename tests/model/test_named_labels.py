"""Labels that can be set alone: parts of a data set's classes, each a signal of its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from training.tiny_runs import diffusion_run, train, triplane_autoencoder_run, triplane_run

from longtake.config import ConfigError, changed
from longtake.data.synthetic.base import SyntheticSource
from longtake.denoisers import TriplaneUNetConfig, VolumeUNetConfig
from longtake.diffusion import ClassifierFree
from longtake.diffusion.signals import (
    ABSENT,
    draw_named_labels,
    join_class,
    named_label_signals,
    split_class,
    values,
)
from longtake.diffusion.signals import null as null_of
from longtake.model import VideoModel, sampling_with
from longtake.noise import generator
from longtake.rollout import Autoregressive, Change, Steering
from longtake.run_registry import AnySource
from longtake.runs import DiffusionRun

SIZES = {"time": 4, "cover": 3, "wind": 2}
LABELS = "denoiser.labels={time: 4, cover: 3, wind: 2}"
WORLDS = [kind for kind in get_args(get_args(AnySource)[0]) if issubclass(kind, SyntheticSource)]


def test_a_class_is_the_values_of_its_labels_and_back():
    every = [split_class(index, SIZES) for index in range(24)]
    assert len({tuple(row.values()) for row in every}) == 24
    assert [join_class(row, SIZES) for row in every] == list(range(24))
    assert set(split_class(ABSENT, SIZES).values()) == {ABSENT}
    assert join_class({"time": 1, "cover": 2}, SIZES) == ABSENT


@pytest.mark.parametrize("world", WORLDS)
def test_the_labels_of_a_world_are_those_of_its_videos(world: Any):
    source = world(videos=24)
    sizes = {name: len(values) for name, values in source.label_parts.items()}
    for index in (0, 1, 5, 17, 23):
        row = split_class(source.label(index), sizes)
        words = [source.label_parts[name][value] for name, value in row.items()]
        truth = source.attributes(index).values() if world.__name__ != "DoomWorld" else words
        assert set(words) <= set(truth)
        assert all(word in source.classes[source.label(index)] for word in words)


def test_each_label_is_withheld_by_itself():
    drawn = [
        draw_named_labels({"time": 1, "wind": 0}, 0.5, generator(number, "labels"))
        for number in range(400)
    ]
    pairs = torch.tensor([[int(s.value) == ABSENT for s in one.values()] for one in drawn]).float()
    assert (pairs.mean(0) - 0.5).abs().max() < 0.08
    assert abs(float(pairs.prod(1).mean()) - 0.25) < 0.08


TINY = {"model_channels": 8, "channel_mult": (1,), "num_res_blocks": 1, "groups": 4}
NETWORKS = [
    VolumeUNetConfig(
        latent=(2, 2, 4, 4), clip=(4, 16, 16), attention_resolutions=(), labels=SIZES, **TINY
    ),
    TriplaneUNetConfig(
        latent=(2, 2, 4, 4),
        clip=(2, 16, 16),
        attention_resolutions=(1,),
        num_heads=2,
        labels=SIZES,
        zero_init=False,
        **TINY,
    ),
]


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: type(config).__name__)
def test_each_label_moves_the_output_and_its_null_is_its_absence(config: Any):
    network = config.model_copy(update={"zero_init": False}).build().eval()
    z, t = torch.randn(1, *network.spec.shape), torch.tensor([0.5])

    def out(**rows: int) -> torch.Tensor:
        signals = named_label_signals({name: [value] for name, value in rows.items()})
        absent = null_of(signals)
        with torch.no_grad():
            made = network(z, t, network.prepare(values(signals), lambda t: t * 1000))
            gone = network(z, t, network.prepare(values(absent), lambda t: t * 1000))
        assert torch.equal(gone, plain)
        return made

    with torch.no_grad():
        plain = network(z, t, network.prepare({}, lambda t: t * 1000))
    assert not torch.equal(out(time=0), out(time=1))
    assert not torch.equal(out(time=0), out(time=0, wind=1))


@pytest.fixture(scope="module")
def model(tiny_autoencoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> VideoModel:
    folder = tmp_path_factory.mktemp("labels")
    run = diffusion_run(tiny_autoencoder_folder, steps=1)
    train(
        changed(
            DiffusionRun, run, ["denoiser.num_classes=null", "denoiser.zero_init=false", LABELS]
        ),
        folder,
    )
    return VideoModel.from_pretrained(folder / "model")


def test_a_trained_model_knows_the_values_of_its_labels(model: VideoModel):
    assert list(model.index.labels) == list(SIZES)
    assert model.index.labels["wind"] == ("left", "right")


def test_labels_are_set_together_alone_or_not_at_all(model: VideoModel):
    both = model.request([3, 4], "time=dusk, wind=right").signals
    assert {name: signal.value.tolist() for name, signal in both.items()} == {
        "label_time": [1, 1],
        "label_wind": [1, 1],
    }
    whole = model.request([3], "dusk, scattered, right")
    assert model.labels.words(whole.signals, 0) == ["time=dusk", "cover=scattered", "wind=right"]
    assert model.labels.classes_of(whole.signals, 1) == [model.labels.class_of("dusk, scat, right")]
    assert model.labels.classes_of(both, 2) == [ABSENT, ABSENT]
    assert model.labels.words(model.request([3], "none").signals, 0) == []
    drawn = [tuple(model.labels.words(model.request([seed]).signals, 0)) for seed in range(8)]
    assert len(set(drawn)) > 4
    none = model.request([3], "wind=none").signals
    assert none["label_wind"].value.tolist() == [ABSENT]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("tme=dusk", "this model has no label 'tme'; did you mean 'time'"),
        ("time=dsk", "'dsk' is not a value of time; did you mean 'dusk'"),
        ("time=dusk, left", "has no label 'left'"),
        ("dusk", "fits 6 classes of this model; to set it alone give time=dusk"),
    ],
)
def test_a_label_that_does_not_exist_is_refused(model: VideoModel, label: str, message: str):
    with pytest.raises(ValueError, match=message):
        model.request([0], label)


def test_a_label_that_changes_leaves_the_others(model: VideoModel):
    request = model.request([1], "time=dusk, wind=left")
    change = Change(model.label_signals([1], "time=day"))
    changed = change.of(request, Steering()).signals
    assert model.labels.words(changed, 0) == ["time=day", "wind=left"]
    video = replace(model.long_video(), rollout=Autoregressive())
    plain, other = (
        torch.cat([part.pixels for part in video(request, 16, None, Steering(change=log))], 2)
        for log in ({}.get, {1: change}.get)
    )
    assert torch.equal(plain[:, :, :4], other[:, :, :4])
    assert not torch.equal(plain, other)


def test_guidance_contrasts_with_all_labels_absent(model: VideoModel):
    sampling = sampling_with(model.index.sampling, ["guidance.kind=classifier_free"])
    video = model.long_video(sampling)
    assert video.samplers["first"].guidance == ClassifierFree()
    assert next(video(model.request([1], "time=night"), 8)).frames.shape[0] == 1


def test_planes_are_trained_on_named_labels_too(tmp_path: Path):
    train(triplane_autoencoder_run(steps=1), tmp_path / "autoencoder")
    run = triplane_run(tmp_path / "autoencoder" / "model", steps=1)
    train(changed(DiffusionRun, run, ["denoiser.num_classes=null", LABELS]), tmp_path / "run")
    made = VideoModel.from_pretrained(tmp_path / "run" / "model")
    assert made.request([0], "cover=clear").signals.keys() == {"label_cover"}


def test_labels_that_the_data_lacks_are_refused(tiny_autoencoder_folder: Path, tmp_path: Path):
    run = diffusion_run(tiny_autoencoder_folder, steps=1)
    wrong = changed(DiffusionRun, run, ["denoiser.labels={time: 5}"])
    with pytest.raises(ConfigError, match="the labels of the data are time: 4, cover: 3, wind: 2"):
        train(wrong, tmp_path)
