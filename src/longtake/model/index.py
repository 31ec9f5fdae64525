"""``model_index.json``: everything about a model that is not a component's own config."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt, Interval
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from longtake.checkpoint import CONFIG, WEIGHTS, CheckpointError, read_config
from longtake.config import Config, changed, parse, to_dict
from longtake.diffusion import DDIM, DDPM, Diffusion, Together, Unguided
from longtake.diffusion.schedule import STEPS
from longtake.diffusion.signals import ContextCase
from longtake.hub import INDEX, find_model
from longtake.latents import LatentScaling
from longtake.registry import (
    AnyAutoencoder,
    AnyContextCase,
    AnyDecoder,
    AnyDenoiser,
    AnyGuidance,
    AnyRollout,
    AnySampler,
    AnyTimePattern,
)
from longtake.rollout import OneClip, Role
from longtake.text import AnyTextEncoder

AUTOENCODER = "autoencoder"
FULL = "full"
"""Name of the autoencoder's own decoder."""
FOLDERS: Mapping[Role, str] = {"first": "denoiser", "next": "next", "interpolator": "interpolator"}
"""Folder of the network of each role, if no earlier role has the same network."""

ROLES_WITH_CHANGES: Sequence[Role] = ("next", "interpolator")
FolderName = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$")]
DecoderName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(lambda name: _other(name))
]
Level = Annotated[float, Interval(ge=0, le=1)]


class RoleSampling(Config):
    """Settings of one role (``first``, ``next``, ``interpolator``); None: those all roles share.

    Attributes:
        sampler: sampler of the role. Without ``kind``, the shared sampler with the given fields
            changed: ``next: {sampler: {steps: 20}}``.
        guidance: guidance of the role; without ``kind``, the shared one with the given fields
            changed.
        context_noise: time in [0, 1] of the noise put on context frames.
    """

    sampler: AnySampler | None = None
    guidance: AnyGuidance | None = None
    context_noise: Level | None = None


class Sampling(Config):
    """A model's default settings for sampling clips and joining them into a video.

    Attributes:
        sampler: sampler of all roles.
        guidance: guidance of all roles.
        context_noise: time in [0, 1] of the noise put on context frames, in all roles (LVDM,
            conditional latent perturbation; the official level 100 is 0.101); 0 adds none.
        pattern: which time each latent frame has at each sampling step, in all roles; the default
            is not written to files.
        rollout: how clips become a long video.
        next: settings that differ for clips that continue a video (PVDM takes 100 steps for the
            first clip and 20 for each next one).
        interpolator: settings that differ for clips between two keyframes.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "perturbation": "context_noise",
        "later": "next.sampler",
    }

    sampler: AnySampler = DDIM()
    guidance: AnyGuidance = Unguided()
    context_noise: Level = 0.0
    pattern: AnyTimePattern = Field(default=Together(), exclude_if=lambda p: p == Together())
    rollout: AnyRollout = OneClip()
    next: RoleSampling | None = None
    interpolator: RoleSampling | None = None

    @model_validator(mode="before")
    @classmethod
    def _complete_roles(cls, data: Any, info: Any) -> Any:
        """Complete samplers and guidance without ``kind`` from the shared ones."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if info.context and info.context.get("upgrade") and "later" in data:
            later = data.pop("later")
            data |= {"next": {"sampler": later}} if later else {}
        for role in ROLES_WITH_CHANGES:
            if isinstance(data.get(role), dict):
                data[role] = {k: _completed(cls, data, k, v) for k, v in data[role].items()}
        return data

    @model_validator(mode="after")
    def _fits(self) -> "Sampling":
        for role in ("", *ROLES_WITH_CHANGES):
            settings = getattr(self, role) if role else self
            sampler = settings and settings.sampler
            if isinstance(sampler, DDPM) and sampler.steps < STEPS:
                place = f"{role}.sampler".lstrip(".")
                raise ValueError(
                    f"{place}.steps={sampler.steps}: DDPM starts in pure noise only with {STEPS} "
                    f"steps; set {place}.steps={STEPS}, or for fewer {place}.kind=ddim"
                )
            if role and settings and role not in self.rollout.adds:
                raise ValueError(
                    f"{role} has settings, but rollout.kind={self.rollout.kind} never samples "
                    f"clips in that role; choose another rollout or set {role}=null"
                )
        return self

    def of(self, role: Role) -> "Sampling":
        """Settings of the role ``role``: the shared ones, with that role's overrides applied."""
        changes = getattr(self, role) if role in ROLES_WITH_CHANGES else None
        own = {k: v for k, v in changes or () if v is not None}
        return self.model_copy(update={**own, "next": None, "interpolator": None})

    def in_role(self, role: Role, changes: RoleSampling) -> "Sampling":
        """Return settings in which ``changes`` replace those of one role.

        A field of ``changes`` that is None leaves its setting. A change of the role ``first`` does
        not change other roles.
        """
        own = {k: v for k, v in changes if v is not None}
        if role in ROLES_WITH_CHANGES:
            before = getattr(self, role) or RoleSampling()
            return self.model_copy(update={role: before.model_copy(update=own)})
        others: list[Role] = [name for name in ROLES_WITH_CHANGES if name in self.rollout.adds]
        kept = {name: _settled(self.of(name), own) for name in others}
        return self.model_copy(update={**kept, **own})


