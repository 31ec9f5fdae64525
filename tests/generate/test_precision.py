"""Networks in half precision make finite videos; the walk itself stays in float32."""

import itertools

import pytest
import torch

from longtake.model import VideoModel, sampling_with


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("lvdm-sky", torch.bfloat16), ("pvdm-sky", torch.bfloat16), ("pvdm-sky", torch.float16)],
)
def test_a_shipped_model_generates_in_half_precision(name: str, dtype: torch.dtype):
    half, full = (VideoModel.from_pretrained(name, dtype=d) for d in (dtype, torch.float32))
    sampling = sampling_with(half.index.sampling, ["sampler.steps=1"])
    request = half.request([0])
    parts = [next(iter(m.long_video(sampling)(request, 8))) for m in (half, full)]
    assert parts[0].pixels.dtype == torch.float32
    assert torch.isfinite(parts[0].pixels).all()
    difference = (parts[0].pixels - parts[1].pixels).abs().mean()
    assert 0 < difference < 0.05


@pytest.mark.parametrize("name", ["lvdm-sky", "pvdm-sky"])
def test_latents_of_half_precision_networks_are_float32(name: str):
    model = VideoModel.from_pretrained(name, dtype=torch.bfloat16)
    video = model.long_video(sampling_with(model.index.sampling, ["sampler.steps=1"]))
    chunks = video.rollout(video.samplers, model.request([0]))
    for chunk in itertools.islice(chunks, 2):
        assert chunk.z.dtype == torch.float32
