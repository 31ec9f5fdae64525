"""Text and image models of a few thousand random weights, as folders that transformers reads."""

from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch

WIDTH, TOKENS = 16, 12


def write_tiny_clip(folder: Path) -> Path:
    """A CLIP text model."""
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=64,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    CLIPTextModel(config).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def write_tiny_text_and_image_clip(folder: Path) -> Path:
    """A whole CLIP model, of frames of 8 x 8 pixels, with its tokenizer and image processor."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    torch.manual_seed(0)
    sizes = {"intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "hidden_size": WIDTH, "vocab_size": 64, "max_position_embeddings": TOKENS}
    text |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = {**sizes, "hidden_size": WIDTH, "image_size": 8, "patch_size": 4}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)
    CLIPModel(config).save_pretrained(folder)
    size: dict[str, Any] = {"size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 8}}
    CLIPImageProcessorPil(**size).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    """Words are spelled letter by letter."""
    from transformers import CLIPTokenizer

    pieces = ["<|startoftext|>", "<|endoftext|>", *ascii_lowercase]
    pieces += [letter + "</w>" for letter in ascii_lowercase]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=[])


def write_tiny_t5(folder: Path, kind: str = "T5") -> Path:
    """The encoder of T5, or of its kin ``MT5`` and ``UMT5``."""
    import transformers

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 64, "d_model": WIDTH, "d_kv": 8, "d_ff": 32}
    config = getattr(transformers, f"{kind}Config")(**sizes, num_layers=1, num_heads=2)
    getattr(transformers, f"{kind}EncoderModel")(config).save_pretrained(folder)
    _words().save_pretrained(folder)
    return folder


def write_tiny_mt5(folder: Path) -> Path:
    return write_tiny_t5(folder, "MT5")


def write_tiny_umt5(folder: Path) -> Path:
    return write_tiny_t5(folder, "UMT5")


def write_tiny_sentence_encoder(folder: Path) -> Path:
    """A BERT model, as MiniLM and other sentence encoders are."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 64, "hidden_size": WIDTH, "intermediate_size": 32}
    config = BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=2)
    BertModel(config).save_pretrained(folder)
    _words().save_pretrained(folder)
    return folder


def _words() -> Any:
    """A tokenizer of a few words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<unk>", "calm", "sea", "storm", "over", "hills"]
    model: Any = WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    tokenizer: Any = Tokenizer(model)
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
