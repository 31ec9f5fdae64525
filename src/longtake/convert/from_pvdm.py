"""Converts official PVDM weights (``torch.save`` of autoencoder and UNet) to models."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from longtake.autoencoders.triplane import TriplaneAutoencoder
from longtake.checkpoint import CheckpointError
from longtake.convert.autoencoder_keys import TRIPLANE
from longtake.convert.layout import OfficialLayout
from longtake.convert.pvdm_sizes import HEADS, autoencoder_config, unet_config
from longtake.convert.torch_file import read_pickle, read_state_dict
from longtake.convert.unet_keys import PVDM, PVDM_NEW_ATTENTION_ORDER
from longtake.denoisers.triplane_unet import TriplaneUNet
from longtake.diffusion import DDIM, Diffusion, ScaledLinear
from longtake.model import ModelIndex, Sampling, VideoModel
from longtake.rollout import NextClip, OneClip

PREFIXES = re.compile(
    r"(module\.)?(diffusion_model\.)?"
)  # of weights in a DataParallel, of the UNet
EMA_PREFIX = "ema_"  # prefix of official file names with averaged weights
FPS = 25.0  # frame rate of UCF-101

DIFFUSION = Diffusion(schedule=ScaledLinear(beta_end=0.0195), loss="l2")
SAMPLER = DDIM(steps=400, eta=1.0, grid="linspace")  # PVDM's "400/400-s, eta=1"

AUTOENCODER, DENOISER = "an autoencoder", "a UNet"
_LOSS = ("the networks of the training's loss", "give the autoencoder's model_last.pth")
_OTHERS = {
    "perceptual_loss.": _LOSS,
    "discriminator_": _LOSS,
    "first_stage_model.": ("an LVDM model", "convert it as an LVDM model"),
    "to_pixel.": (AUTOENCODER, "give it as the autoencoder"),
    "time_embed.": (DENOISER, "give it as the denoiser"),
}
"""By prefix of a weight's name: the network in the file, and how to use it."""

_STATES = {
    "param_groups": "the state of an optimizer",
    "growth_factor": "the state of a gradient scaler",
}


def read_pvdm(
    *,
    autoencoder: Path | None = None,
    denoiser: Path | None = None,
    model: VideoModel | None = None,
    ema: bool | None = None,
    heads: int = HEADS,
    head_channels: int | None = None,
    new_attention_order: bool = False,
    fps: float | None = None,
) -> VideoModel:
    """Load official PVDM files as a ``VideoModel``. No code in a file is run.

    The sizes of the networks follow from the shapes of their weights, so no config is needed.
    Weights are memory-mapped.

    Args:
        autoencoder: official file of the autoencoder, such as ``model_last.pth``; alone it makes
            a model without denoiser.
        denoiser: official file of the UNet, such as ``ema_model_850000.pth``.
        model: model whose autoencoder the denoiser uses; excludes ``autoencoder``.
        ema: whether the denoiser's weights are an exponential moving average; None: they are if the
            file's name begins with ``ema_``.
        heads: number of heads of the UNet's attention, which the weights do not determine; 8 in the
            released models, and by default.
        head_channels: the official option ``num_head_channels`` of the UNet, the width of a head,
            which is used instead of ``heads``; None: the official -1, so ``heads`` is used.
        new_attention_order: the official option ``use_new_attention_order`` of the UNet.
        fps: frame rate of the videos; None: that of ``model``, or 25.

    Raises:
        CheckpointError: a file is not a checkpoint, is damaged, or has another network's weights.
        ValueError: no file, no autoencoder or two of them are given, or that of ``model`` is not
            PVDM's.
    """
    found = _autoencoder(autoencoder, denoiser, model)
    rate = fps or (model.index.fps if model else FPS)
    made_by = " + ".join(path.name for path in (autoencoder, denoiser) if path)
    if denoiser is None:
        index = ModelIndex(fps=rate, ema=False, made_by=made_by)
        return VideoModel(index=index, autoencoder=found)
    sizes = partial(
        unet_config,
        spec=found.spec,
        planes=found.config.planes,
        heads=heads,
        head_channels=head_channels,
    )
    layout = PVDM_NEW_ATTENTION_ORDER if new_attention_order else PVDM
    unet: TriplaneUNet = _network(denoiser, DENOISER, sizes, layout)
    rollout = NextClip() if unet.config.previous else OneClip()
    index = ModelIndex(
        fps=rate,
        diffusion=DIFFUSION,
        sampling=Sampling(sampler=SAMPLER, rollout=rollout),
        ema=denoiser.name.startswith(EMA_PREFIX) if ema is None else ema,
        made_by=made_by,
    )
    return VideoModel(index=index, autoencoder=found, denoisers={"first": unet})


def _autoencoder(
    path: Path | None, denoiser: Path | None, model: VideoModel | None
) -> TriplaneAutoencoder:
    if path is not None and model is not None:
        raise ValueError(f"{path}: is an autoencoder, and the model has one too; give only one")
    if path is not None:
        return _network(path, AUTOENCODER, autoencoder_config, TRIPLANE)
    if denoiser is None:
        raise ValueError("no official file is given; give an autoencoder, a denoiser, or both")
    if model is None:
        raise ValueError(
            f"{denoiser}: a denoiser needs an autoencoder; give its autoencoder too, or a model "
            "that has it"
        )
    if not isinstance(model.autoencoder, TriplaneAutoencoder):
        raise ValueError(
            f"{denoiser}: works on planes, which the model's {type(model.autoencoder).__name__} "
            "does not make; give a model with PVDM's autoencoder"
        )
    return model.autoencoder


def _network(
    path: Path, wanted: str, sizes: Callable[[dict[str, Tensor]], Any], layout: OfficialLayout
) -> Any:
    """Load the network in a file; ``sizes`` makes longtake's config of the official state dict.

    ``wanted`` is what the file must hold, in words; otherwise a CheckpointError is raised.
    """
    state = _state(path, wanted)
    try:
        return layout.network(state, sizes(state))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _state(path: Path, wanted: str) -> dict[str, Tensor]:
    """Read a file's weights, by official name without prefixes.

    A CheckpointError if they are not of the network ``wanted``, ``an autoencoder`` or ``a UNet``.
    """
    tree = read_pickle(path)
    for key, what in _STATES.items():
        if isinstance(tree, dict) and key in tree:
            raise CheckpointError(f"{path}: has {what}, expected {wanted}; give model_*.pth")
    state = {PREFIXES.sub("", name, 1): value for name, value in read_state_dict(path).items()}
    known = (what for start, what in _OTHERS.items() if any(n.startswith(start) for n in state))
    unknown = (f"another network, with a weight {next(iter(state))!r}", "give an official file")
    found, advice = next(known, unknown)
    if found != wanted:
        raise CheckpointError(f"{path}: has {found}, expected {wanted} of PVDM; {advice}")
    return state
