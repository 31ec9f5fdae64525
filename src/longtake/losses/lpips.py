"""LPIPS on VGG16 (Zhang et al. 2018), as in the official LVDM code, with weights from files."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import MinLen
from jaxtyping import Float
from torch import Tensor, nn

from longtake.checkpoint import CheckpointError, check_finite, read_tensors
from longtake.documents import open_regular
from longtake.losses.frames import FrameDistance, Frames, Perceptual, freeze, unit_difference

SHIFT = (-0.030, -0.088, -0.188)
"""Mean of ImageNet's red, green and blue pixels in [-1, 1]."""

SCALE = (0.458, 0.448, 0.450)
"""Standard deviation of ImageNet's red, green and blue pixels in [-1, 1]."""

SLICES = (
    (64, (0, 2)),
    (128, (5, 7)),
    (256, (10, 12, 14)),
    (512, (17, 19, 21)),
    (512, (24, 26, 28)),
)
"""For each layer that LPIPS compares: its channels, and the positions in torchvision's VGG16 of the
convolutions from the layer before to it."""

_CONVOLUTION = re.compile(r"(?:^|\.)(?:net\.slice\d|features)\.(\d+)\.(weight|bias)$")
_HEAD = re.compile(r"(?:^|\.)lin(\d)\.model\.1\.weight$")


class LPIPS(Perceptual):
    """Settings of LPIPS, the perceptual loss of both papers; its weights do not come with longtake.

    ``Perceptual`` describes the other fields.

    Attributes:
        files: one file with all weights, or VGG16 (torchvision's ``vgg16-397923af.pth``) and
            LPIPS's linear layers (``vgg.pth``): safetensors, or files of ``torch.save``, which
            torch's restricted unpickler reads. Names of the weights may be those of
            taming-transformers, lpips or torchvision.
    """

    kind: Literal["lpips"] = "lpips"
    files: Annotated[tuple[str, ...], MinLen(1)]

    def build(self) -> "LPIPSDistance":
        """Build the distance.

        A CheckpointError if a file cannot be read, or weights are missing or of another network.
        """
        weights: dict[str, Tensor] = {}
        origins: dict[str, str] = {}
        for file in self.files:
            found = _read(Path(file))
            weights |= found
            origins |= dict.fromkeys(found, file)
        return LPIPSDistance(weights, origins)


class LPIPSDistance(FrameDistance):
    """The perceptual distance LPIPS with VGG16.

    Unlike in the official code, no dropout precedes the linear layers: there it is active by
    mistake whenever the model trains.

    Args:
        weights: tensors by their names in the files that ``LPIPS`` describes.
        origins: file of each weight by its name, for error messages; may lack any.

    Raises:
        CheckpointError: a weight is missing, not finite, of another shape or of another network.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, weights: Mapping[str, Tensor], origins: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.convolutions = nn.ModuleDict()
        channels_in = 3
        for channels, positions in SLICES:
            for position in positions:
                self.convolutions[str(position)] = nn.Conv2d(channels_in, channels, 3, padding=1)
                channels_in = channels
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width, _ in SLICES)
        self._load(weights, origins or {})
        freeze(self)

    def forward(self, x: Frames, y: Frames) -> Float[Tensor, "n"]:
        """LPIPS of each pair of frames, whose pixels are in [-1, 1].

        It is the weighted squared difference of normalised features: mean over pixels, sum over
        layers.
        """
        taps = zip(self.heads, self.features(x), self.features(y), strict=True)
        each = [head(unit_difference(a, b)).float().mean((1, 2, 3)) for head, a, b in taps]
        return torch.stack(each).sum(0)

    def features(self, x: Frames) -> list[Tensor]:
        """Outputs, for pixels in [-1, 1], of VGG16's ReLUs relu1_2, 2_2, 3_3, 4_3 and 5_3."""
        h = (x - self.shift) / self.scale
        found: list[Tensor] = []
        for _, positions in SLICES:
            if found:
                h = nn.functional.max_pool2d(h, 2)
            for position in positions:
                h = nn.functional.relu(self.convolutions[str(position)](h))
            found.append(h)
        return found

    def _load(self, weights: Mapping[str, Tensor], origins: Mapping[str, str]) -> None:
        shapes = {name: tuple(x.shape) for name, x in self.state_dict().items()}
        ours: dict[str, Tensor] = {}
        for name, tensor in weights.items():
            own = _own_name(name)
            if own is None:
                continue
            shape, expected = tuple(tensor.shape), shapes.get(own)
            if shape != expected:
                raise CheckpointError(
                    f"{origins.get(name, 'LPIPS')}: {name!r} has shape {shape}, but VGG16 with "
                    f"LPIPS's linear layers has {expected or 'no such weight'}; give the files of "
                    "that network, vgg16-397923af.pth and vgg.pth"
                )
            ours[own] = tensor
        missing = sorted(shapes.keys() - ours.keys())
        if missing:
            heads = missing[0].startswith("heads")
            part = "LPIPS's linear layers, vgg.pth" if heads else "VGG16, vgg16-397923af.pth"
            raise CheckpointError(
                f"LPIPS lacks {len(missing)} of its weights, such as {missing[0]}; "
                f"give the file of {part}, too"
            )
        check_finite(ours, "LPIPS")
        self.load_state_dict(ours)


def _own_name(name: str) -> str | None:
    """Name in ``LPIPSDistance`` of a weight of a file; None for weights that it has no use for."""
    if match := _CONVOLUTION.search(name):
        return f"convolutions.{match[1]}.{match[2]}"
    if match := _HEAD.search(name):
        return f"heads.{match[1]}.weight"
    return None


def _read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name; a CheckpointError if none of them belongs to LPIPS."""
    found = _unpacked(path)
    weights = found.get("state_dict", found) if isinstance(found, dict) else {}
    if not isinstance(weights, dict):
        weights = {}
    tensors = {
        name: x for name, x in weights.items() if isinstance(name, str) and isinstance(x, Tensor)
    }
    if not any(map(_own_name, tensors)):
        raise CheckpointError(
            f"{path}: has no weight with a name of VGG16 or of LPIPS's linear layers, such as "
            "'features.0.weight' and 'lin0.model.1.weight'; give vgg16-397923af.pth and vgg.pth"
        )
    return tensors


def _unpacked(path: Path) -> Any:
    """Contents of a safetensors file or a file of ``torch.save``, of which nothing is executed."""
    try:
        if path.suffix == ".safetensors":
            return read_tensors(path)
        with open_regular(path) as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # what a damaged file raises can be of any type
        raise CheckpointError(
            f"{path}: holds more than weights or is damaged ({_reason(error)}); "
            "save the weights as safetensors"
        ) from error


def _reason(error: Exception) -> str:
    """Say what a file of ``torch.save`` names besides weights, or else the type of ``error``.

    Not the error's whole text, which advises to execute the file.
    """
    named = re.search(r"GLOBAL (\S+)", str(error))
    return f"it names {named[1]}" if named else type(error).__name__
