"""Decoders of other runs added to a model folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from longtake.checkpoint import save_component, weights_hash, whole_folder
from longtake.hub import find_model
from longtake.model.index import decoder_folder, read_model_files, write_index
from longtake.model.video_model import VideoModel


def save_with_decoders(
    model: str | Path,
    trained: Sequence[str | Path],
    folder: Path,
    *,
    overwrite: bool = False,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a copy of a model folder with the decoders of other models of the same autoencoder.

    Args:
        model: the model; its files are copied as they are.
        trained: models or runs whose decoders are added; they replace those of the same name.
        folder: the folder to write.
        overwrite: replace an existing folder; otherwise it is an ExistsError.
        dtype: dtype of the added decoders' weights as written; None: as loaded.

    Raises:
        CheckpointError: a model is missing or broken.
        ValueError: one of ``trained`` has no decoder, or another autoencoder.
    """
    source = find_model(model)
    base, (index, _) = VideoModel.from_pretrained(source), read_model_files(source)
    weights, decoders = dict(index.weights), dict(index.decoders)
    with whole_folder(folder, overwrite=overwrite) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True)
        for name in trained:
            other = VideoModel.from_pretrained(name)
            if not other.decoders:
                raise ValueError(
                    f"{name} has no decoder besides its autoencoder's; give a run that trained one "
                    "(a config with kind: decoder)"
                )
            if weights_hash(base.autoencoder) != weights_hash(other.autoencoder):
                raise ValueError(
                    f"{name} has another autoencoder than {model}; give a decoder that was trained "
                    f"with model={model}"
                )
            for key, network in other.decoders.items():
                part = decoder_folder(key)
                weights[part] = save_component(partial / part, network, dtype)
                decoders[key] = part
        index = index.model_copy(update={"weights": weights, "decoders": decoders})
        write_index(partial, index)
