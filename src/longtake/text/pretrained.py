"""Text encoders of transformers: CLIP, T5, and sentence encoders such as MiniLM."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.checkpoint import check_finite, weights_hash
from longtake.nn import Count
from longtake.text.encoder import EncodeText, TextEncoder
from longtake.text.transformers_files import LOCAL, opened_by_transformers

TEXT_PARTS = {
    "clip": "CLIPTextModel",
    "clip_text_model": "CLIPTextModel",
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
}
"""Class in transformers of the text part of models that have other parts, by ``model_type``."""

CAUSAL = ("clip", "clip_text_model")
"""``model_type`` of text models whose tokens attend only to those before them."""


class PretrainedText(TextEncoder):
    """The last hidden states of a text model of transformers, loaded from local files.

    The defaults are those of LVDM's text-to-video model and of Stable Diffusion 1: CLIP ViT-L/14,
    texts padded to 77 tokens, hidden states of the padding included.

    Attributes:
        name: id in the Hugging Face hub of a model that has been downloaded, or a folder.
        tokens: number of tokens; longer texts are cut, shorter ones padded.
        keep_padding: leave the hidden states of padding as they are, as Stable Diffusion does; if
            false, no token attends to padding, whose states are 0. None: true for CLIP, whose
            tokens attend to those before them only, and false for others.
        weights: SHA-256 of the weights with which a video model was trained; empty: not known.
    """

    kind: Literal["pretrained"] = "pretrained"
    name: str = "openai/clip-vit-large-patch14"
    tokens: Count = 77
    keep_padding: bool | None = None
    weights: str = ""

    @property
    def width(self) -> None:
        return None

    def load(self, folder: Path | None = None) -> EncodeText:
        tokenizer, network = _loaded(self.name if folder is None else str(folder), self.name)
        if self.weights and weights_hash(network) != self.weights:
            raise ValueError(
                f"text encoder {folder or self.name}: its weights are not those that the model was "
                f"trained with (SHA-256 {self.weights[:12]}...); give the folder of {self.name}"
            )
        if tokenizer.pad_token is None:
            raise ValueError(
                f"text encoder {folder or self.name}: its tokenizer has no padding token, so texts "
                "cannot have one length; set pad_token in its tokenizer_config.json"
            )
        causal = network.config.model_type in CAUSAL
        keep = causal if self.keep_padding is None else self.keep_padding

        @torch.no_grad()
        def encode(texts: Sequence[str]) -> Float[Tensor, "b n d"]:
            batch = tokenizer(
                list(texts),
                padding="max_length",
                max_length=self.tokens,
                truncation=True,
                return_tensors="pt",
            )
            mask = batch["attention_mask"]
            shown = {} if keep else {"attention_mask": mask}
            states = network(input_ids=batch["input_ids"], **shown).last_hidden_state.float()
            return states if keep else states.masked_fill(mask[..., None] == 0, 0.0)

        return encode

    def trained_on(self, captions: Iterable[str]) -> "PretrainedText":
        del captions
        return self.model_copy(update={"weights": weights_hash(_loaded(self.name, self.name)[1])})


@lru_cache(maxsize=2)
def _loaded(place: str, name: str) -> tuple[Any, Any]:
    """Load tokenizer and text network, frozen, of the folder or hub id ``place``.

    A ValueError if that fails, with the hub id ``name`` in its message; a CheckpointError if a
    weight is not finite.
    """
    remedy = (
        "not a text model of transformers on this machine ({reason}); give its folder, or "
        f"download it with: hf download {name}"
    )
    with opened_by_transformers(f"text encoder {place}", remedy) as transformers:
        config = transformers.AutoConfig.from_pretrained(place, **LOCAL)
        kind = getattr(transformers, TEXT_PARTS.get(config.model_type, "AutoModel"))
        network = kind.from_pretrained(place, use_safetensors=True, **LOCAL)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, **LOCAL)
    check_finite(network.state_dict(), f"text encoder {place}")
    return tokenizer, network.eval().requires_grad_(False)
