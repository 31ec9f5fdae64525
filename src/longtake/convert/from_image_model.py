"""Makes video models of image models: Stable Diffusion's UNet, in diffusers' layout (LVDM, text).

Weights of layers that work within a frame are copied from the image model. Attention across frames
starts at zero, and groups are normalised in each frame alone, so that the first video of the model
is the image model's image in every frame. (The official code normalises over all frames of a clip,
so that its model differs from Stable Diffusion where frames differ.)
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtake.autoencoders.framewise import FramewiseAutoencoder, FramewiseAutoencoderConfig
from longtake.checkpoint import CheckpointError, check_finite
from longtake.config import ConfigError, parse, plural
from longtake.convert.layout import OfficialLayout, Rules, renamed
from longtake.denoisers.volume_unet import VolumeUNet, VolumeUNetConfig
from longtake.diffusion.guidance import ClassifierFree
from longtake.diffusion.process import Diffusion
from longtake.diffusion.samplers import DDIM
from longtake.documents import DocumentError, read_json
from longtake.latents import LatentScaling
from longtake.model import ModelIndex, Sampling, VideoModel
from longtake.text import PretrainedText

UNET, VAE = "UNet2DConditionModel", "AutoencoderKL"
CLIP_WIDTH = 768  # of CLIP ViT-L/14, the text encoder of Stable Diffusion 1
SCALE = 0.18215  # of the latents of Stable Diffusion 1 and 2

READ = frozenset(
    (
        *("in_channels", "out_channels", "block_out_channels", "layers_per_block"),
        *("down_block_types", "up_block_types", "norm_num_groups", "cross_attention_dim"),
        *("attention_head_dim", "num_attention_heads", "transformer_layers_per_block"),
    )
)
"""Names of settings of diffusers' UNet that become settings of ``VolumeUNetConfig``."""
UNUSED = frozenset({"sample_size", "use_linear_projection", "upcast_attention", "dropout"})
"""Names of settings of diffusers' UNet that do not change what it computes in float32."""
SCHEDULE: Mapping[str, Any] = {"beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v", "sample": "x0"}

_RESIDUAL: Rules = {
    r"\.residual\.norm_in\.": ".norm1.",
    r"\.residual\.conv_in\.": ".conv1.",
    r"\.residual\.embed\.": ".time_emb_proj.",
    r"\.residual\.norm_out\.": ".norm2.",
    r"\.residual\.conv_out\.": ".conv2.",
    r"\.residual\.skip\.": ".conv_shortcut.",
}
_TRANSFORMER: Rules = {
    r"\.attention\.blocks\.": ".attention.transformer_blocks.",
    r"\.spatial\.norm\.": ".norm1.",
    r"\.spatial\.": ".attn1.",
    r"\.cross\.norm\.": ".norm2.",
    r"\.cross\.": ".attn2.",
    r"\.feed_forward\.norm\.": ".norm3.",
    r"\.feed_forward\.gated\.": ".ff.net.0.proj.",
    r"\.feed_forward\.out\.": ".ff.net.2.",
    r"\.to_out\.": ".to_out.0.",
    r"\.attention\.": ".",
}
_RULES: Rules = {
    r"^time_embed\.0\.": "time_embedding.linear_1.",
    r"^time_embed\.2\.": "time_embedding.linear_2.",
    r"^norm_out\.": "conv_norm_out.",
    r"^middle\.first\.residual\.": "mid_block.resnets.0.residual.",
    r"^middle\.second\.residual\.": "mid_block.resnets.1.residual.",
    r"^middle\.first\.attention\.": "mid_block.attentions.0.attention.",
    r"^(down|up)\.(\d+)\.steps\.(\d+)\.residual\.": r"\1_blocks.\2.resnets.\3.residual.",
    r"^(down|up)\.(\d+)\.steps\.(\d+)\.attention\.": r"\1_blocks.\2.attentions.\3.attention.",
    r"^(down)\.(\d+)\.resample\.": r"\1_blocks.\2.downsamplers.0.",
    r"^(up)\.(\d+)\.resample\.": r"\1_blocks.\2.upsamplers.0.",
    **_RESIDUAL,
    **_TRANSFORMER,
}


def _spatial_names(config: VolumeUNetConfig) -> dict[str, str]:
    """Diffusers' names of the weights that an image UNet has too, by longtake's names."""
    return {k: v for k, v in renamed(config, _RULES).items() if ".temporal" not in k}


SPATIAL = OfficialLayout(names=_spatial_names, axes={r"\.(conv_shortcut|proj_in|proj_out)\.": 2})


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Number, height and width (pixels) of the frames of a video model's clips, and their rate."""

    frames: int = 16
    height: int = 256
    width: int = 256
    fps: float = 8.0


