"""Laws of PSNR and SSIM of clips."""

import pytest
import torch
from torch import Tensor

from longtake.metrics.pairs import psnr, ssim


def clips(batch: int = 2, size: int = 16, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, 4, size, size, generator=generator) * 2 - 1


def test_a_clip_is_itself():
    assert psnr(clips(), clips()).isinf().all()
    torch.testing.assert_close(ssim(clips(), clips()), torch.ones(2))


def test_psnr_of_a_constant_error():
    video = clips() * 0.5
    found = psnr(video, video + 0.2)  # a tenth of the range
    torch.testing.assert_close(found, torch.tensor([20.0, 20.0]))


def test_psnr_is_of_a_clips_squared_error_not_of_its_frames_decibels():
    video = torch.zeros(1, 3, 2, 4, 4)
    other = video.clone()
    other[:, :, 0] = 0.2
    torch.testing.assert_close(psnr(video, other), torch.tensor([23.0103]))


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_a_clip_has_its_measure_in_any_batch(measure):
    video, other = clips(3), clips(3) * 0.9
    together = measure(video, other)
    assert together.shape == (3,)
    torch.testing.assert_close(measure(video[1:2], other[1:2]), together[1:2])


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_more_noise_is_worse(measure):
    video = clips() * 0.5
    noise = clips(seed=1)
    little, much = (measure(video, video + level * noise) for level in (0.05, 0.3))
    assert (little > much).all()


def test_ssim_needs_room_for_its_window():
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, got 8 x 8"):
        ssim(clips(size=8), clips(size=8))
