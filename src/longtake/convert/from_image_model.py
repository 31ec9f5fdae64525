"""Makes video models of image models: Stable Diffusion's UNet, in diffusers' layout (LVDM, text).

Weights of layers that work within a frame are copied from the image model. Attention across frames
starts at zero, and groups are normalised in each frame alone, so that the first video of the model
is the image model's image in every frame. (The official code normalises over all frames of a clip,
so that its model differs from Stable Diffusion where frames differ.)
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from annotated_types import Gt, MinLen

from longtake.autoencoders.framewise import FramewiseAutoencoder, FramewiseAutoencoderConfig
from longtake.checkpoint import CheckpointError, check_finite, fill, read_header
from longtake.config import Config, ConfigError, parse, plural
from longtake.convert.layout import OfficialLayout, Rules, renamed, shapes_of
from longtake.denoisers.volume_unet import VolumeUNet, VolumeUNetConfig
from longtake.diffusion.guidance import ClassifierFree
from longtake.diffusion.process import Diffusion
from longtake.diffusion.samplers import DDIM
from longtake.documents import DocumentError, read_json
from longtake.latents import LatentScaling
from longtake.meta_device import build_empty
from longtake.model import ModelIndex, Sampling, VideoModel
from longtake.nn import Count
from longtake.text import PretrainedText

UNET, VAE = "UNet2DConditionModel", "AutoencoderKL"
CLIP_WIDTH = 768  # of CLIP ViT-L/14, the text encoder of Stable Diffusion 1
FILE = "diffusion_pytorch_model"
MOST_LAYERS = 4  # weight tensors of longtake's network for each of the image model's

UNUSED = frozenset(
    ("sample_size", "use_linear_projection", "upcast_attention", "dropout", "force_upcast")
)
"""Names of settings of diffusers' networks that do not change what they compute in float32."""
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


class _Network(Config):
    """Settings that diffusers' UNet and autoencoder have, and that longtake's have too."""

    in_channels: Count
    out_channels: Count
    block_out_channels: Annotated[tuple[Count, ...], MinLen(1)]
    layers_per_block: Count
    down_block_types: tuple[str, ...]
    up_block_types: tuple[str, ...]
    norm_num_groups: Count


class _UNet(_Network):
    cross_attention_dim: Count
    attention_head_dim: Count | tuple[Count, ...]
    num_attention_heads: Count | tuple[Count, ...] | None
    transformer_layers_per_block: Count


class _Autoencoder(_Network):
    latent_channels: Count
    scaling_factor: Annotated[float, Gt(0)]


