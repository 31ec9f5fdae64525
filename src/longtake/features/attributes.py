"""Attributes of a synthetic data set as features of a clip, cached like other features."""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from longtake.data.synthetic.attributes import WORLDS, Said


class AttributeReader(nn.Module):
    """Feature network that measures the attributes of a synthetic data set, such as its wind.

    Each feature stands for a word of an attribute, such as ``left`` of ``wind``: it is 1 if a clip
    shows it, else 0. ``world`` is the data set, ``sky`` or ``marbles``.
    """

    def __init__(self, world: str) -> None:
        super().__init__()
        self.reader = WORLDS[world]
        self.words = [(name, word) for name, each in self.reader.values.items() for word in each]
        self.identity: Any = {"attributes of": world, "words": self.words, "version": 2}
        self.register_buffer("place", torch.zeros(()))

    @property
    def width(self) -> int:
        """Number of features: that of the words of all attributes."""
        return len(self.words)

    def treat(self, clip: UInt8[Tensor, "t h w 3"]) -> Float[Tensor, "3 t h w"]:
        """Convert the frames of a clip to floats from 0 to 255."""
        return rearrange(clip.float(), "t h w c -> c t h w")

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        """Features of clips of levels 0 to 255: 1 for a word of an attribute that a clip shows."""
        clips = rearrange(video, "b c t h w -> b t h w c").cpu().byte().numpy()
        shown = [self.reader.shown(clip) for clip in clips]
        return torch.tensor(
            [[word in row[name] for name, word in self.words] for row in shown]
        ).float()

    def agree(self, name: str, shown: Float[Tensor, "d"], said: Said) -> bool:
        """Whether a clip shows, of the attribute ``name``, what its caption states.

        ``shown`` are the clip's features, ``said`` the words of the caption by attribute, with one
        for ``name``.
        """
        rows = zip(self.words, shown.tolist(), strict=True)
        own = {word for (attribute, word), flag in rows if attribute == name and flag}
        return own == said[name]
