"""C3D (Tran et al. 2015), trained on Sports-1M, then on UCF-101: the classifier of Inception Score.

As in the official codes: the layers, the mean volume, BGR order, the last pool that reaches past
the end (TGAN, TGANv2, MAGVIT); frames squashed to 112 x 112 with corners aligned (TGANv2, of which
StyleGAN-V's file is a port, and MAGVIT), or resized to 128 x 128 by OpenCV's bicubic and centre
cropped (TGAN). Outputs have not been compared with the official ones, since the weights may not be
distributed and were not available; ``convert.from_c3d`` writes the file that is read here.
"""

from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Gt, Interval
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool3d

from longtake.checkpoint import fill
from longtake.config import Config
from longtake.features import i3d
from longtake.features.treatment import Frames
from longtake.files import user_cache

Count = Annotated[int, Gt(0)]

FRAMES, SIZE = 16, 112
MEAN = (3, FRAMES, 128, 171)
"""Shape of the mean volume in the order blue, green, red, at the size of C3D's training."""

URL = "https://github.com/rezoo/tgan2/releases/tag/v1.0"
HOW = (
    f"get conv3d_deepnetA_ucf.npz and mean2.npz of TGANv2 ({URL}) and convert them with convert_c3d"
)


class C3DConfig(Config):
    """Weights of the network C3D and preparation of its clips; the defaults are TGANv2's.

    ``longtake.features.c3d.TGAN`` is the preparation of the TGAN paper, which gives other scores.
    Pixels are from 0 to 255 and not rounded after the resize.

    Attributes:
        weights: file that ``convert_c3d`` wrote; None: the file at ``cache_path()``.
        sha256: hash that the file must have; None accepts any.
        resize: height and width in pixels to which frames are squashed before their central 112 x
            112 pixels are taken.
        grid: interpolation of the resize: ``corners`` is bilinear with corners aligned (TGANv2),
            ``cubic`` is OpenCV's bicubic (TGAN).
        mean_column: first of the 112 columns, of 171, of the mean clip that are subtracted; the
            first of its 112 rows, of 128, is row 8.
        last_pool: padding of the last pooling: ``beyond``: past the end only (Caffe, TGAN);
            ``around``: zeros at both ends (the PyTorch ports). Weights fit one of the two.
        width: number of channels of the first layer.
        hidden: width of the two hidden linear layers.
        classes: number of classes.
    """

    kind: Literal["c3d"] = "c3d"
    weights: str | None = None
    sha256: str | None = None
    resize: Annotated[int, Interval(ge=SIZE, le=128)] = SIZE
    grid: Literal["corners", "cubic"] = "corners"
    mean_column: Annotated[int, Interval(ge=0, le=MEAN[3] - SIZE)] = 8
    last_pool: Literal["beyond", "around"] = "beyond"
    width: Count = 64
    hidden: Count = 4096
    classes: Count = 101

    def build(self) -> "C3D":
        """Build the network with its weights.

        Raises:
            CheckpointError: weights are missing, damaged, of other shapes, or not of ``sha256``.
        """
        path = cache_path() if self.weights is None else Path(self.weights).expanduser()
        weights = i3d.read_weights(path, self.sha256, "IS needs the weights of C3D", HOW)
        network = C3D(self)
        fill(network, weights, path)
        return network

    def treat(self, clip: Frames) -> Float[Tensor, "3 t 112 112"]:
        """Resize and crop a clip's frames to the network's input, with levels from 0 to 255."""
        if clip.is_floating_point():
            frames = (rearrange(clip.float(), "c t h w -> t c h w") + 1) * 127.5
        else:
            frames = rearrange(clip, "t h w c -> t c h w").float()
        corners = self.grid == "corners"
        mode, aligned = ("bilinear", True) if corners else ("bicubic", None)
        frames = interpolate(frames, (self.resize,) * 2, mode=mode, align_corners=aligned)
        middle = slice(start := (self.resize - SIZE) // 2, start + SIZE)
        return rearrange(frames[:, :, middle, middle], "t c h w -> c t h w")


TGAN = C3DConfig(resize=128, grid="cubic", mean_column=21 + 8)
"""Preparation of clips as in TGAN: the mean is cropped to columns 21 to 148, then to its centre."""


def cache_path() -> Path:
    """Path of the weights of C3D in the user's cache folder."""
    return user_cache() / "c3d-ucf-101.safetensors"


class C3D(nn.Module):
    """The classifier C3D (Tran et al. 2015) of the Inception Score, frozen and without dropout.

    Training mode changes no result.
    """

    mean: Tensor

    def __init__(self, config: C3DConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.classes
        width, hidden = config.width, config.hidden
        self.conv1a = nn.Conv3d(3, width, 3, padding=1)
        self.conv2a = nn.Conv3d(width, 2 * width, 3, padding=1)
        self.conv3a = nn.Conv3d(2 * width, 4 * width, 3, padding=1)
        self.conv3b = nn.Conv3d(4 * width, 4 * width, 3, padding=1)
        self.conv4a = nn.Conv3d(4 * width, 8 * width, 3, padding=1)
        self.conv4b = nn.Conv3d(8 * width, 8 * width, 3, padding=1)
        self.conv5a = nn.Conv3d(8 * width, 8 * width, 3, padding=1)
        self.conv5b = nn.Conv3d(8 * width, 8 * width, 3, padding=1)
        self.fc6 = nn.Linear(8 * width * 4 * 4, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, config.classes)
        self.register_buffer("mean", torch.zeros(MEAN))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b k"]:
        """Class logits of clips that ``C3DConfig.treat`` has prepared.

        They are computed in float32, without TF32, which PyTorch uses by default on a GPU.

        Raises:
            ValueError: clips have another number or size of frames.
        """
        frames, *size = video.shape[2:]
        if frames != FRAMES or size != [SIZE, SIZE]:
            raise ValueError(
                f"C3D takes clips of {FRAMES} frames of {SIZE} x {SIZE} pixels, got {frames} of "
                f"{size[0]} x {size[1]}; cut such clips and prepare them by C3DConfig.treat"
            )
        with (
            torch.autocast(video.device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        ):
            column = self.config.mean_column
            mean = self.mean[:, :, 8 : 8 + SIZE, column : column + SIZE]
            return self._logits(video.float().flip(1) - mean)

    def _logits(self, x: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b k"]:
        h = max_pool3d(self.conv1a(x).relu(), (1, 2, 2))
        h = max_pool3d(self.conv2a(h).relu(), 2)
        h = max_pool3d(self.conv3b(self.conv3a(h).relu()).relu(), 2)
        h = max_pool3d(self.conv4b(self.conv4a(h).relu()).relu(), 2)
        h = self.conv5b(self.conv5a(h).relu()).relu()
        beyond = self.config.last_pool == "beyond"
        h = max_pool3d(h, 2, ceil_mode=beyond, padding=0 if beyond else (0, 1, 1))
        return self.fc8(self.fc7(self.fc6(h.flatten(1)).relu()).relu())
