"""How a model is sampled: one setting for every role, with changes for one role."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from annotated_types import Interval
from pydantic import BaseModel, model_validator

from longtake.config import Config, override, parse, to_dict
from longtake.diffusion import DDIM, DDPM, Unguided
from longtake.diffusion.schedule import STEPS
from longtake.registry import AnyGuidance, AnyRollout, AnySampler
from longtake.rollout import OneClip, Role

ROLES_WITH_CHANGES = ("next", "interpolator")
Level = Annotated[float, Interval(ge=0, le=1)]


class RoleSampling(Config):
    """Sampling settings of one role; None takes the setting that all roles share.

    Attributes:
        sampler: sampler of the role. Without ``kind``, the shared sampler with these fields
            changed: ``next: {sampler: {steps: 20}}``.
        guidance: guidance of the role; without ``kind``, the shared one with these fields changed.
        context_noise: time in [0, 1] of the noise put on context frames.
    """

    sampler: AnySampler | None = None
    guidance: AnyGuidance | None = None
    context_noise: Level | None = None


class Sampling(Config):
    """Default settings for sampling clips and joining them into a video.

    Attributes:
        sampler: sampler of all roles.
        guidance: guidance of all roles.
        context_noise: time in [0, 1] of the noise put on context frames, in all roles (LVDM,
            conditional latent perturbation; the official level 100 is 0.101); 0 adds none.
        rollout: how clips become a long video.
        next: changes for clips that continue a video (PVDM takes 100 steps for the first clip and
            20 for each next one).
        interpolator: changes for clips between two keyframes.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "perturbation": "context_noise",
        "later": "next.sampler",
    }

    sampler: AnySampler = DDIM()
    guidance: AnyGuidance = Unguided()
    context_noise: Level = 0.0
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
    def _starts_in_noise(self) -> "Sampling":
        for name in ("", *ROLES_WITH_CHANGES):
            settings = getattr(self, name) if name else self
            sampler = settings and settings.sampler
            if isinstance(sampler, DDPM) and sampler.steps < STEPS:
                place = f"{name}.sampler".lstrip(".")
                raise ValueError(
                    f"{place}.steps={sampler.steps}: DDPM starts in pure noise only with {STEPS} "
                    f"steps; for fewer choose {place}.kind=ddim"
                )
        return self

    @model_validator(mode="after")
    def _roles_are_drawn(self) -> "Sampling":
        for role in ROLES_WITH_CHANGES:
            if getattr(self, role) and role not in self.rollout.adds:
                raise ValueError(
                    f"{role} has settings, but rollout.kind={self.rollout.kind} never samples "
                    f"clips in that role; choose another rollout or set {role}=null"
                )
        return self

    def of(self, role: Role) -> "Sampling":
        """Settings of one role, without changes left to apply."""
        changes = {"next": self.next, "interpolator": self.interpolator}.get(role)
        own = {} if changes is None else {k: v for k, v in changes if v is not None}
        return self.model_copy(update={**own, "next": None, "interpolator": None})


def sampling_with(sampling: Sampling, overrides: Sequence[str]) -> Sampling:
    """Sampling with ``a.b=value`` overrides, such as ``sampler.steps=50``.

    Raises:
        ConfigError: the message names the nearest valid field.
    """
    return parse(Sampling, override(Sampling, to_dict(sampling), overrides))


def _completed(cls: type[Sampling], data: Mapping[str, Any], name: str, value: Any) -> Any:
    if name not in ("sampler", "guidance") or not isinstance(value, dict) or "kind" in value:
        return value
    shared = data.get(name, cls.model_fields[name].default)
    return {**(to_dict(shared) if isinstance(shared, BaseModel) else shared), **value}
