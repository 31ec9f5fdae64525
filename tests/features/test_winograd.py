"""The convolution of few products is the convolution."""

import pytest
import torch

from longtake.features.i3d import Unit, pad_same
from longtake.features.winograd import TimeConv


def clip(
    frames: int, dtype: torch.dtype = torch.float64, height: int = 5, width: int = 4
) -> torch.Tensor:
    torch.manual_seed(frames)
    return torch.randn(1, 3, frames, height, width, dtype=dtype)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (7, 2), (6, 2)])
def test_it_is_the_direct_convolution_at_any_length(frames: int, kernel: int, stride: int):
    conv = torch.nn.Conv3d(3, 7, kernel, stride, dtype=torch.float64).requires_grad_(False)
    assert conv.bias is not None
    x = clip(frames * stride, height=5 * stride, width=4 * stride)
    fast = TimeConv(conv.weight, conv.bias, stride, frames)
    got = fast(x[0].movedim(0, -1)).movedim(-1, 0)[None]
    want = torch.relu(conv(pad_same(x, (kernel, kernel, kernel), (stride, stride, stride))))
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_a_unit_follows_its_weights_and_the_clips_length():
    unit = Unit(3, 7, 3)
    for frames in (4, 2, 8):
        for _ in range(2):
            for parameter in unit.parameters():
                torch.nn.init.normal_(parameter)
            x = clip(frames, torch.float32)
            want = torch.relu(unit.conv(pad_same(x, unit.kernel, unit.stride)))
            torch.testing.assert_close(unit(x), want, rtol=1e-5, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_clip_has_its_features_in_any_batch_and_in_bfloat16_nearly(kernel: int):
    unit = Unit(3, 7, kernel)
    clips = torch.cat([clip(4, torch.float32), -clip(4, torch.float32)])
    rows = unit(clips)
    torch.testing.assert_close(torch.cat([unit(c[None]) for c in clips]), rows)
    half = unit.bfloat16()(clips.bfloat16())
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.float(), rows, rtol=0.02, atol=0.03)
