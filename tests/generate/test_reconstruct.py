"""A video through an autoencoder, window by window."""

import numpy as np
import pytest
import torch

from longtake.autoencoders.streaming import crossfade
from longtake.model import VideoModel
from longtake.reconstruct import reconstruct_frames
from longtake.video import to_model, to_pixels


@pytest.fixture
def autoencoder(tiny_overlapping_model: VideoModel):
    return tiny_overlapping_model.autoencoder


@pytest.fixture
def frames(autoencoder) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (18, *autoencoder.spec.clip[1:], 3), dtype=np.uint8)


def alone(autoencoder, frames: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return autoencoder.decode(autoencoder.encode(to_model(frames)[None]).mean)


def test_windows_that_overlap_are_the_same_ones_faded(autoencoder, frames: np.ndarray):
    first, second = (alone(autoencoder, frames[at : at + 8]) for at in (0, 5))
    faded = crossfade(first[:, :, 5:], second[:, :, :3])
    want = to_pixels(torch.cat([first[:, :, :5], faded, second[:, :, 3:]], 2)[0])
    assert np.array_equal(reconstruct_frames(autoencoder, frames[:13], overlap_frames=3), want)


@pytest.mark.parametrize("overlap", [0, 1, 3, 5])
@pytest.mark.parametrize("count", [1, 3, 8, 9, 11, 13, 18])
def test_a_video_keeps_its_length(autoencoder, frames: np.ndarray, count: int, overlap: int):
    assert len(reconstruct_frames(autoencoder, frames[:count], overlap_frames=overlap)) == count