def _settled(sampling: Sampling, names: Collection[str]) -> RoleSampling:
    """The fields ``names`` of ``sampling`` as one role's overrides."""
    return RoleSampling(**{name: getattr(sampling, name) for name in names})


def sampling_with(sampling: Sampling, overrides: Sequence[str]) -> Sampling:
    """Return ``sampling`` with overrides applied, such as ``sampler.steps=50``.

    Settings of a role that no override names are left out if the rollout that the overrides choose
    does not sample clips in that role.

    Raises:
        ConfigError: a name or a value does not fit.
    """
    named = {text.partition("=")[0].partition(".")[0] for text in overrides}
    if "rollout" in named:
        rollout = changed(Sampling, _shared(sampling), [x for x in overrides if x[:7] == "rollout"])
        unused = {role for role in ROLES_WITH_CHANGES if role not in rollout.rollout.adds}
        sampling = sampling.model_copy(update=dict.fromkeys(unused - named))
    return changed(Sampling, sampling, overrides)


def _shared(sampling: Sampling) -> Sampling:
    """The settings that all roles share."""
    none: dict[str, Any] = dict.fromkeys(ROLES_WITH_CHANGES)
    return sampling.model_copy(update=none)


def _completed(cls: type[Sampling], data: Mapping[str, Any], name: str, value: Any) -> Any:
    if name not in ("sampler", "guidance") or not isinstance(value, dict) or "kind" in value:
        return value
    shared = data.get(name, cls.model_fields[name].default)
    shared = to_dict(shared) if isinstance(shared, BaseModel) else shared
    return {**shared, **value} if isinstance(shared, dict) else value


class Student(Config):
    """A network distilled from a role's network, to sample in few steps, in the same model folder.

    Attributes:
        network: name of the network's folder in the model folder.
        sampling: settings with which the network is sampled.
    """

    network: FolderName
    sampling: RoleSampling


class ModelIndex(Config):
    """Contents of ``model_index.json``: a model's settings besides its networks' configs.

    Attributes:
        format: version of the folder's format.
        fps: frame rate of the model's videos, in frames per second.
        latent_scaling: maps the autoencoder's latents to the denoisers' and back.
        diffusion: noise schedule and prediction of the denoisers; None without denoisers.
        sampling: default settings for sampling.
        classes: name of each class, in the order of labels; empty for a model without classes.
        labels: values of each named label that the networks read, such as
            ``time: [night, dusk, day]``; each can be given alone.
        ema: whether the denoisers' weights are an exponential moving average over training.
        text_encoder: encoder of the prompts that the denoisers read; None if they read no text.
        made_by: the checkpoint that the model was converted from; empty for a trained one.
        roles: folder of the network that fills each role. One network may fill several roles;
            without ``next``, the network of ``first`` continues videos too.
        context_cases: which frames of a clip the network of each role was trained to be given;
            a role that is missing states nothing about it.
        students: networks distilled to sample in few steps, by the role in which one replaces the
            network of ``roles`` if it is asked for.
        decoders: folder of each other decoder of the autoencoder's latents, by its name, such as
            ``light``.
        weights: SHA-256 of each component's weight file, by folder.
    """

    renamed: ClassVar[Mapping[str, str]] = {"standardisation": "latent_scaling", "averaged": "ema"}

    format: Literal[2] = 2
    fps: Annotated[float, Gt(0)] = 25.0
    latent_scaling: LatentScaling = LatentScaling()
    diffusion: Diffusion | None = None
    sampling: Sampling = Sampling()
    classes: tuple[str, ...] = ()
    labels: dict[str, tuple[str, ...]] = Field(default={}, exclude_if=lambda labels: not labels)
    ema: bool = True
    text_encoder: AnyTextEncoder | None = Field(default=None, exclude_if=lambda e: e is None)
    made_by: str = ""
    roles: dict[Role, FolderName] = {}  # noqa: RUF012 (pydantic copies it)
    context_cases: dict[Role, tuple[AnyContextCase, ...]] = Field(
        default={}, exclude_if=lambda cases: not cases
    )
    students: dict[Role, Student] = Field(default={}, exclude_if=lambda students: not students)
    decoders: dict[DecoderName, FolderName] = Field(default={}, exclude_if=lambda found: not found)
    weights: dict[FolderName, str] = {}  # noqa: RUF012

    @model_validator(mode="after")
    def _components_have_a_use(self) -> "ModelIndex":
        students = (each.network for each in self.students.values())
        networks = {*self.roles.values(), *students, *self.decoders.values()}
        if self.weights and self.weights.keys() != {AUTOENCODER, *networks}:
            raise ValueError(
                f"weights are of {', '.join(sorted(self.weights))}, expected {AUTOENCODER} and the "
                f"networks of roles and decoders: {', '.join(sorted(networks)) or 'none'}"
            )
        return self

    def trained(self, roles: Collection[Role], cases: Sequence[ContextCase]) -> "ModelIndex":
        """Copy of the index which states that the network of ``roles`` was trained with ``cases``.

        Other roles that it states keep theirs.
        """
        kept = {role: own for role, own in self.context_cases.items() if role not in roles}
        stated = dict.fromkeys(roles, tuple(cases)) if cases else {}
        return self.model_copy(update={"context_cases": {**kept, **stated}})

    def with_students(self) -> "ModelIndex":
        """Copy of the index in which students replace the networks they were distilled from."""
        sampling = self.sampling
        for role, student in self.students.items():
            sampling = sampling.in_role(role, student.sampling)
        return self._of(
            {**self.roles, **{k: v.network for k, v in self.students.items()}}, sampling
        )

    def without_students(self) -> "ModelIndex":
        """Copy of the index without students."""
        return self._of(self.roles, self.sampling)

    def _of(self, roles: Mapping[Role, str], sampling: Sampling) -> "ModelIndex":
        used = {AUTOENCODER, *roles.values(), *self.decoders.values()}
        replaced: list[Role] = [k for k, name in roles.items() if name != self.roles.get(k)]
        weights = {name: value for name, value in self.weights.items() if name in used}
        changes = {"roles": dict(roles), "sampling": sampling, "students": {}, "weights": weights}
        return self.trained(replaced, ()).model_copy(update=changes)

    def kind_of(self, folder: str) -> Any:
        """Union of the config classes that the component in this folder of the model can have."""
        if folder == AUTOENCODER:
            return AnyAutoencoder
        return AnyDecoder if folder in self.decoders.values() else AnyDenoiser