def read_image_model(
    folder: Path, *, model: VideoModel | None = None, clips: Clips | None = None
) -> VideoModel:
    """Make a video model from Stable Diffusion, to be trained on videos.

    Args:
        folder: folder, in the layout of diffusers, of a Stable Diffusion model with ``unet`` and
            ``vae``, or of its UNet alone.
        model: model that has the autoencoder, if ``folder`` is of a UNet alone; otherwise None.
        clips: clips of the video model; None: 16 frames of 256 x 256 pixels, 8 frames per second.

    Raises:
        CheckpointError: a folder does not hold such a network, or is broken.
        ConfigError: the UNet has a setting that LVDM's does not have, or the scheduler one that
            longtake does not have.
        ValueError: ``model`` is missing for a UNet alone, or given beside an autoencoder.
    """
    clips, place = clips or Clips(), folder / "unet" if (folder / "unet").is_dir() else folder
    settings = _settings(place, UNET)
    if place == folder and model is None:
        raise ValueError(f"{folder}: is a UNet alone, so its autoencoder is missing; give a model")
    if place != folder and model is not None:
        raise ValueError(f"{folder}: has its own autoencoder beside the UNet; leave out the model")
    autoencoder = _autoencoder(folder / "vae", clips) if model is None else model.autoencoder
    config = _unet_config(place, settings, clips, autoencoder.spec.shape)
    index = ModelIndex(
        fps=clips.fps,
        latent_scaling=_scaling(folder / "vae") if model is None else model.index.latent_scaling,
        diffusion=_diffusion(folder / "scheduler" / "scheduler_config.json"),
        sampling=Sampling(
            sampler=DDIM(steps=50, grid="leading"), guidance=ClassifierFree(scale=7.5)
        ),
        ema=False,
        text_encoder=PretrainedText() if config.attention.text_width == CLIP_WIDTH else None,
        made_by=folder.name,
    )
    denoiser = _unet(place, config)
    return VideoModel(index=index, autoencoder=autoencoder, denoisers={"first": denoiser})


def unet_config(settings: Mapping[str, Any], latent: tuple[int, ...], clips: Clips) -> Any:
    """Make the config of a video UNet from that of an image UNet of diffusers.

    Args:
        settings: ``config.json`` of the image UNet.
        latent: channels, frames, height and width of a clip's latent.
        clips: size of the video model's clips.

    Raises:
        ConfigError: the image UNet has a setting that LVDM's UNet does not have.
    """
    found = {**_defaults(UNET), **{k: v for k, v in settings.items() if not k.startswith("_")}}
    for name, default in _defaults(UNET).items():
        if name not in READ | UNUSED and found[name] != default:
            raise ConfigError(f"{name} is {found[name]!r}, expected {default!r} as in SD 1 and 2")
    widths, levels = found["block_out_channels"], len(found["block_out_channels"])
    attends = [str(kind).startswith("CrossAttn") for kind in found["down_block_types"]]
    kinds = [f"{'CrossAttn' * on}DownBlock2D" for on in attends]
    mirrored = [f"{'CrossAttn' * on}UpBlock2D" for on in reversed(attends)]
    if [*found["down_block_types"], *found["up_block_types"]] != [*kinds, *mirrored]:
        raise ConfigError(
            f"blocks are {', '.join(found['down_block_types'])} and "
            f"{', '.join(found['up_block_types'])}, expected {', '.join(kinds)} and "
            f"{', '.join(mirrored)}"
        )
    return parse(
        VolumeUNetConfig,
        {
            "latent": latent,
            "clip": (clips.frames, clips.height, clips.width),
            "model_channels": widths[0],
            "channel_mult": [width / widths[0] for width in widths],
            "num_res_blocks": found["layers_per_block"],
            "attention_resolutions": [2**level for level in range(levels) if attends[level]],
            "attention": {
                "kind": "st_transformer",
                "depth": found["transformer_layers_per_block"],
                "context_dim": found["cross_attention_dim"],
                "max_distance": clips.frames,
                **_heads(found),
            },
            "groups": found["norm_num_groups"],
            "scale_shift_norm": False,
            "norm_each_frame": True,
        },
    )


