"""Features of videos the plain way: I3D and its preparation as in the PyTorch ports.

Modules have the ports' names, so their weights load as they are: batch normalisation after each
convolution, padding by ``F.pad``, channels before frames. Videos are read and resized one by one.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 224


def padded(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Zeros around a volume, as TensorFlow's "SAME" has them."""
    cells: list[int] = []
    for size, k, s in reversed([*zip(x.shape[2:], kernel, stride, strict=True)]):
        total = max(k - s, 0) if size % s == 0 else max(k - size % s, 0)
        cells += [total // 2, total - total // 2]
    return F.pad(x, cells)


class Unit3D(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int = 1, stride: int = 1, norm=True):
        super().__init__()
        self.conv3d = nn.Conv3d(channels, out, kernel, stride, bias=not norm)
        self.norm = norm
        if norm:
            self.bn = nn.BatchNorm3d(out, eps=1e-5, momentum=0.001)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(padded(x, self.conv3d.kernel_size, self.conv3d.stride))
        return F.relu(self.bn(x)) if self.norm else x


class MaxPool3dSame(nn.Module):
    def __init__(self, kernel: Sequence[int], stride: Sequence[int]):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.pool = nn.MaxPool3d(tuple(kernel), tuple(stride))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(padded(x, self.kernel, self.stride))


class InceptionModule(nn.Module):
    def __init__(self, channels: int, widths: Sequence[int]):
        super().__init__()
        self.b0 = Unit3D(channels, widths[0])
        self.b1a = Unit3D(channels, widths[1])
        self.b1b = Unit3D(widths[1], widths[2], 3)
        self.b2a = Unit3D(channels, widths[3])
        self.b2b = Unit3D(widths[3], widths[4], 3)
        self.b3a = MaxPool3dSame((3, 3, 3), (1, 1, 1))
        self.b3b = Unit3D(channels, widths[5])

    def forward(self, x: Tensor) -> Tensor:
        b1, b2 = self.b1b(self.b1a(x)), self.b2b(self.b2a(x))
        return torch.cat([self.b0(x), b1, b2, self.b3b(self.b3a(x))], dim=1)


class InceptionI3d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D(3, 64, 7, 2)
        self.MaxPool3d_2a_3x3 = MaxPool3dSame((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit3D(64, 64)
        self.Conv3d_2c_3x3 = Unit3D(64, 192, 3)
        self.MaxPool3d_3a_3x3 = MaxPool3dSame((1, 3, 3), (1, 2, 2))
        self.Mixed_3b = InceptionModule(192, (64, 96, 128, 16, 32, 32))
        self.Mixed_3c = InceptionModule(256, (128, 128, 192, 32, 96, 64))
        self.MaxPool3d_4a_3x3 = MaxPool3dSame((3, 3, 3), (2, 2, 2))
        self.Mixed_4b = InceptionModule(480, (192, 96, 208, 16, 48, 64))
        self.Mixed_4c = InceptionModule(512, (160, 112, 224, 24, 64, 64))
        self.Mixed_4d = InceptionModule(512, (128, 128, 256, 24, 64, 64))
        self.Mixed_4e = InceptionModule(512, (112, 144, 288, 32, 64, 64))
        self.Mixed_4f = InceptionModule(528, (256, 160, 320, 32, 128, 128))
        self.MaxPool3d_5a_2x2 = MaxPool3dSame((2, 2, 2), (2, 2, 2))
        self.Mixed_5b = InceptionModule(832, (256, 160, 320, 32, 128, 128))
        self.Mixed_5c = InceptionModule(832, (384, 192, 384, 48, 128, 128))
        self.avg_pool = nn.AvgPool3d((2, 7, 7), stride=1)
        self.dropout = nn.Dropout(0.5)
        self.logits = Unit3D(1024, 400, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        for name, layer in self.named_children():
            if name not in ("avg_pool", "dropout", "logits"):
                x = layer(x)
        x = self.logits(self.dropout(self.avg_pool(x)))
        return x.squeeze(3).squeeze(3).mean(dim=2)


def read_frames(path: Path, start: int, count: int) -> np.ndarray:
    """Frames of a video as PyAV gives them to a loop over its frames."""
    with av.open(str(path)) as container:
        frames = islice(container.decode(video=0), start, start + count)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


def prepared(videos: np.ndarray) -> Tensor:
    """Clips ``(b, t, h, w, 3)`` as the ports prepare them."""
    b, t = videos.shape[:2]
    frames = torch.FloatTensor(videos).flatten(end_dim=1).permute(0, 3, 1, 2).contiguous()
    resized = F.interpolate(frames, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    clips = resized.view(b, t, 3, SIZE, SIZE).transpose(1, 2).contiguous()
    return 2.0 * clips / 255.0 - 1


@torch.no_grad()
def features(
    network: InceptionI3d, files: Sequence[tuple[Path, int]], count: int, batch: int
) -> Tensor:
    """Logits of clips, each a path and its first frame."""
    found = []
    for first in range(0, len(files), batch):
        clips = [read_frames(path, start, count) for path, start in files[first : first + batch]]
        found.append(network(prepared(np.stack(clips))))
    return torch.cat(found)
