"""What networks over a volume are conditioned on beside the noisy latent, and its embedding."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longtake.diffusion.process import Embedding
from longtake.nn.layers import FrameEmbedding


@dataclass(frozen=True, kw_only=True)
class VolumeConditions:
    """Signals in the form and dtype that the network reads, and ``embedding`` of ``prepare``.

    A signal that is not given is None.
    """

    embedding: Embedding
    text: Float[Tensor, "b n d"] | None
    mask: Float[Tensor, "b f 1 1 1"] | None  # 1 where a frame is a context frame
    context_time: tuple[Tensor, Tensor] | None  # context frames with their own time, and that time
    table_rows: Sequence[tuple[nn.Module, Tensor]]  # the row of each sample, negative for none

    def frame_embedding(
        self,
        t: Float[Tensor, "..."],
        time_embed: nn.Module,
        text_embed: nn.Module | None,
        known_time_embed: nn.Module | None = None,
    ) -> FrameEmbedding:
        """Embedding of time, of context frames' own time, of tables' rows and of the text.

        Args:
            t: times of shape ``(b)``, for an embedding that all frames share, or ``(b, f)``.
            time_embed: embeds a time.
            text_embed: embeds the states of a text; None: the text is not embedded.
            known_time_embed: embeds the time of context frames; None: ``time_embed`` does.
        """
        emb = time_embed(self.embedding(t))
        emb = emb if t.ndim == 2 else emb[:, None]
        if self.context_time is not None:
            given, time = self.context_time
            embed = known_time_embed or time_embed
            emb = torch.where(given[..., None], embed(time)[:, None], emb)
        for table, index in self.table_rows:
            emb = emb + table(index)[:, None]
        if text_embed is not None and self.text is not None:
            emb = emb + text_embed(self.text)[:, None]
        return emb
