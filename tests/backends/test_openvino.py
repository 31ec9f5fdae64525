"""OpenVINO's programs compute what torch does, are kept, and are refused where they differ."""

import copy
import functools
import importlib
import logging
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_decoder import LARGE

from longtake.autoencoders import Redecoded
from longtake.backends import BackendError, OpenVINO
from longtake.backends import openvino as module
from longtake.denoisers import TriplaneUNetConfig, VolumeTransformerConfig, VolumeUNetConfig
from longtake.diffusion import Denoiser
from longtake.diffusion.schedule import ScaledLinear
from longtake.model import VideoModel

CLIP = {"clip": (8, 16, 16), "model_channels": 8, "channel_mult": (1,), "num_res_blocks": 1}
SMALL = {**CLIP, "groups": 4, "num_classes": 3, "zero_init": False}
NETWORKS = {
    "volume": VolumeUNetConfig(
        **SMALL,
        latent=(2, 4, 4, 4),
        attention_resolutions=(1,),
        mask_channel=True,
        noise_classes=16,
    ),
    "transformer": VolumeTransformerConfig(
        latent=(2, 4, 4, 4),
        width=16,
        depth=1,
        num_heads=2,
        num_classes=3,
        mask_channel=True,
        zero_init=False,
    ),
    "triplane": TriplaneUNetConfig(**SMALL, latent=(2, 8, 4, 4), num_heads=2),
}
CONTEXT = {
    "context": torch.ones(2, 2, 4, 4, 4),
    "context_mask": torch.eye(2, 4).bool(),
    "context_noise": torch.tensor([0.01, -1.0]),
}
SIGNALS = {
    "volume": CONTEXT,
    "transformer": CONTEXT,
    "triplane": {"previous": torch.linspace(-1, 1, 2 * 2 * 80).reshape(2, 2, 80)},
}


@pytest.fixture(autouse=True)
def _no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of torch's exporter, which pytest would collect, are most of its time."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "propagate", False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@functools.cache
def weights(kind: str) -> dict[str, torch.Tensor]:
    """The same random weights in every test, so that they share exported programs."""
    torch.manual_seed(0)
    return NETWORKS[kind].build().state_dict()


def prediction(network: Denoiser, signals: dict[str, torch.Tensor]) -> torch.Tensor:
    z = torch.linspace(-2, 2, 2 * math.prod(network.spec.shape)).reshape(2, *network.spec.shape)
    t = torch.tensor([0.3, 0.9], dtype=torch.float64)  # as samplers give it
    given = {"label": torch.tensor([2, -1]), **signals}
    with torch.inference_mode():  # as videos are made
        return network(z, t, network.prepare(given, ScaledLinear().embedding))


def light(model: VideoModel) -> Redecoded:
    """The model's autoencoder with a light decoder."""
    return Redecoded(model.autoencoder, LARGE.build())


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_denoiser_predicts_as_torch_does_and_its_program_is_kept(kind: str, folder: Path):
    network = NETWORKS[kind].build().eval()
    network.load_state_dict(weights(kind))
    said: list[str] = []
    made = prediction(OpenVINO(folder=folder, say=said.append).denoiser(network), SIGNALS[kind])
    assert torch.allclose(made, prediction(network, SIGNALS[kind]), rtol=0, atol=5e-6)
    assert len(said) == 1
    again = OpenVINO(folder=folder, say=pytest.fail).denoiser(network)
    assert torch.equal(prediction(again, SIGNALS[kind]), made)


@pytest.fixture
def own_folder(folder: Path, tmp_path: Path) -> Path:
    """Copy of the programs exported so far, without what was compiled of them."""
    ignored = shutil.ignore_patterns(f"{module.COMPILED}_*")
    return shutil.copytree(folder, tmp_path / "programs", ignore=ignored)