def _other(name: str) -> str:
    """Return the name of a decoder; a ValueError if it is ``full``, the autoencoder's own."""
    if name == FULL:
        raise ValueError(f"{FULL!r} is the autoencoder's own decoder; choose another name")
    return name


def decoder_folder(name: str) -> str:
    """Name, in a model folder, of the folder of the decoder ``name``, such as ``light_decoder``."""
    return f"{name}_decoder"


def read_model_files(folder: Path) -> tuple[ModelIndex, dict[str, BaseModel]]:
    """Read the configs in a model folder of format 2 or 1.

    Returns the index, and the config of each component by the name of its folder.

    Raises:
        CheckpointError: a file is missing, not JSON, or a link that leads out of the folder.
        ConfigError: the contents of a file are not a valid config.
    """
    moved: dict[str, Any] = {}
    path = folder / INDEX
    index: ModelIndex = read_config(path, ModelIndex, lambda data: _format_2(data, moved))
    if AUTOENCODER not in index.weights:
        raise CheckpointError(
            f"{path}: its weights name no {AUTOENCODER}, which every model has; copy or download "
            "the model again"
        )
    root = Path(os.path.realpath(folder))
    if root.parent.name == "snapshots":  # the hub's cache links to files beside it
        root = root.parents[1]
    components = {}
    for name in index.weights:
        for path in (folder / name / CONFIG, folder / name / WEIGHTS):
            if not Path(os.path.realpath(path)).is_relative_to(root):
                raise CheckpointError(f"{path}: leads out of the model's folder; copy it there")
        changes = moved if name == index.roles.get("first") else {}
        path = folder / name / CONFIG
        components[name] = read_config(path, index.kind_of(name), lambda data, c=changes: data | c)
    return index, components


def write_index(folder: Path, index: ModelIndex) -> None:
    """Write ``model_index.json`` to a model folder; a ConfigError if ``index`` is not valid."""
    data = to_dict(index)
    parse(ModelIndex, data)  # a copy's values were not checked
    (folder / INDEX).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def component_hash(model: str, part: str) -> str | None:
    """SHA-256 of the weights of a model's network in the role ``part``, or in the folder ``part``.

    ``model`` is a folder or a name of a model. None if the model has no such network.

    Raises:
        CheckpointError: the model is missing or broken.
        ConfigError: a config of the model is not valid.
    """
    index, _ = read_model_files(find_model(model))
    folders: dict[str, str] = {**index.roles}
    return index.weights.get(folders.get(part, part))


def _format_2(data: dict[str, Any], moved: dict[str, Any]) -> dict[str, Any]:
    """Upgrade an index of format 1; what moves to the denoiser's config goes to ``moved``."""
    if data.get("format") != 1:
        return data
    folders: Mapping[Role, str] = {"first": "denoiser", "interpolator": "between"}
    weights = data.get("weights")
    found = weights if isinstance(weights, dict) else {}
    roles = {role: name for role, name in folders.items() if name in found}
    if data.get("overlap"):
        moved["clip_overlap_frames"] = data["overlap"]
    return {k: v for k, v in data.items() if k != "overlap"} | {"format": 2, "roles": roles}
