"""A model as one object: networks, and how they are sampled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import SupportsIndex

import torch
from torch import nn

from longtake.autoencoders import OtherDecoder, VideoAutoencoder
from longtake.backends import Backend
from longtake.config import nearest
from longtake.diffusion import ClipSampler, Denoiser
from longtake.diffusion.signals import Signals
from longtake.generate import LongVideo
from longtake.hub import push_folder
from longtake.model.agreement import check_merge
from longtake.model.arguments import (
    check_backend,
    check_device,
    check_dtype,
    check_sampling,
    label_text,
    whole_prompt,
    whole_seeds,
)
from longtake.model.card import CARD, model_card
from longtake.model.folder import load_networks, save_networks
from longtake.model.index import AUTOENCODER, FOLDERS, FULL, ModelIndex, Sampling, decoder_folder
from longtake.model.labels import Labels
from longtake.model.prompts import prompt_signals
from longtake.model.samplers import check_samples, clip_sampler
from longtake.rollout import Request, Role
from longtake.text import Prompt
from longtake.vocabulary import NO_LABEL


@dataclass(frozen=True, kw_only=True)
class VideoModel:
    """A video model with loaded weights: an autoencoder and denoisers by role.

    Attributes:
        index: settings, such as how the model is sampled.
        autoencoder: encodes clips to latents and decodes them.
        denoisers: network of each role: ``first`` samples a video's first clip, ``next`` the clips
            that continue it, ``interpolator`` those between keyframes. One network may fill several
            roles. Empty for an autoencoder alone.
        decoders: other decoders of the autoencoder's latents by name; see ``autoencoder_with``.
    """

    index: ModelIndex
    autoencoder: VideoAutoencoder
    denoisers: Mapping[Role, Denoiser] = field(default_factory=dict)
    decoders: Mapping[str, OtherDecoder] = field(default_factory=dict)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = torch.float32,
        students: bool = False,
    ) -> "VideoModel":
        """Load a model from a folder or the Hugging Face hub.

        Args:
            name: a model folder, a run's folder, the name of a model that comes with longtake, or a
                hub id.
            device: device of the networks.
            dtype: dtype of the networks' weights, None for float32; latents are float32 in any
                case.
            students: sample with the model's students, networks distilled to take few steps,
                instead of their teachers.

        Raises:
            CheckpointError: the model is missing or broken.
            ConfigError: a config in it is not valid.
            ValueError: there is no such device, ``dtype`` is not a floating-point dtype, or the
                model has no students to sample with.
        """
        index, networks = load_networks(name, device, dtype, students=students)
        return cls(
            index=index,
            autoencoder=networks[AUTOENCODER],
            denoisers={role: networks[folder] for role, folder in index.roles.items()},
            decoders={each: networks[folder] for each, folder in index.decoders.items()},
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "VideoModel":
        """Move all networks to a device, and convert their weights, in place; return the model.

        As by ``to`` of torch's modules, other models and ``long_video`` objects with the same
        networks have moved too. A backend's copies of the networks have not: ask for another
        ``long_video``.

        Args:
            device: device of the networks; None: where they are.
            dtype: dtype of the networks' weights; None: as they are.

        Raises:
            ValueError: there is no such device, or ``dtype`` is not a floating-point dtype.
        """
        if device is not None:
            check_device(device)
        check_dtype(dtype)
        for network in self.components.values():
            network.to(device=device, dtype=dtype)
        return self

    def compile(self) -> None:
        """Compile the denoisers with ``torch.compile``, in place, when they are first called."""
        for network in set(self.denoisers.values()):
            network.compile()

    @property
    def components(self) -> Mapping[str, nn.Module]:
        """Each network once, by the name of its folder."""
        parts: dict[str, nn.Module] = {AUTOENCODER: self.autoencoder}
        for role, folder in FOLDERS.items():
            network = self.denoisers.get(role)
            if network is not None and all(network is not part for part in parts.values()):
                parts[folder] = network
        return parts | {decoder_folder(name): each for name, each in self.decoders.items()}

    def decoder(self, name: str) -> OtherDecoder:
        """The decoder ``name`` in ``decoders``; a ValueError if there is none of that name."""
        if not isinstance(name, str) or name not in self.decoders:
            known = [FULL, *self.decoders]
            raise ValueError(
                f"decoder {name!r}: this model has no such decoder; {nearest(str(name), known)}"
            )
        return self.decoders[name]

    def autoencoder_with(self, decoder: str) -> VideoAutoencoder:
        """The autoencoder with its decoder replaced by another of the model's decoders.

        Args:
            decoder: ``full``, the autoencoder's own decoder, or a name in ``decoders``.

        Raises:
            ValueError: the model has no such decoder.
        """
        if decoder == FULL:
            return self.autoencoder
        return self.decoder(decoder).beside(self.autoencoder).eval()

    def save_pretrained(
        self, folder: str | Path, *, overwrite: bool = False, dtype: torch.dtype | None = None
    ) -> None:
        """Write a model folder, completely or not at all.

        Args:
            folder: the folder to write.
            overwrite: replace an existing folder; otherwise it is an ExistsError.
            dtype: dtype of the written weights, such as float16 to halve the folder's size; None:
                as loaded.

        Raises:
            ValueError: ``dtype`` is not a floating-point dtype.
            CheckpointError: the folder cannot be written.
        """
        save_networks(Path(folder), self, self.decoders, overwrite=overwrite, dtype=dtype)

    def push_to_hub(self, repository: str, *, private: bool = False) -> str:
        """Upload as a model repository of the Hugging Face hub; return the URL of the commit.

        Args:
            repository: ``user/name``; it is created if it does not exist.
            private: whether a new repository is private.

        Raises:
            CheckpointError: the hub refuses, or cannot be reached.
        """
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            self.save_pretrained(folder)
            (folder / CARD).write_text(self.card(repository), encoding="utf-8")
            return push_folder(folder, repository, private=private)

    def card(self, name: str) -> str:
        """Text of a model card; ``name`` is the folder or hub id by which the model is opened."""
        sizes = {
            k: sum(w.numel() for w in part.parameters()) for k, part in self.components.items()
        }
        return model_card(name, self.index, self.autoencoder.spec.clip, sizes)

    def merge(self, *others: "VideoModel") -> "VideoModel":
        """Fill roles without a network by networks of other models with the same autoencoder.

        Returns a model with frame rate and sampling settings of the last of ``others``. A role
        that several of them can fill gets the network of the first of these.

        Raises:
            CheckpointError: weights are not finite.
            ValueError: one of ``others`` is not a ``VideoModel``, or autoencoder, latent scaling,
                diffusion, classes, labels, text encoder or clip overlap differ.
        """
        merged = self
        for other in others:
            if not isinstance(other, VideoModel):
                raise ValueError(
                    f"merge({other!r}): expected a VideoModel; open it by from_pretrained"
                )
            check_merge(merged, other)
            denoisers = {**other.denoisers, **merged.denoisers}
            decoders = {**other.decoders, **merged.decoders}
            index = other.index
            for role in merged.denoisers:
                index = index.trained([role], merged.index.context_cases.get(role, ()))
            merged = replace(merged, index=index, denoisers=denoisers, decoders=decoders)
        return merged

    def long_video(
        self,
        sampling: Sampling | None = None,
        backend: Backend | None = None,
        decoder: str = FULL,
    ) -> LongVideo:
        """Return an object that makes videos of any length with this model.

        Args:
            sampling: how to sample; None: the model's own settings.
            backend: what runs the networks; None: torch.
            decoder: ``full``, the autoencoder's own decoder, or the name of another decoder of the
                model, such as ``light``.

        Raises:
            ValueError: the model has no network for a role that the rollout needs (first clips,
                next clips, interpolation), or that network does not read what the rollout gives
                it, such as context frames or the previous clip; or the model has no such decoder.
            BackendError: the backend cannot run a network.
        """
        check_backend(backend)
        check_sampling(sampling)
        check_samples(self)
        sampling = sampling or self.index.sampling
        networks: dict[Role, Denoiser] = {"next": self.denoisers["first"], **self.denoisers}
        samplers: dict[Role, ClipSampler] = {
            role: self.clip_sampler(role, sampling, backend) for role in networks
        }
        sampling.rollout.check(samplers)
        autoencoder = self.autoencoder_with(decoder)
        own, cases = self.denoisers, self.index.context_cases
        return LongVideo(
            samplers=samplers,
            rollout=sampling.rollout,
            autoencoder=autoencoder if backend is None else backend.autoencoder(autoencoder),
            latent_scaling=self.index.latent_scaling,
            context_cases={
                role: cases.get(role if role in own else "first", ()) for role in networks
            },
        )

    def clip_sampler(
        self, role: Role, sampling: Sampling | None = None, backend: Backend | None = None
    ) -> ClipSampler:
        """Return what samples clips with a role's network (that of ``first`` if the role has none).

        Args:
            role: ``first``, ``next`` or ``interpolator``.
            sampling: how to sample; None: the model's own settings.
            backend: what runs the network; None: torch.

        Raises:
            ValueError: there is no such role, or no network that samples clips; the model that
                guides is missing, or has another autoencoder, schedule or shape.
        """
        return clip_sampler(self, role, sampling, backend, VideoModel.from_pretrained)

    def request(
        self,
        seeds: Iterable[SupportsIndex],
        label: str | int | None = None,
        prompt: Prompt | str | Sequence[str] | None = None,
    ) -> Request:
        """Build a ``Request``, the input of ``long_video()``.

        Args:
            seeds: one per video.
            label: class of all videos: its number, or words, separated by commas, that only its
                name contains; ``none`` for no class; or named labels such as ``time=dusk,
                wind=left``. None: each seed draws a class, or none if there is a prompt.
            prompt: text of all videos or of each, for a model that reads text; a ``Prompt`` may
                have a negative text too. None: no prompt.

        Raises:
            ValueError: seeds are not whole numbers; no class has that name, or a label is not one
                text; a prompt is missing, not a text, or not read by the model.
        """
        seeds = whole_seeds(seeds)
        label = None if label is None else label_text(label)
        prompt = None if prompt is None else whole_prompt(prompt)
        first = self.denoisers.get("first")
        if prompt is None and first is not None and "text" in first.needs:
            raise ValueError("this model makes videos of a text, but none is given; give a prompt")
        if label is None and prompt is None:
            return Request(seeds=seeds, signals=self.label_signals(seeds, None))
        return Request(seeds=seeds, signals=self.signals_of(seeds, label, prompt))

    def signals_of(
        self,
        seeds: Sequence[int],
        label: str | None,
        prompt: Prompt | None,
        *,
        labelled: bool = False,
    ) -> Signals:
        """Conditions (signals) that a label and a prompt set for videos of these seeds.

        A prompt without a label sets no class, as a class that a seed drew might contradict it.

        Args:
            seeds: one per video.
            label: as for ``request``; None: not given.
            prompt: as for ``request``; None: not given.
            labelled: whether the videos, which these signals are to change, were given a label
                before; then a prompt leaves it as it is.

        Raises:
            ValueError: the model has no such class or label, or cannot read the prompt.
        """
        drawn = label is None and not labelled
        if drawn and prompt is not None and not self.labels.names.unlabelled:
            label = NO_LABEL
        found = {} if label is None else self.label_signals(seeds, label)
        return found if prompt is None else {**found, **self.prompt_signals(len(seeds), prompt)}

    @property
    def labels(self) -> Labels:
        """Classes and named labels of the videos that the network of ``first`` makes."""
        first = self.denoisers.get("first")
        return Labels(self.index, frozenset() if first is None else first.reads)

    def label_signals(self, seeds: Sequence[int], label: str | None) -> Signals:
        """Conditions (signals) that ``label``, or a draw by each seed if None, sets for videos.

        Raises:
            ValueError: the model has no such class, label or value.
        """
        return self.labels.signals(seeds, label)

    def prompt_signals(self, videos: int, prompt: Prompt) -> Signals:
        """Condition (signal) ``text`` for ``videos`` videos, of one text for all or one each.

        Raises:
            ValueError: the model reads no text, or ``prompt`` does not fit the model or the number
                of videos.
        """
        return prompt_signals(self.index, self.denoisers, videos, prompt)
