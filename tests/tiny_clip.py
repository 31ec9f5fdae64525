"""A CLIP text model of a few thousand random weights, as a folder that transformers reads."""

from pathlib import Path
from string import ascii_lowercase

import torch

WIDTH, TOKENS = 16, 12


def write_tiny_clip(folder: Path) -> Path:
    """Its words are spelled letter by letter."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

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
    pieces = ["<|startoftext|>", "<|endoftext|>", *ascii_lowercase]
    pieces += [letter + "</w>" for letter in ascii_lowercase]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return folder
