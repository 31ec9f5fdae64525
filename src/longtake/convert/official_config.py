"""Reads official LVDM configs (OmegaConf YAML) strictly and converts them to ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtake import config
from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.config import ConfigError
from longtake.convert.official_schema import (
    Node,
    OfficialAutoencoder,
    OfficialDiffusion,
    OfficialFramewiseAutoencoder,
)
from longtake.denoisers.volume_unet import VolumeUNetConfig
from longtake.diffusion.guidance import ClassifierFree
from longtake.diffusion.process import Diffusion
from longtake.diffusion.samplers import DDIM, DDPM
from longtake.latents import LatentScaling
from longtake.model import Sampling
from longtake.rollout import Autoregressive

AUTOENCODERS: dict[str, Any] = {
    "lvdm.models.autoencoder3d.AutoencoderKL": OfficialAutoencoder,
    "lvdm.models.autoencoder.AutoencoderKL": OfficialFramewiseAutoencoder,
}
DIFFUSION = (
    "lvdm.models.ddpm3d.LatentDiffusion",
    "lvdm.models.ddpm3d.FrameInterpPredLatentDiffusion",
)
PERTURBATION = 0.101  # time of the noise on context frames in the official sampling, index 100
REFERENCE = re.compile(r"\$\{([\w.]+)\}")
MOST_REFERENCES = 100  # one after another


@dataclass(frozen=True, kw_only=True)
class OfficialModel:
    """An official LVDM config, converted to configs of longtake.

    Attributes:
        autoencoder: config of the autoencoder.
        denoiser: config of the UNet; None if the config is of an autoencoder alone.
        diffusion: schedule, prediction and loss of the denoiser's training; None without denoiser.
        latent_scaling: scale and shift of the latents.
        measured_scale: whether the scale was measured in training, so that the checkpoint holds it.
        sampling: sampling settings.
        interpolates: whether the denoiser interpolates between keyframes.
        frame_stride: distance between the latent frames that the denoiser samples, in latent frames
            of the video; 4 for keyframes.
        ema: whether training kept an exponential moving average of the weights.
    """

    autoencoder: VolumeAutoencoderConfig | FramewiseAutoencoderConfig
    denoiser: VolumeUNetConfig | None = None
    diffusion: Diffusion | None = None
    latent_scaling: LatentScaling = LatentScaling()  # noqa: RUF009
    measured_scale: bool = False
    sampling: Sampling = Sampling()  # noqa: RUF009
    interpolates: bool = False
    frame_stride: int = 1
    ema: bool = False


def read_official(path: Path) -> OfficialModel:
    """Read an official LVDM config from a YAML file.

    Raises:
        ConfigError: the file is not an official config, has an unknown setting, or describes a
            model that cannot be converted.
    """
    data = config.read(path)
    try:
        root = resolve(data)
        node = root.get("model")
        if not isinstance(node, dict) or not isinstance(node.get("params"), dict):
            raise ConfigError(
                "the config has no section model.params, as official LVDM configs have"
            )
        target, params = str(node.get("target")), node["params"]
        if target in AUTOENCODERS:
            found = _parse(AUTOENCODERS[target], params, "model.params")
            return OfficialModel(autoencoder=found.ours(_clip_of_data(root)))
        if target not in DIFFUSION:
            valid = ", ".join((*AUTOENCODERS, *DIFFUSION))
            raise ConfigError(f"model.target: {target!r} is not a model of LVDM; valid are {valid}")
        return _latent_diffusion(params)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def resolve(root: dict[str, Any]) -> dict[str, Any]:
    """Return a config's data with each ``${a.b}`` replaced by the config's value at ``a.b``.

    A reference without a value is left as it is: official configs do not define the paths of data
    and checkpoints.

    Raises:
        ConfigError: a reference leads back to itself.
    """

    def replaced(node: Any, depth: int) -> Any:
        match node:
            case dict():
                return {key: replaced(value, depth) for key, value in node.items()}
            case list():
                return [replaced(value, depth) for value in node]
            case str() if whole := REFERENCE.fullmatch(node):
                return looked_up(whole, depth)
            case str():
                return REFERENCE.sub(lambda part: str(looked_up(part, depth)), node)
        return node

    def looked_up(reference: re.Match[str], depth: int) -> Any:
        if depth == MOST_REFERENCES:
            raise ConfigError(f"the reference {reference[0]} leads back to itself; give it a value")
        node: Any = root
        for key in reference[1].split("."):
            node = node.get(key) if isinstance(node, Mapping) else None
        return reference[0] if node is None else replaced(node, depth + 1)

    return replaced(root, 0)


def _latent_diffusion(params: dict[str, Any]) -> OfficialModel:
    """Convert ``model.params`` of an official config of a latent diffusion model."""
    place = "model.params"
    stage = params.get("first_stage_config")
    target = str(stage.get("target") if isinstance(stage, dict) else None)
    if target not in AUTOENCODERS:
        raise ConfigError(
            f"{place}.first_stage_config.target: {target!r} cannot be converted; valid are "
            f"{', '.join(AUTOENCODERS)}"
        )
    first_stage = _parse(Node[AUTOENCODERS[target]], stage, f"{place}.first_stage_config").params
    found: OfficialDiffusion = _parse(OfficialDiffusion, params, place)
    if found.encoder_type != first_stage.encoder_type:
        raise ConfigError(
            f"{place}.encoder_type: is {found.encoder_type!r}, expected "
            f"{first_stage.encoder_type!r} with this first stage"
        )
    _, frames, height, width = found.latent
    # an interpolation model reads one latent frame more than the autoencoder was trained on
    sizes = (frames - found.interpolates, height, width)
    t, h, w = (size * factor for size, factor in zip(sizes, first_stage.factors, strict=True))
    betas = {"beta_start": found.linear_start, "beta_end": found.linear_end}
    diffusion = {
        "schedule": {"kind": "scaled_linear", **betas},
        "prediction": {"eps": "epsilon", "x0": "x0"}[found.parameterization],
        "loss": found.loss_type,
    }
    scaling = {"shift": found.shift_factor, "scale": found.scale_factor}
    return OfficialModel(
        autoencoder=first_stage.ours((t, h, w)),
        denoiser=_unet(found, (frames * first_stage.factors[0], h, w)),
        diffusion=_parse(Diffusion, diffusion, place),
        latent_scaling=_parse(LatentScaling, scaling, place),
        measured_scale=found.scale_by_std,
        sampling=_sampling(found),
        interpolates=found.interpolates,
        frame_stride=1 if found.interpolates else found.latent_frame_strde or 1,
        ema=found.use_ema,
    )


def _unet(found: OfficialDiffusion, clip: tuple[int, int, int]) -> VolumeUNetConfig:
    unet = found.unet_config.params
    reads = "noise_classes" if found.reads_frames else "num_classes"
    asked = found.channels + found.reads_frames
    if (unet.in_channels, unet.out_channels) != (asked, found.channels):
        raise ConfigError(
            f"unet_config: in_channels={unet.in_channels} and out_channels={unet.out_channels}, "
            f"expected {asked} and {found.channels} with conditioning_key={found.conditioning_key}"
        )
    same = "model_channels channel_mult num_res_blocks attention_resolutions resblock_updown"
    ours = {
        **unet.model_dump(include=set(same.split())),
        "latent": found.latent,
        "clip": clip,
        "attention": unet.attention,
        "scale_shift_norm": unet.use_scale_shift_norm,
        "mask_channel": found.reads_frames,
        reads: unet.num_classes,
    }
    return _parse(VolumeUNetConfig, ours, "model.params.unet_config")


def _sampling(found: OfficialDiffusion) -> Sampling:
    """Sampling of the official scripts: DDPM for a clip, guided DDIM for text and long video."""
    ddim = DDIM(steps=50, eta=1.0, grid="leading")
    if found.conditioning_key == "crossattn":
        return Sampling(sampler=ddim, guidance=ClassifierFree(scale=15.0))
    if not found.reads_frames:
        return Sampling(sampler=DDPM())
    return Sampling(
        sampler=ddim,
        guidance=ClassifierFree(scale=1.1, condition_on_noise_level=False),
        rollout=Autoregressive(overlap_latent_frames=max(found.n_prevs or (1,))),
        context_noise=PERTURBATION if found.noisy_cond else 0.0,
    )


def _clip_of_data(root: Mapping[str, Any]) -> tuple[int, int, int]:
    """Frames, height and width of clips in a config's data section, else of released models."""
    node: Any = root
    for key in ("data", "params", "train", "params"):
        node = node.get(key) if isinstance(node, Mapping) else None
    found = node if isinstance(node, Mapping) else {}
    size = found.get("resolution")
    given = [found.get("video_length"), *(size if isinstance(size, list) else (size, size))]
    defaults = VolumeAutoencoderConfig().clip
    t, h, w = (x if isinstance(x, int) else y for x, y in zip(given, defaults, strict=False))
    return t, h, w


def _parse(kind: Any, data: Any, path: str) -> Any:
    try:
        return config.parse(kind, data)
    except ConfigError as error:
        raise ConfigError(f"{path}.{error}") from error
