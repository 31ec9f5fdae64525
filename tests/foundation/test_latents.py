"""What the axes of a latent stand for."""

import pytest
import torch

from longtake.latents import LatentScaling, LatentSpec, Triplane

VOLUME = LatentSpec(shape=(2, 4, 3, 5), clip=(16, 24, 40), frame_axis=2)
FLAT = LatentSpec(shape=(2, 31), clip=(16, 24, 40), frame_axis=None)


def test_a_level_of_a_sample_or_of_a_frame_spreads_over_a_latent():
    z = torch.zeros(2, *VOLUME.shape)
    samples, frames = torch.tensor([1.0, 2.0]), torch.rand(2, 4)
    assert torch.equal((z + VOLUME.expand(samples))[1], torch.full(VOLUME.shape, 2.0))
    assert torch.equal((z + VOLUME.expand(frames))[1, 1, :, 2, 4], frames[1])


def test_latents_stand_for_their_share_of_the_clip():
    assert VOLUME.pixel_frames(torch.zeros(1, 2, 3, 3, 5)) == 12
    assert FLAT.pixel_frames(torch.zeros(1, 2, 31)) == 16


@pytest.mark.parametrize(("frames", "kept"), [(1, 1), (4, 1), (5, 2), (16, 4), (99, 4)])
def test_the_fewest_latents_that_cover_some_frames_are_cut(frames: int, kept: int):
    z = torch.rand(1, *VOLUME.shape)
    assert torch.equal(VOLUME.cut(z, frames), z[:, :, :kept])


def test_a_latent_without_time_is_never_cut_and_has_no_frames():
    z = torch.rand(1, *FLAT.shape)
    assert FLAT.cut(z, 1) is z
    with pytest.raises(ValueError, match=r"shape \(2, 31\) has no time axis"):
        _ = FLAT.frames


def test_planes_that_are_split_join_to_the_same_latent():
    planes = Triplane(frames=2, height=3, width=4)
    z = torch.rand(1, 2, sum(planes.sizes))
    content, motion_h, motion_w = planes.split(z)
    assert content.shape == (1, 2, 3, 4)
    assert motion_h.shape == (1, 2, 2, 3)
    assert motion_w.shape == (1, 2, 2, 4)
    assert torch.equal(planes.join(content, motion_h, motion_w), z)


def test_latent_scaling_is_undone_by_its_inverse():
    z = torch.randn(5, 7) * 3 + 2
    scaling = LatentScaling(shift=-2.0, scale=1 / 3)
    assert abs(scaling.forward(z).std().item() - 1) < 0.3
    torch.testing.assert_close(scaling.inverse(scaling.forward(z)), z)
