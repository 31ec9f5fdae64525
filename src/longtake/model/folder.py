"""Model folders: the networks and settings of a model, written whole and read back."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from longtake.checkpoint import load_component, save_component, whole_folder
from longtake.hub import find_model
from longtake.model.agreement import Networks
from longtake.model.arguments import check_device, check_dtype
from longtake.model.index import (
    AUTOENCODER,
    ModelIndex,
    decoder_folder,
    read_model_files,
    write_index,
)


def load_networks(
    name: str | Path,
    device: torch.device | str,
    dtype: torch.dtype | None,
    *,
    students: bool,
) -> tuple[ModelIndex, dict[str, Any]]:
    """Load settings and networks of a model; each network by the name of its folder.

    Arguments and errors are those of ``VideoModel.from_pretrained``.
    """
    check_device(device)
    check_dtype(dtype)
    folder = find_model(name)
    index, components = read_model_files(folder)
    if students and not index.students:
        raise ValueError(f"students=True: {name} has no students; leave it out")
    index = index.with_students() if students else index.without_students()
    networks = {
        part: load_component(folder / part, components[part], expected).to(device, dtype)
        for part, expected in index.weights.items()
    }
    for part in index.roles.values():
        networks[AUTOENCODER].spec.check_drawn(networks[part].spec, str(folder))
    return index, networks


def save_networks(
    folder: Path,
    model: Networks,
    decoders: Iterable[str],
    *,
    overwrite: bool,
    dtype: torch.dtype | None,
) -> None:
    """Write a model folder, completely or not at all.

    ``decoders`` are the names of the model's other decoders. The other arguments and errors are
    those of ``VideoModel.save_pretrained``.
    """
    check_dtype(dtype)
    parts = model.components
    roles = {
        role: next(name for name, part in parts.items() if part is network)
        for role, network in model.denoisers.items()
    }
    with whole_folder(folder, overwrite=overwrite) as partial:
        weights = {k: save_component(partial / k, part, dtype) for k, part in parts.items()}
        named = {name: decoder_folder(name) for name in decoders}
        index = model.index.model_copy(
            update={"roles": roles, "decoders": named, "weights": weights}
        )
        write_index(partial, index)
