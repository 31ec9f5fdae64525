"""A model folder as one object: autoencoder, denoisers and how to sample them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Interval
from pydantic import Field, model_validator

from longtake.autoencoders import VideoAutoencoder
from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.checkpoint import (
    CheckpointError,
    load_component,
    read_config,
    save_component,
    weights_hash,
    whole_folder,
)
from longtake.config import Config, nearest, override, parse, to_dict
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.denoisers.volume_unet import VolumeUNetConfig
from longtake.diffusion import (
    DDIM,
    DDPM,
    AnyGuidance,
    AnySampler,
    ClipSampler,
    Denoiser,
    Diffusion,
    Sampler,
    Unguided,
)
from longtake.diffusion.schedule import STEPS
from longtake.diffusion.signals import ABSENT, label_signal
from longtake.generate import LongVideo
from longtake.hub import INDEX, find_model
from longtake.latents import LatentScaling
from longtake.noise import derive
from longtake.rollout import AnyRollout, Draws, OneClip, Request

AnyAutoencoder = Annotated[
    VolumeAutoencoderConfig | TriplaneAutoencoderConfig | FramewiseAutoencoderConfig,
    Field(discriminator="kind"),
]
AnyDenoiser = Annotated[VolumeUNetConfig | TriplaneUNetConfig, Field(discriminator="kind")]


class Sampling(Config):
    """How clips are drawn and joined, unless the user says otherwise.

    Attributes:
        sampler: from noise to a clip.
        later: the same for every clip that goes on from another, which takes fewer steps (PVDM's
            100/20: 100 for the first clip, 20 for each later one); None: ``sampler``.
        guidance: how conditional and unconditional predictions combine.
        rollout: how clips become a long video.
        perturbation: time in [0, 1] of the noise put on given frames (LVDM, conditional latent
            perturbation; the official level 100 is 0.101); 0 leaves them clean.
    """

    sampler: AnySampler = DDIM()
    later: AnySampler | None = None
    guidance: AnyGuidance = Unguided()
    rollout: AnyRollout = OneClip()
    perturbation: Annotated[float, Interval(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _begins_in_noise(self) -> "Sampling":
        for name, sampler in (("sampler", self.sampler), ("later", self.later)):
            if isinstance(sampler, DDPM) and sampler.steps < STEPS:
                raise ValueError(
                    f"{name}.steps={sampler.steps}: DDPM begins in pure noise only with {STEPS} "
                    f"steps; for fewer choose {name}.kind=ddim"
                )
        return self

    @model_validator(mode="after")
    def _later_is_used(self) -> "Sampling":
        if self.later is not None and not self.rollout.needs:
            raise ValueError(
                "later is the sampler of clips that go on from another, which rollout.kind="
                f"{self.rollout.kind} never draws; choose next_clip or autoregressive, or leave it"
            )
        return self


def sampling_with(sampling: Sampling, overrides: Sequence[str]) -> Sampling:
    """Sampling with ``a.b=value`` overrides, such as ``sampler.steps=50``.

    Raises:
        ConfigError: the message names the nearest valid field.
    """
    return parse(Sampling, override(Sampling, to_dict(sampling), overrides))


class ModelIndex(Config):
    """``model_index.json``: everything about a model that is not a component's own config.

    Attributes:
        format: of the folder.
        fps: frames a second of its videos.
        standardisation: between the autoencoder's latents and the denoisers'.
        diffusion: schedule and prediction of the denoisers; None where there is none yet.
        sampling: defaults.
        classes: names of the labels.
        averaged: whether the denoisers' weights are the average over training (EMA).
        overlap: frames by which a clip begins before the end of the one that it goes on from, as
            its denoiser was trained.
        made_by: the checkpoint it was converted from; empty where a run made it.
        weights: SHA-256 of each component's weight file.
    """

    format: Literal[1] = 1
    fps: float = 25.0
    standardisation: LatentScaling = LatentScaling()
    diffusion: Diffusion | None = None
    sampling: Sampling = Sampling()
    classes: tuple[str, ...] = ()
    averaged: bool = True
    overlap: Annotated[int, Ge(0)] = 0
    made_by: str = ""
    weights: dict[str, str] = {}  # noqa: RUF012 (pydantic copies it)


@dataclass(frozen=True, kw_only=True)
class VideoModel:
    """A model, ready to use.

    Attributes:
        index: everything that is not a network.
        autoencoder: between pixels and latents.
        denoiser: draws clips; None for an autoencoder alone.
        between: draws the frames between keyframes (LVDM interpolation), if there is one.
    """

    index: ModelIndex
    autoencoder: VideoAutoencoder
    denoiser: Denoiser | None = None
    between: Denoiser | None = None

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "VideoModel":
        """Open a model.

        Args:
            name: a folder, a run's folder, the name of a shipped model, or a hub id.
            device: where the networks go.
            dtype: of their weights.

        Raises:
            CheckpointError: there is none, or it is broken; ConfigError: it does not fit.
        """
        folder = find_model(name)
        index: ModelIndex = read_config(folder / INDEX, ModelIndex)
        kinds = {"autoencoder": AnyAutoencoder, "denoiser": AnyDenoiser, "between": AnyDenoiser}
        unknown = index.weights.keys() - kinds.keys()
        if unknown or "autoencoder" not in index.weights:
            raise CheckpointError(
                f"{folder / INDEX}: names components {sorted(index.weights)}, expected "
                f"autoencoder and, at choice, denoiser and between"
            )
        parts = {
            part: load_component(folder / part, kinds[part], expected).to(device, dtype)
            for part, expected in index.weights.items()
        }
        return cls(index=index, **parts)

    def save_pretrained(
        self, folder: str | Path, *, overwrite: bool = False, dtype: torch.dtype | None = None
    ) -> None:
        """Write a model folder, whole or not at all; ``dtype`` float16 halves its size."""
        parts = {
            "autoencoder": self.autoencoder,
            "denoiser": self.denoiser,
            "between": self.between,
        }
        with whole_folder(Path(folder), overwrite=overwrite) as partial:
            hashes = {
                name: save_component(partial / name, part, dtype)
                for name, part in parts.items()
                if part is not None
            }
            index = self.index.model_copy(update={"weights": hashes})
            (partial / INDEX).write_text(json.dumps(to_dict(index), indent=2) + "\n")

    def push_to_hub(self, repository: str, *, private: bool = False) -> str:
        """Upload as a model repository of the Hugging Face hub; returns its address."""
        import tempfile

        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            self.save_pretrained(folder)
            return str(api.upload_folder(repo_id=repository, folder_path=folder))

    def joined(self, *others: "VideoModel") -> "VideoModel":
        """This model with the components it lacks taken from others of the same autoencoder.

        How it is sampled is taken from the last one that brings a component.

        Raises:
            ValueError: the models do not share autoencoder, latent scale and diffusion.
        """
        whole = self
        for other in others:
            _check_joinable(whole, other)
            whole = replace(
                whole,
                index=other.index,
                denoiser=whole.denoiser or other.denoiser,
                between=whole.between or other.between,
            )
        return whole

    def long_video(self, sampling: Sampling | None = None) -> LongVideo:
        """The model wired to make videos.

        Raises:
            ValueError: the model is an autoencoder alone, or its network cannot be rolled out so.
        """
        sampling = sampling or self.index.sampling
        if self.denoiser is None:
            raise ValueError(
                "this model has no network that draws clips, only "
                f"{' and '.join(name for name, _ in parts_of(self))}; join it with one that has "
                "(`longtake convert join`) or train one on it"
            )
        sampling.rollout.check(self.denoiser.reads)
        return LongVideo(
            draws=Draws(
                clip=self._clips(self.denoiser, sampling),
                later=sampling.later and self._clips(self.denoiser, sampling, sampling.later),
                between=self.between and self._clips(self.between, sampling),
            ),
            rollout=sampling.rollout,
            autoencoder=self.autoencoder,
            standardisation=self.index.standardisation,
            overlap=self.index.overlap,
        )

    def request(self, seeds: Iterable[int], label: str | None = None) -> Request:
        """Videos to ask a long video for.

        Args:
            seeds: one a video.
            label: of all; ``none`` withholds it; where None, each seed has a class of its own.

        Raises:
            ValueError: no class has that name, or the model reads text.
        """
        seeds = tuple(seeds)
        if self.denoiser is not None and "text" in self.denoiser.reads:
            raise ValueError(
                "this model makes videos of text, and no text encoder comes with it: give the "
                "states of prompts as text_signal(...) to a Request of your own, in Python"
            )
        if not self.index.classes or self.denoiser is None or "label" not in self.denoiser.reads:
            if label is not None:
                raise ValueError(f"label {label!r}: this model was trained without classes")
            return Request(seeds=seeds)
        if label is None:
            rows = [derive(seed, "label") % len(self.index.classes) for seed in seeds]
        else:
            rows = [ABSENT if label == "none" else self.label(label)] * len(seeds)
        return Request(seeds=seeds, signals=label_signal(rows))

    def titles(self, request: Request) -> list[str]:
        """``: class`` of each requested video, empty where it has none."""
        label = request.signals.get("label")
        rows = [ABSENT] * len(request.seeds) if label is None else label.value.tolist()
        return [f": {self.index.classes[row]}" if row >= 0 else "" for row in rows]

    def label(self, name: str) -> int:
        """Class index of a name, of a number, or of a part of a name that fits one class only.

        Raises:
            ValueError: no class has that name.
        """
        classes = self.index.classes
        if name.isdecimal() and int(name) < len(classes):
            return int(name)
        wanted = [word.strip().lower() for word in name.split(",")]
        fits = [i for i, c in enumerate(classes) if all(word in c.lower() for word in wanted)]
        if len(fits) != 1:
            if not classes:
                raise ValueError(f"label {name!r}: this model has no classes")
            reason = f"fits {len(fits)} classes" if fits else "is no class"
            raise ValueError(f"label {name!r} {reason} of this model; {nearest(name, classes)}")
        return fits[0]

    def _clips(
        self, denoiser: Denoiser, sampling: Sampling, sampler: Sampler | None = None
    ) -> ClipSampler:
        assert self.index.diffusion is not None
        return ClipSampler(
            denoiser=denoiser,
            diffusion=self.index.diffusion,
            sampler=sampler or sampling.sampler,
            guidance=sampling.guidance,
            context_noise=sampling.perturbation,
        )


def _check_joinable(model: VideoModel, other: VideoModel) -> None:
    if weights_hash(model.autoencoder) != weights_hash(other.autoencoder):
        raise ValueError("these models cannot be joined: their autoencoders differ")
    if model.denoiser is None and model.between is None:
        return
    for name in ("standardisation", "diffusion", "classes", "overlap"):
        if getattr(model.index, name) != getattr(other.index, name):
            raise ValueError(
                f"these models cannot be joined: they differ in {name}; train both on one latent "
                "cache (cache_folder) with one diffusion"
            )


def parts_of(model: VideoModel) -> Sequence[tuple[str, Any]]:
    """Names and modules of the networks a model has."""
    parts = (
        ("autoencoder", model.autoencoder),
        ("denoiser", model.denoiser),
        ("between", model.between),
    )
    return [(name, part) for name, part in parts if part is not None]
