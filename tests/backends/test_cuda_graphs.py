"""Networks replayed from CUDA graphs: everything but the graph itself, which needs a GPU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from longtake.autoencoders import VolumeAutoencoderConfig
from longtake.backends import CudaGraphs, cuda_graphs
from longtake.denoisers import VolumeUNetConfig
from longtake.diffusion import ClipSampler, Diffusion
from longtake.diffusion.guidance import ClassifierFree
from longtake.diffusion.samplers import DDIM
from longtake.diffusion.signals import label_signal
from longtake.diffusion.signals.context import context_frames
from longtake.noise import SampleNoise

CONFIG = VolumeUNetConfig(
    latent=(2, 4, 4, 4),
    clip=(8, 16, 16),
    model_channels=8,
    channel_mult=(1,),
    num_res_blocks=1,
    attention_resolutions=(1,),
    groups=4,
    num_classes=3,
    mask_channel=True,
    frame_times=True,
    zero_init=False,
)


@pytest.fixture
def recordings(monkeypatch) -> list[Callable[[], Tensor]]:
    """What was recorded; replays compute again into the same tensor, as a graph does."""
    found: list[Callable[[], Tensor]] = []

    def record(run: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        found.append(run)
        out = run()
        return lambda: out.copy_(run()), out

    monkeypatch.setattr(cuda_graphs, "record", record)
    monkeypatch.setattr(cuda_graphs, "on_gpu", lambda network: True)
    return found


@torch.inference_mode()
def test_clips_are_those_of_torch_and_a_shape_is_recorded_once(recordings):
    network = CONFIG.build().eval()
    replayed = CudaGraphs().denoiser(network)
    plain, ours = (
        ClipSampler(
            denoiser=denoiser,
            diffusion=Diffusion(),
            sampler=DDIM(steps=3),
            guidance=ClassifierFree(scale=2),
        )
        for denoiser in (network, replayed)
    )
    for clip in range(3):
        label = label_signal(torch.tensor([0, 2]) if clip else torch.tensor([1, 1]))
        first = {0: torch.full((2, 2, 4, 4), 0.1 * clip)}
        signals = context_frames(network.spec, first, label)
        seeds = [clip, 5]
        got, want = (s.sample(signals, SampleNoise(seeds)) for s in (ours, plain))
        assert torch.equal(got, want)
    assert len(recordings) == 1


@torch.no_grad()
def test_another_shape_or_schedule_is_recorded_too(recordings):
    network = CudaGraphs().denoiser(CONFIG.build())
    for batch in (1, 2):
        for embedding in (torch.sin, torch.cos):
            z, prepared = torch.zeros(batch, 2, 4, 4, 4), network.prepare({}, embedding)
            network(z, torch.zeros(batch), prepared)
    assert len(recordings) == 4


@torch.no_grad()
def test_decoded_frames_are_those_of_torch(recordings):
    network = VolumeAutoencoderConfig(clip=(4, 8, 8), factors=(2, 2, 2), hidden=4, groups=4).build()
    replayed = CudaGraphs().autoencoder(network)
    z = torch.randn(1, *network.spec.shape)
    assert torch.equal(replayed.decode(z), network.decode(z))
    stream = replayed.stream_decoder()
    stream.push(z)
    assert len(recordings) == 1


def test_networks_on_a_cpu_run_as_they_are(caplog):
    cuda_graphs._say_once.cache_clear()
    network = CONFIG.build()
    assert CudaGraphs().denoiser(network) is network
    assert CudaGraphs().denoiser(network) is network
    assert caplog.messages == ["CUDA graphs need a GPU; networks on cpu run without them"]