def compiled(folder: Path) -> dict[Path, int]:
    files = [file for file in folder.glob(f"*/{module.COMPILED}_*/*") if file.is_file()]
    return {file: file.stat().st_mtime_ns for file in files}


def test_compiled_programs_are_kept_for_each_precision_and_compute_the_same(own_folder: Path):
    network = NETWORKS["triplane"].build().eval()
    network.load_state_dict(weights("triplane"))

    def predicted(**settings: Any) -> torch.Tensor:
        denoiser = OpenVINO(folder=own_folder, **settings).denoiser(network)
        return prediction(denoiser, SIGNALS["triplane"])

    made = predicted()
    kept = compiled(own_folder)
    assert len(kept) == 1
    assert torch.equal(predicted(), made)
    assert compiled(own_folder) == kept
    predicted(precision="bfloat16")
    assert len(compiled(own_folder)) == 2


def test_a_damaged_compiled_program_is_compiled_again(own_folder: Path):
    network = NETWORKS["triplane"].build().eval()
    network.load_state_dict(weights("triplane"))
    run = OpenVINO(folder=own_folder)
    made = prediction(run.denoiser(network), SIGNALS["triplane"])
    (kept,) = compiled(own_folder)
    kept.write_bytes(kept.read_bytes()[:1000])
    assert torch.equal(prediction(run.denoiser(network), SIGNALS["triplane"]), made)


def test_a_stopped_video_continues_bit_for_bit(folder: Path, tiny_triplane_model: VideoModel):
    model, frames = tiny_triplane_model, 3 * tiny_triplane_model.autoencoder.spec.clip[0]
    request = model.request([3])
    whole = list(model.long_video(backend=OpenVINO(folder=folder))(request, frames))
    assert len(whole) > 2
    for number in range(len(whole) - 1):
        later = model.long_video(backend=OpenVINO(folder=folder))  # as another process opens it
        rest = list(later(request, frames, whole[number].state))
        for part, expected in zip(rest, whole[number + 1 :], strict=True):
            assert torch.equal(part.pixels, expected.pixels)


def test_a_program_first_used_in_a_training_of_half_precision_is_that_of_float32(
    tmp_path: Path, tiny_model: VideoModel
):
    network = light(tiny_model)
    z = torch.randn(1, *network.spec.shape)
    with torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16):
            made = OpenVINO(folder=tmp_path).autoencoder(network).decode(z)
            assert not torch.allclose(made, network.decode(z).float(), rtol=0, atol=5e-6)
        assert torch.allclose(made, network.decode(z), rtol=0, atol=5e-6)


def test_videos_are_decoded_as_torch_does(
    folder: Path, tiny_model: VideoModel, tiny_triplane_model: VideoModel
):
    backend = OpenVINO(folder=folder)
    for model, z in (
        (tiny_model, torch.randn(1, 2, 7, 4, 4)),
        (tiny_triplane_model, torch.randn(1, 2, 160)),
    ):
        network = model.autoencoder
        made, expected = (
            torch.cat([*each.stream_decode([z])], 2)
            for each in (backend.autoencoder(network), network)
        )
        assert torch.allclose(made, expected, rtol=0, atol=5e-6)


def test_a_light_decoder_decodes_as_torch_does(folder: Path, tiny_model: VideoModel):
    network, z = light(tiny_model), torch.randn(1, 2, 13, 4, 4)
    made, expected = (
        torch.cat([*each.stream_decode([z])], 2)
        for each in (OpenVINO(folder=folder).autoencoder(network), network)
    )
    assert torch.allclose(made, expected, rtol=0, atol=5e-6)


