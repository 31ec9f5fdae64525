"""C3D (Tran et al. 2015), trained on Sports-1M and then on UCF-101: the classes of Inception Score.

Read in the official codes, and the same here: the layers, the mean volume, BGR order, the last pool
that reaches past the end (TGAN, TGANv2, MAGVIT); frames squashed to 112 x 112 with corners aligned
(TGANv2, of which StyleGAN-V's file is a port, and MAGVIT) or to 128 x 128 by OpenCV's bicubic and
then the middle (TGAN). Not checked against them: numbers, for the weights are not ours to give and
were not at hand; ``export.from_c3d`` writes the file that is read here.
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
from longtake.features.weight_file import read_weights

Count = Annotated[int, Gt(0)]

FRAMES, SIZE = 16, 112
MEAN = (3, FRAMES, 128, 171)
"""Shape of the mean volume: blue, green, red; of frames as C3D was trained on them."""

PLACE = "https://github.com/rezoo/tgan2/releases/tag/v1.0"
HOW = (
    f"get conv3d_deepnetA_ucf.npz and mean2.npz of TGANv2 ({PLACE}) and bring them in with "
    "`longtake convert c3d`"
)


class C3DConfig(Config):
    """Which C3D, and how clips are brought to it. The defaults are TGANv2's.

    ``TGAN`` is the first paper's way, which gives other scores. Both see clips in levels from 0 to
    255, without a rounding.

    Attributes:
        weights: a file that ``convert_c3d`` wrote; where None, the one in ``cache_path()``.
        sha256: that the file must have; None takes any.
        resize: frames are squashed to this many pixels a side; then the middle 112 are taken.
        grid: of that resize: ``corners``, bilinear between the pixels' centres, those in the
            corners staying (TGANv2); ``cubic``, as OpenCV's (TGAN).
        mean_column: where the mean's 112 columns begin, of 171; its rows begin at 8.
        last_pool: ``beyond``: its last cells reach past the end (Caffe, TGAN); ``around``: zeros on
            both sides (the PyTorch ports). Weights go with one.
        width: channels of the first layer.
        hidden: width of the layers before the classes.
        classes: of the data set that it was trained on last.
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
        """The network, with its weights.

        Raises:
            CheckpointError: there are no weights, or they are others than expected.
        """
        path = cache_path() if self.weights is None else Path(self.weights).expanduser()
        needed = "IS needs the weights of C3D"
        weights = read_weights(path, sha256=self.sha256, needed=needed, how=HOW)
        network = C3D(self)
        fill(network, weights, path)
        return network

    def treat(self, clip: Frames) -> Float[Tensor, "3 t 112 112"]:
        """A clip as the network takes it: levels from 0 to 255, not rounded."""
        if clip.is_floating_point():
            frames = (rearrange(clip.float(), "c t h w -> t c h w") + 1) * 127.5
        else:
            frames = rearrange(clip, "t h w c -> t c h w").float()
        size = (self.resize, self.resize)
        if self.grid == "corners":
            frames = interpolate(frames, size, mode="bilinear", align_corners=True)
        else:
            frames = interpolate(frames, size, mode="bicubic")
        start = (self.resize - SIZE) // 2
        middle = frames[:, :, start : start + SIZE, start : start + SIZE]
        return rearrange(middle, "t c h w -> c t h w")


TGAN = C3DConfig(resize=128, grid="cubic", mean_column=21 + 8)
"""The first paper's way; its mean is cut to columns 21 to 148, then with the frames."""


def cache_path() -> Path:
    """Where ``convert_c3d`` writes, and ``C3DConfig`` reads, unless they are told otherwise."""
    return i3d.cache_path().with_name("c3d-ucf-101.safetensors")


class C3D(nn.Module):
    """Built by ``C3DConfig``. It is frozen, and the same in every mode: nothing is dropped out."""

    mean: Tensor

    def __init__(self, config: C3DConfig) -> None:
        super().__init__()
        self.config = config
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

    @property
    def width(self) -> int:
        """How many numbers describe a clip."""
        return self.config.classes

    @torch.no_grad()
    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b k"]:
        """Logits of the classes, of clips that ``C3DConfig.treat`` made.

        They are computed in float32: not in TF32, as PyTorch convolves on a GPU unless it is told.

        Raises:
            ValueError: clips of another length or size.
        """
        frames, *size = video.shape[2:]
        if frames != FRAMES or size != [SIZE, SIZE]:
            raise ValueError(
                f"C3D takes clips of {FRAMES} frames of {SIZE} x {SIZE} pixels, got {frames} of "
                f"{size[0]} x {size[1]}; cut clips of {FRAMES} frames and treat them"
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
        if self.config.last_pool == "beyond":
            h = max_pool3d(h, 2, ceil_mode=True)
        else:
            h = max_pool3d(h, 2, padding=(0, 1, 1))
        return self.fc8(self.fc7(self.fc6(h.flatten(1)).relu()).relu())
