"""Whether networks of two models can be used together: in one model, or one to guide another."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import nn

from longtake.autoencoders import VideoAutoencoder
from longtake.checkpoint import check_finite, weights_hash
from longtake.diffusion import Denoiser
from longtake.model.index import ModelIndex
from longtake.rollout import Role


@runtime_checkable
class Networks(Protocol):
    """The parts of a ``VideoModel`` that are compared with those of another model."""

    @property
    def index(self) -> ModelIndex:
        """Settings of the model."""
        ...

    @property
    def autoencoder(self) -> VideoAutoencoder:
        """The autoencoder."""
        ...

    @property
    def denoisers(self) -> Mapping[Role, Denoiser]:
        """Network of each role, such as ``first``."""
        ...

    @property
    def components(self) -> Mapping[str, nn.Module]:
        """Each network once, by the name of its folder."""
        ...


def check_merge(model: Networks, other: Networks) -> None:
    """Raise an error unless the networks of two models can be in one model.

    Raises:
        CheckpointError: weights are not finite.
        ValueError: autoencoder, latent scaling, diffusion, classes, labels, text encoder or clip
            overlap differ.
    """
    networks = [*model.denoisers.values(), *other.denoisers.values()]
    for name, part in (*model.components.items(), *other.components.items()):
        check_finite(part.state_dict(), name)
    differing: list[str] = []
    if weights_hash(model.autoencoder) != weights_hash(other.autoencoder):
        differing = ["autoencoder"]
    elif model.denoisers:
        ours, theirs = dict(model.index), dict(other.index)
        trained_with = ("latent_scaling", "diffusion", "classes", "labels", "text_encoder")
        differing = [name for name in trained_with if ours[name] != theirs[name]]
        if len({network.spec.clip_overlap_frames for network in networks}) > 1:
            differing.append("clip_overlap_frames")
    if differing:
        names = " and ".join(filter(None, (model.index.made_by, other.index.made_by)))
        raise ValueError(
            f"these models cannot be merged{names and f' ({names})'}: they differ in "
            f"{', '.join(differing)}; train both on one latent cache with the same settings"
        )


def guiding_network(name: str, guide: Networks, model: Networks, role: Role) -> Denoiser:
    """The network of the model ``guide``, called ``name``, that guides that of ``model`` in a role.

    A role is ``first``, ``next`` or ``interpolator``.

    Raises:
        ValueError: ``guide`` has no such network, or another autoencoder, diffusion, latent scaling
            or shape of latents, or reads other conditions.
    """
    own = model.denoisers.get(role, model.denoisers["first"])
    network = guide.denoisers.get(role, guide.denoisers.get("first"))
    differ = [
        k for k in ("diffusion", "latent_scaling") if dict(model.index)[k] != dict(guide.index)[k]
    ]
    if weights_hash(guide.autoencoder) != weights_hash(model.autoencoder):
        differ.append("autoencoder")
    if network is None or network.spec != own.spec or network.reads != own.reads:
        differ.append("what their networks sample or read")
    if differ or network is None:
        raise ValueError(
            f"{name} cannot guide this model: they differ in {differ[0]}; choose a smaller "
            "network or an earlier checkpoint that was trained with the same settings"
        )
    return network
