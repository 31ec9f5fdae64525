"""Students beside their teachers in one model folder."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from longtake.checkpoint import save_component, weights_hash, whole_folder
from longtake.diffusion import Denoiser
from longtake.hub import INDEX
from longtake.model.index import ModelIndex, RoleSampling, Student, write_index
from longtake.model.video_model import VideoModel
from longtake.rollout import Role

ROLES: Sequence[Role] = ("first", "next", "interpolator")


def save_with_students(
    teacher: str | Path,
    distilled: Sequence[str | Path],
    folder: Path,
    *,
    overwrite: bool = False,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model folder with a teacher's networks and, beside them, those distilled from them.

    Args:
        teacher: the model that was distilled.
        distilled: models or runs of distillations; each gives its networks that are not the
            teacher's, in their roles (``first``, ``next``, ``interpolator``).
        folder: the folder to write.
        overwrite: replace an existing folder; otherwise it is an ExistsError.
        dtype: dtype of the written weights; None: as loaded.

    Raises:
        CheckpointError: a model is missing or broken.
        ValueError: one of ``distilled`` has no network that is not the teacher's, or another
            autoencoder.
    """
    base = VideoModel.from_pretrained(teacher)
    found: dict[Role, tuple[Denoiser, RoleSampling]] = {}
    for name in distilled:
        found |= _students(base, VideoModel.from_pretrained(name), str(name))
    with whole_folder(folder, overwrite=overwrite) as partial:
        base.save_pretrained(partial, overwrite=True, dtype=dtype)
        index = ModelIndex.model_validate(json.loads((partial / INDEX).read_text(encoding="utf-8")))
        weights, students = dict(index.weights), {}
        names = {network: f"student_{role}" for role, (network, _) in reversed(found.items())}
        for network, part in names.items():
            weights[part] = save_component(partial / part, network, dtype)
        for role, (network, sampling) in found.items():
            students[role] = Student(network=names[network], sampling=sampling)
        index = index.model_copy(update={"weights": weights, "students": students})
        write_index(partial, index)


def _students(
    base: VideoModel, model: VideoModel, name: str
) -> dict[Role, tuple[Denoiser, RoleSampling]]:
    """Networks of ``model`` that the teacher ``base`` lacks, by role, with their sampling."""
    if weights_hash(model.autoencoder) != weights_hash(base.autoencoder):
        raise ValueError(
            f"{name} has another autoencoder than the given teacher; give the model that it was "
            "distilled from"
        )
    found: dict[Role, tuple[Denoiser, RoleSampling]] = {}
    for role in ROLES:
        network = model.denoisers.get(role)
        own = base.denoisers.get(role, base.denoisers["first"])
        if network is not None and weights_hash(network) != weights_hash(own):
            settings = model.index.sampling.of(role)
            sampling = RoleSampling(sampler=settings.sampler, guidance=settings.guidance)
            found[role] = network, sampling
    if not found:
        raise ValueError(
            f"{name} has the teacher's networks only; give a run that trained a student "
            "(a config with kind: distillation)"
        )
    if "first" in found and "next" in model.index.sampling.rollout.adds:
        found.setdefault("next", found["first"])
    return found
