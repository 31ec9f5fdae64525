"""What is done to clips before I3D sees them."""

import pytest
import torch
from torch import Tensor

from longtake.features.i3d import pad_same, same_border
from longtake.features.treatment import Treatment
from longtake.video import to_model


def pixels(frames: int = 2, height: int = 20, width: int = 28) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (frames, height, width, 3)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def every_treatment(size: int) -> list[Treatment]:
    return [
        Treatment(fit=fit, grid=grid, size=size)
        for fit in ("squash", "crop")
        for grid in ("half_pixel", "top_left")
    ]


@pytest.mark.parametrize("treatment", every_treatment(9), ids=str)
def test_pixels_and_what_a_network_makes_of_them_are_treated_alike(treatment):
    torch.testing.assert_close(treatment(to_model(pixels())), treatment(pixels()))


@pytest.mark.parametrize("treatment", every_treatment(8), ids=str)
def test_a_clip_of_the_right_size_keeps_its_pixels(treatment):
    clip = pixels(height=8, width=8)
    torch.testing.assert_close(treatment(clip), to_model(clip))


@pytest.mark.parametrize("treatment", every_treatment(9), ids=str)
@pytest.mark.parametrize(("height", "width"), [(20, 28), (28, 20), (5, 7), (9, 40)])
def test_a_clip_of_any_size_becomes_a_square(treatment, height, width):
    treated = treatment(pixels(height=height, width=width))
    assert treated.shape == (3, 2, 9, 9)
    assert treated.min() >= -1
    assert treated.max() <= 1


def test_cropping_keeps_the_aspect_and_squashing_does_not():
    clip = torch.zeros(1, 8, 16, 3, dtype=torch.uint8)
    clip[:, :, 6:10] = 255
    crop, squash = (Treatment(fit=fit, size=8)(clip)[0, 0, 0] for fit in ("crop", "squash"))
    assert (crop > 0).sum() == 4
    assert (squash > 0).sum() == 2


def test_the_two_grids_differ():
    assert (Treatment(size=9)(pixels()) - Treatment(size=9, grid="top_left")(pixels())).any()


def test_antialiasing_changes_only_frames_that_shrink():
    def differ(size: int) -> bool:
        plain, averaged = (Treatment(size=size, antialias=a)(pixels()) for a in (False, True))
        return not torch.allclose(plain, averaged, atol=1e-5)

    assert differ(9)
    assert not differ(40)


def test_levels_are_rounded_or_truncated():
    level = torch.tensor([10.4, 10.6, -3.0, 300.0]) / 127.5 - 1
    clip = level.view(1, 1, 2, 2).expand(3, 1, 2, 2)
    for treatment, want in (
        (Treatment(levels="round", size=2), [10.0, 11, 0, 255]),
        (Treatment(levels="truncate", size=2), [10.0, 10, 0, 255]),
    ):
        levels = (treatment(clip)[0] + 1) * 127.5
        torch.testing.assert_close(levels.flatten(), torch.tensor(want))


@pytest.mark.parametrize("size", [1, 4, 7, 8])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 2), (3, 1), (2, 2), (1, 1)])
def test_padding_makes_the_output_as_large_as_the_input_over_the_stride(size, kernel, stride):
    front, behind = same_border(size, kernel, stride)
    padded = pad_same(torch.ones(1, 1, size, 1, 1), (kernel, 1, 1), (stride, 1, 1))
    assert padded.shape[2] == size + front + behind
    assert (padded.shape[2] - kernel) // stride + 1 == -(-size // stride)
    assert behind - front in (0, 1)
