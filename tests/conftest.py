"""Golden tensors of the official implementations, and a model of a few thousand weights."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from golden_case import FOLDERS, Golden
from mutations import Tally
from safetensors.torch import load_file

if TYPE_CHECKING:
    from longtake.model import VideoModel


COVERING = {"diffusion", "rollout", "model"}
"""Folders of the tests that are written for the code whose coverage the Makefile prints."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage, where it is asked for, slows the other tests by half and tells nothing of them."""
    for item in items:
        if item.path.parent.name not in COVERING:
            item.add_marker("no_cover")


@pytest.fixture
def golden() -> Callable[[str], Golden]:
    """Load a case by ``"lvdm/unet_short"``; the test is skipped where it is not available."""

    def load(case: str) -> Golden:
        for folder in FOLDERS:
            path = folder / f"{case}.safetensors"
            if path.exists():
                tensors = {
                    k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()
                }
                return Golden(
                    info=json.loads(path.with_suffix(".json").read_text()), tensors=tensors
                )
        pytest.skip(f"golden case {case} is not available")

    return load


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny networks are fastest on one thread, in this process and in those that tests start."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _keep_bytecode() -> None:
    """Processes that tests start do not compile the package each: a fifth of a CPU second."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What tests write need not survive a power cut; to force it to the disk costs milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept about files stays out of the user's cache folder."""
    from longtake.data import file_facts

    path = tmp_path_factory.mktemp("facts") / "files.sqlite3"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_facts, "database", lambda: path)
        yield


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def tally(record_property: Callable[[str, Any], None]) -> Iterator[Tally]:
    """Opens inputs, and reports how many were accepted."""
    tally = Tally(record_property)
    yield tally
    tally.close()


@pytest.fixture(scope="session")
def tiny_model() -> "VideoModel":
    """Clips of 8 x 16 x 16 pixels and 4 latent frames, three classes, hierarchical rollout.

    Its weights are drawn, not trained: what it makes differs from seed to seed, class to class.
    """
    from longtake.autoencoders.volume import VolumeAutoencoderConfig
    from longtake.denoisers.volume_unet import VolumeUNetConfig
    from longtake.diffusion import DDIM, Diffusion
    from longtake.model import ModelIndex, Sampling, VideoModel
    from longtake.rollout import Hierarchical

    def denoiser(frames: int) -> VolumeUNetConfig:
        return VolumeUNetConfig(
            latent=(2, frames, 4, 4),
            clip=(2 * frames, 16, 16),
            model_channels=8,
            groups=4,
            channel_mult=(1, 2),
            num_res_blocks=1,
            attention_resolutions=(2,),
            num_classes=3,
            mask_channel=True,
            noise_classes=16,
            zero_init=False,
        )

    with torch.random.fork_rng():
        torch.manual_seed(0)
        autoencoder = VolumeAutoencoderConfig(
            clip=(8, 16, 16), factors=(2, 4, 4), hidden=4, groups=4, z_channels=2
        )
        index = ModelIndex(
            fps=8.0,
            diffusion=Diffusion(prediction="v"),
            sampling=Sampling(sampler=DDIM(steps=2), rollout=Hierarchical(), context_noise=0.01),
            classes=("calm", "wind, left", "wind, right"),
            made_by="tests",
        )
        return VideoModel(
            index=index,
            autoencoder=autoencoder.build().eval(),
            denoisers={
                "first": denoiser(4).build().eval(),
                "interpolator": denoiser(3).build().eval(),
            },
        )


@pytest.fixture(scope="session")
def tiny_triplane_model() -> "VideoModel":
    """PVDM: clips of 8 x 16 x 16 pixels, three classes, clip after clip; weights are drawn."""
    from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
    from longtake.denoisers.triplane_unet import TriplaneUNetConfig
    from longtake.diffusion import DDIM, Diffusion
    from longtake.model import ModelIndex, Sampling, VideoModel
    from longtake.rollout import NextClip

    with torch.random.fork_rng():
        torch.manual_seed(0)
        autoencoder = TriplaneAutoencoderConfig(
            clip=(8, 16, 16), patch=4, width=16, depth=1, heads=2, head_channels=8, embed_dim=2
        )
        denoiser = TriplaneUNetConfig(
            latent=(2, 8, 4, 4),
            clip=(8, 16, 16),
            model_channels=8,
            channel_mult=(1, 2),
            num_res_blocks=1,
            num_heads=2,
            num_classes=3,
            groups=4,
            zero_init=False,
        )
        index = ModelIndex(
            fps=8.0,
            diffusion=Diffusion(prediction="v"),
            sampling=Sampling(sampler=DDIM(steps=2), rollout=NextClip()),
            classes=("calm", "wind, left", "wind, right"),
            made_by="tests",
        )
        return VideoModel(
            index=index,
            autoencoder=autoencoder.build().eval(),
            denoisers={"first": denoiser.build().eval()},
        )


@pytest.fixture(scope="session")
def tiny_overlapping_model(tiny_triplane_model: "VideoModel") -> "VideoModel":
    """The same, whose clips share 3 frames with the one before."""
    from dataclasses import replace

    from longtake.denoisers import TriplaneUNet

    network = tiny_triplane_model.denoisers["first"]
    assert isinstance(network, TriplaneUNet)
    again = network.config.model_copy(update={"clip_overlap_frames": 3}).build().eval()
    again.load_state_dict(network.state_dict())
    return replace(tiny_triplane_model, denoisers={"first": again})


@pytest.fixture(scope="session")
def tiny_autoencoder_folder(
    tiny_model: "VideoModel", tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny model's autoencoder alone, to train denoisers on. Only to be read."""
    from longtake.model import ModelIndex, VideoModel

    folder = tmp_path_factory.mktemp("tiny") / "autoencoder"
    index = ModelIndex(fps=8.0)
    VideoModel(index=index, autoencoder=tiny_model.autoencoder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_text_folder(tiny_model: "VideoModel", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with attention to text, after captions of calm, sea, storm and rain."""
    from longtake.denoisers.volume_unet import VolumeUNet
    from longtake.nn.transformer import TransformerConfig
    from longtake.rollout import Autoregressive
    from longtake.text import WordCodes

    network = tiny_model.denoisers["first"]
    assert isinstance(network, VolumeUNet)
    attention = TransformerConfig(num_heads=2, context_dim=16, max_distance=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reads = network.config.model_copy(update={"attention": attention}).build().eval()
    encoder = WordCodes(states_width=16, tokens=4).trained_on(["calm sea", "storm, rain"])
    sampling = tiny_model.index.sampling.model_copy(update={"rollout": Autoregressive()})
    index = tiny_model.index.model_copy(update={"text_encoder": encoder, "sampling": sampling})
    path = tmp_path_factory.mktemp("text") / "model"
    replace(tiny_model, index=index, denoisers={"first": reads}).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_run_folder(tiny_model: "VideoModel", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run, whose ``model`` is the tiny one. Only to be read."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    tiny_model.save_pretrained(folder / "model")
    return folder