def test_a_program_that_differs_from_torch_is_refused_and_not_kept(
    tmp_path: Path, tiny_triplane_model: VideoModel, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "TOLERANCE", 0.0)
    monkeypatch.setattr(module, "ROUNDING", 0.0)
    decoder = OpenVINO(folder=tmp_path).autoencoder(tiny_triplane_model.autoencoder)
    z = torch.randn(1, *decoder.spec.shape).tanh()
    with pytest.raises(BackendError, match=r"differs from torch in float64 by .* backend=None"):
        decoder.decode(z)
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_a_program_may_round_as_torch_does_and_no_further(
    tmp_path: Path, tiny_triplane_model: VideoModel, monkeypatch: pytest.MonkeyPatch
):
    network = tiny_triplane_model.autoencoder
    programs = OpenVINO(folder=tmp_path).autoencoder(network)
    z = torch.randn(1, *programs.spec.shape, generator=torch.manual_seed(0)).tanh()
    monkeypatch.setattr(module, "TOLERANCE", 0.0)
    assert torch.allclose(programs.decode(z), network.decode(z), rtol=0, atol=5e-6)
    exact = copy.deepcopy(network).double().decode(z.double())
    usual = 1e-5 * max(1.0, float(exact.abs().max()))
    module.check_rounding("Decoder", exact + 2 * usual, exact - usual, exact)
    with pytest.raises(BackendError, match=r"of Decoder differs from torch .* by 4\.0e-05"):
        module.check_rounding("Decoder", exact + 4 * usual, exact - usual, exact)


@torch.no_grad()
def test_float64_decides_where_torch_is_as_far_off_itself(
    tmp_path: Path, tiny_triplane_model: VideoModel, monkeypatch: pytest.MonkeyPatch
):
    network = tiny_triplane_model.autoencoder
    first = OpenVINO(folder=tmp_path / "first").autoencoder(network)
    double = copy.deepcopy(network).double()
    for seed in range(50):
        z = torch.randn(1, *first.spec.shape, generator=torch.manual_seed(seed)).tanh()
        found, exact = first.decode(z), double.decode(z.double())
        far, true = (module.distance(found, other) for other in (network.decode(z), exact))
        if true < far:
            break
    else:
        pytest.fail("torch is nearer to float64 in all of 50 decodes")
    monkeypatch.setattr(module, "TOLERANCE", (true + far) / 2)
    again = OpenVINO(folder=tmp_path / "again").autoencoder(network)
    assert torch.equal(again.decode(z), found)


def test_a_network_of_a_backend_is_the_same_network_otherwise(folder: Path, tiny_model: VideoModel):
    network = tiny_model.denoisers["first"]
    run = OpenVINO(folder=folder).denoiser(network)
    assert type(run) is type(network)
    assert run.reads == network.reads
    assert run.state_dict().keys() == network.state_dict().keys()
    with pytest.raises(ValueError, match="times of shape"):
        run(torch.zeros(1, *run.spec.shape), torch.zeros(2), ({}, lambda t: t))


def test_only_float32_on_the_cpu_is_run(folder: Path, tiny_model: VideoModel):
    with pytest.raises(BackendError, match="these are bfloat16 on cpu; open the model"):
        OpenVINO(folder=folder).autoencoder(
            type(tiny_model.autoencoder)(tiny_model.autoencoder.config).bfloat16()  # pyright: ignore
        )


def test_bfloat16_is_near_and_says_where_the_cpu_has_none(
    folder: Path,
    tiny_triplane_model: VideoModel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    network = tiny_triplane_model.autoencoder
    z = torch.randn(2, *network.spec.shape).tanh()
    near = OpenVINO(precision="bfloat16", folder=folder).autoencoder(network).decode(z)
    assert (near - network.decode(z)).abs().max() < 0.05
    monkeypatch.setattr(module, "has_bfloat16", lambda: False)
    OpenVINO(precision="bfloat16", folder=folder)
    assert "this CPU has no bfloat16 instructions" in caplog.text


def test_the_package_is_imported_without_its_telemetry():
    assert importlib.import_module("longtake.backends.openvino")._openvino()
    assert not sys.modules.get("openvino_telemetry")


def test_it_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"pip install 'longtake\[fast\]'"):
        OpenVINO()