def _heads(found: Mapping[str, Any]) -> dict[str, int]:
    """Longtake's setting of attention heads: their number or, if that differs by level, width.

    ``attention_head_dim`` of diffusers' UNet is the number of heads (their issue 2011).
    """
    given, widths = (
        found["num_attention_heads"] or found["attention_head_dim"],
        found["block_out_channels"],
    )
    heads = given if isinstance(given, list | tuple) else [given] * len(widths)
    if len(set(heads)) == 1:
        return {"num_heads": heads[0]}
    sizes = {width // number for width, number in zip(widths, heads, strict=True)}
    if len(sizes) > 1:
        raise ConfigError(
            f"num_attention_heads (else attention_head_dim) is {given}; expected one number of "
            "heads for all levels, or numbers that give all heads one width in channels"
        )
    return {"head_channels": sizes.pop()}


def _unet_config(
    place: Path, settings: Mapping[str, Any], clips: Clips, latent: tuple[int, ...]
) -> VolumeUNetConfig:
    channels, _, height, width = latent if len(latent) == 4 else (0, 0, 0, 0)
    try:
        if {settings.get("in_channels", 4), settings.get("out_channels", 4)} != {channels}:
            have = f"have {plural(channels, 'channel')}" if channels else "are not 3D volumes"
            raise ConfigError(
                f"in_channels and out_channels are {settings.get('in_channels', 4)} and "
                f"{settings.get('out_channels', 4)}, but latents of the autoencoder {have}"
            )
        return unet_config(settings, (channels, clips.frames, height, width), clips)
    except ConfigError as error:
        raise ConfigError(f"{place / 'config.json'}: {error}") from error


def _unet(place: Path, config: VolumeUNetConfig) -> VolumeUNet:
    network = config.build()
    try:
        weights = SPATIAL.from_official(_state(place, UNET), config)
    except ValueError as error:
        raise CheckpointError(f"{place}: {error}") from error
    check_finite(weights, place)
    network.load_state_dict({**network.state_dict(), **weights})
    return network.eval()


def _autoencoder(place: Path, clips: Clips) -> FramewiseAutoencoder:
    """Read Stable Diffusion's autoencoder of the folder ``place``."""
    settings = {**_defaults(VAE), **_settings(place, VAE)}
    widths = settings["block_out_channels"]
    config = parse(
        FramewiseAutoencoderConfig,
        {
            "clip": (clips.frames, clips.height, clips.width),
            "channels": settings["latent_channels"],
            "width": widths[0],
            "channel_mult": [width / widths[0] for width in widths],
            "num_res_blocks": settings["layers_per_block"],
            "groups": settings["norm_num_groups"],
        },
    )
    network = config.build()
    weights = {f"coder.{name}": weight for name, weight in _state(place, VAE).items()}
    check_finite(weights, place)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{place}: is not Stable Diffusion's autoencoder ({error})"
        ) from error
    return network.eval()


def _scaling(place: Path) -> LatentScaling:
    return LatentScaling(scale=_settings(place, VAE).get("scaling_factor") or SCALE)


def _diffusion(path: Path) -> Diffusion:
    """Schedule and prediction of a file of scheduler settings; without it Stable Diffusion 1's."""
    found = _json(path) if path.exists() else {}
    for name, expected in SCHEDULE.items():
        if found.get(name, expected) != expected:
            raise ConfigError(f"{path}: {name} is {found[name]!r}, expected {expected!r}")
    prediction = found.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise ConfigError(
            f"{path}: prediction_type is {prediction!r}, expected {', '.join(PREDICTIONS)}"
        )
    betas = {
        "beta_start": found.get("beta_start", 0.00085),
        "beta_end": found.get("beta_end", 0.012),
    }
    if found.get("rescale_betas_zero_snr"):
        betas["rescale_betas_zero_snr"] = True
    schedule = {"kind": "scaled_linear", **betas}
    return parse(
        Diffusion,
        {"schedule": schedule, "prediction": PREDICTIONS[prediction], "loss": "l2"},
    )


def _settings(place: Path, kind: str) -> dict[str, Any]:
    """Read ``config.json`` of a folder of the network ``kind``, a class of diffusers."""
    path = place / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{place}: has no config.json; expected a folder of a {kind} of diffusers"
        )
    found = _json(path)
    if found.get("_class_name") != kind:
        raise CheckpointError(f"{path}: is of a {found.get('_class_name')}, expected a {kind}")
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except DocumentError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: is not a JSON object")
    return found


def _state(place: Path, kind: str) -> dict[str, Any]:
    """Weights of the network ``kind``, loaded by diffusers, which renames those of old files."""
    import diffusers

    try:
        network = getattr(diffusers, kind).from_pretrained(
            place, local_files_only=True, use_safetensors=True, low_cpu_mem_usage=False
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{place}: is not a whole {kind} of diffusers ({reason})") from error
    return network.float().state_dict()


def _defaults(kind: str) -> dict[str, Any]:
    """Default settings of the network ``kind``, a class of diffusers."""
    import diffusers

    build: Callable[..., None] = inspect.unwrap(getattr(diffusers, kind).__init__)
    parameters = inspect.signature(build).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
