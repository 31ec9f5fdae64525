"""Laws of PSNR and SSIM of clips."""

import numpy as np
import pytest
import torch
from skimage import metrics as skimage
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from longtake.metrics.pairs import frame_psnr, psnr, ssim
from longtake.video import to_model


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


def uint8_pair(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    video = random.integers(0, 256, (4, *size, 3), dtype=np.uint8)
    spread = np.array([2.0, 8, 20, 60])[:, None, None, None]
    noisy = video + spread * random.standard_normal(video.shape)
    return video, np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(11, 12), (32, 48)])
def test_ssim_and_both_psnr_are_those_of_scikit_image(size: tuple[int, int]):
    pair = uint8_pair(size)
    x, y = (to_model(video)[None] for video in pair)
    each = [
        skimage.structural_similarity(
            *frames,
            channel_axis=2,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for frames in zip(*pair, strict=True)
    ]
    assert float(ssim(x, y)) == pytest.approx(np.mean(each), abs=1e-5)
    whole = skimage.peak_signal_noise_ratio(*pair, data_range=255)
    frames = [skimage.peak_signal_noise_ratio(*p, data_range=255) for p in zip(*pair, strict=True)]
    assert float(psnr(x, y)) == pytest.approx(whole, abs=1e-4)
    assert float(frame_psnr(x, y)) == pytest.approx(np.mean(frames), abs=1e-4)
    first, second = (torch.from_numpy(side / 255) for side in pair)
    again = peak_signal_noise_ratio(first, second, 1.0)
    assert float(psnr(x, y)) == pytest.approx(float(again), abs=1e-4)


def test_ssim_does_not_collapse_near_grey():
    grey, lighter = (to_model(np.full((1, 32, 32, 3), v, np.uint8))[None] for v in (127, 135))
    assert float(ssim(grey, lighter)) == pytest.approx(0.9981, abs=1e-4)


def test_noise_in_the_rim_counts_only_where_windows_reach():
    """Centres of windows lie five pixels from the border, as in scikit-image and piq."""
    video = torch.zeros(1, 3, 1, 32, 32)
    corner = video.clone()
    corner[..., 0, 0] = 1
    assert 0.999 < float(ssim(video, corner)) < 1


@pytest.mark.parametrize("measure", [psnr, frame_psnr, ssim])
def test_a_clip_has_its_measure_in_any_batch(measure):
    video, other = clips(3), clips(3) * 0.9
    together = measure(video, other)
    assert together.shape == (3,)
    torch.testing.assert_close(measure(video[1:2], other[1:2]), together[1:2])


@pytest.mark.parametrize("measure", [psnr, frame_psnr, ssim])
def test_more_noise_is_worse(measure):
    video = clips() * 0.5
    noise = clips(seed=1)
    little, much = (measure(video, video + level * noise) for level in (0.05, 0.3))
    assert (little > much).all()


def test_ssim_needs_room_for_its_window():
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, got 8 x 8"):
        ssim(clips(size=8), clips(size=8))