N = TypeVar("N", bound=_Network)


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
        raise ValueError(f"{folder}: is a UNet alone; give a model that has its autoencoder")
    if place != folder and model is not None:
        raise ValueError(f"{folder}: has its own autoencoder beside the UNet; leave out the model")
    if model is None:
        autoencoder, scaling = _autoencoder(folder / "vae", clips)
    else:
        autoencoder, scaling = model.autoencoder, model.index.latent_scaling
    config = _unet_config(place, settings, clips, autoencoder.spec.shape)
    index = ModelIndex(
        fps=clips.fps,
        latent_scaling=scaling,
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
    found = _known(_UNet, UNET, settings)
    widths, levels = found.block_out_channels, len(found.block_out_channels)
    attends = [kind.startswith("CrossAttn") for kind in found.down_block_types]
    kinds = [f"{'CrossAttn' * on}DownBlock2D" for on in attends]
    mirrored = [f"{'CrossAttn' * on}UpBlock2D" for on in reversed(attends)]
    _check_blocks(found, kinds, mirrored)
    return parse(
        VolumeUNetConfig,
        {
            "latent": latent,
            "clip": (clips.frames, clips.height, clips.width),
            "model_channels": widths[0],
            "channel_mult": [width / widths[0] for width in widths],
            "num_res_blocks": found.layers_per_block,
            "attention_resolutions": [2**level for level in range(levels) if attends[level]],
            "attention": {
                "kind": "st_transformer",
                "depth": found.transformer_layers_per_block,
                "context_dim": found.cross_attention_dim,
                "max_distance": clips.frames,
                **_heads(found),
            },
            "groups": found.norm_num_groups,
            "scale_shift_norm": False,
            "norm_each_frame": True,
        },
    )


def _known(kind: type[N], name: str, settings: Mapping[str, Any]) -> N:
    """Settings of a network, of which longtake's has those of ``kind``; the others are as usual.

    ``name`` is the network's class in diffusers, ``settings`` its ``config.json``.
    """
    defaults = _defaults(name)
    found = {**defaults, **{k: v for k, v in settings.items() if not k.startswith("_")}}
    for key, default in defaults.items():
        if key not in UNUSED | kind.model_fields.keys() and found[key] != default:
            raise ConfigError(f"{key} is {found[key]!r}, expected {default!r} as in SD 1 and 2")
    return parse(kind, {key: found[key] for key in kind.model_fields})


def _check_blocks(found: _Network, down: Sequence[str], up: Sequence[str]) -> None:
    """Raise a ConfigError unless a network has the kinds of blocks ``down`` and ``up``."""
    given, levels = (*found.down_block_types, *found.up_block_types), len(found.block_out_channels)
    if given != (*down, *up) or len(down) != levels:
        raise ConfigError(
            f"blocks are {', '.join(found.down_block_types)} and "
            f"{', '.join(found.up_block_types)}, expected {plural(levels, 'block')} each: "
            f"{', '.join(down)} and {', '.join(up)}"
        )


def _heads(found: _UNet) -> dict[str, int]:
    """Longtake's setting of attention heads: their number or, if that differs by level, width.

    ``attention_head_dim`` of diffusers' UNet is the number of heads (their issue 2011).
    """
    given, widths = found.num_attention_heads or found.attention_head_dim, found.block_out_channels
    heads = given if isinstance(given, tuple) else (given,) * len(widths)
    if len(set(heads)) == 1:
        return {"num_heads": heads[0]}
    sizes = {width // number for width, number in zip(widths, heads, strict=False)}
    if len(sizes) != 1 or len(heads) != len(widths):
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
        if [settings.get("in_channels", 4), settings.get("out_channels", 4)] != [channels] * 2:
            have = f"have {plural(channels, 'channel')}" if channels else "are not 3D volumes"
            raise ConfigError(
                f"in_channels and out_channels are {settings.get('in_channels', 4)} and "
                f"{settings.get('out_channels', 4)}, but latents of the autoencoder {have}"
            )
        return unet_config(settings, (channels, clips.frames, height, width), clips)
    except ConfigError as error:
        raise ConfigError(f"{place / 'config.json'}: {error}") from error


def _unet(place: Path, config: VolumeUNetConfig) -> VolumeUNet:
    _check_size(place, UNET, config, SPATIAL.names)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)  # of the layers across frames, so that equal calls make equal models
        network = config.build()
    try:
        weights = SPATIAL.from_official(_state(place, UNET), config)
    except ValueError as error:
        raise CheckpointError(f"{place}: {error}") from error
    check_finite(weights, place)
    network.load_state_dict({**network.state_dict(), **weights})
    return network.eval()


def _autoencoder(place: Path, clips: Clips) -> tuple[FramewiseAutoencoder, LatentScaling]:
    """Read Stable Diffusion's autoencoder of the folder ``place``, and the scale of its latents."""
    settings = _settings(place, VAE)
    try:
        found = _known(_Autoencoder, VAE, settings)
        widths, levels = found.block_out_channels, len(found.block_out_channels)
        _check_blocks(found, ["DownEncoderBlock2D"] * levels, ["UpDecoderBlock2D"] * levels)
        if (found.in_channels, found.out_channels) != (3, 3):
            raise ConfigError("in_channels and out_channels must be 3, as frames are RGB")
        config = parse(
            FramewiseAutoencoderConfig,
            {
                "clip": (clips.frames, clips.height, clips.width),
                "channels": found.latent_channels,
                "width": widths[0],
                "channel_mult": [width / widths[0] for width in widths],
                "num_res_blocks": found.layers_per_block,
                "groups": found.norm_num_groups,
            },
        )
    except ConfigError as error:
        raise ConfigError(f"{place / 'config.json'}: {error}") from error
    _check_size(place, VAE, config, shapes_of)
    network = config.build()
    weights = {f"coder.{name}": weight for name, weight in _state(place, VAE).items()}
    fill(network, weights, f"{place}, as Stable Diffusion's autoencoder")
    return network.eval(), LatentScaling(scale=found.scaling_factor)


def _check_size(place: Path, kind: str, config: Any, names: Callable[[Any], Iterable[str]]) -> None:
    """Raise an error unless a network's files have as many numbers as its config says.

    Nothing is allocated before. ``names`` gives longtake's names of the weights that the files of
    the network ``kind`` hold; old files have other names for some, which diffusers knows.
    """
    files = [place / f"{FILE}.safetensors"]
    files = files if files[0].exists() else [*place.glob(f"{FILE}-*.safetensors")]
    if not files:
        raise CheckpointError(
            f"{place}: is not a whole {kind} of diffusers (no {FILE}.safetensors)"
        )
    shapes = [shape for file in files for shape, _ in read_header(file).values()]
    try:
        build_empty(config, MOST_LAYERS * len(shapes) + 100)  # ends at once if they are absurd
        expected = [shapes_of(config)[name] for name in names(config)]
    except ConfigError as error:
        raise ConfigError(f"{place / 'config.json'}: {error}") from error
    there, asked = sum(map(math.prod, shapes)), sum(map(math.prod, expected))
    if there != asked:
        raise CheckpointError(
            f"{place}: is not a whole {kind} of diffusers (its files have {there:,} numbers, its "
            f"config.json asks for {asked:,})"
        )


def _diffusion(path: Path) -> Diffusion:
    """Schedule and prediction of a file of scheduler settings; without it Stable Diffusion 1's."""
    found = _json(path) if path.exists() else {}
    for name, expected in SCHEDULE.items():
        if found.get(name, expected) != expected:
            raise ConfigError(f"{path}: {name} is {found[name]!r}, expected {expected!r}")
    prediction = str(found.get("prediction_type", "epsilon"))
    if prediction not in PREDICTIONS:
        raise ConfigError(
            f"{path}: prediction_type is {prediction!r}, expected {', '.join(PREDICTIONS)}"
        )
    schedule = {
        "kind": "scaled_linear",
        "beta_start": found.get("beta_start", 0.00085),
        "beta_end": found.get("beta_end", 0.012),
        "rescale_betas_zero_snr": found.get("rescale_betas_zero_snr", False),
    }
    try:
        return parse(
            Diffusion,
            {"schedule": schedule, "prediction": PREDICTIONS[prediction], "loss": "l2"},
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


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
