"""Schemas of the settings of official LVDM classes, with the values that can be converted."""

from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from annotated_types import Ge, Interval
from pydantic import model_validator

from longtake import config
from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.config import Config, ConfigError


class Settings(Config):
    """Settings of a class of the official LVDM code, as its YAML config has them.

    Attributes:
        ignores: names of settings, separated by spaces, that do not change what the class computes.
    """

    ignores: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _drop(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: data[key] for key in data if key not in cls.ignores.split()}
        return data


Parameters = TypeVar("Parameters", bound=Settings)


class Node(Settings, Generic[Parameters]):
    """A part of an official config that builds a class: its settings, ``params``."""

    ignores = "target"
    params: Parameters


Factors = tuple[int, int, int]  # downsampling of frames, height and width


class Coder(Settings):
    n_hiddens: int
    z_channels: int
    image_channel: Literal[3] = 3
    norm_type: Literal["group"] = "group"


class Encoder(Coder):
    downsample: Factors
    double_z: Literal[True]
    padding_type: Literal["replicate"] = "replicate"


class Decoder(Coder):
    upsample: Factors


class Coders(Settings):
    double_z: Literal[True]
    z_channels: int
    encoder: Node[Encoder]
    decoder: Node[Decoder]


class OfficialAutoencoder(Settings):
    ignores = "lossconfig ckpt_path ignore_keys image_key monitor std mean prob"
    encoder_type: ClassVar[str] = "3d"
    embed_dim: int
    ddconfig: Coders

    @property
    def factors(self) -> Factors:
        """Downsampling factors of frames, height and width."""
        return self.ddconfig.encoder.params.downsample

    def ours(self, clip: tuple[int, int, int]) -> VolumeAutoencoderConfig:
        """Longtake's config of this autoencoder, for clips of ``clip`` frames, height and width.

        Raises:
            ConfigError: encoder and decoder differ in their sizes, or the sizes do not fit each
                other.
        """
        encoder, decoder = self.ddconfig.encoder.params, self.ddconfig.decoder.params
        down = encoder.n_hiddens, encoder.downsample, encoder.z_channels
        up = decoder.n_hiddens, decoder.upsample, decoder.z_channels
        if down != up:
            raise ConfigError(
                "ddconfig: encoder and decoder differ in n_hiddens, downsample and upsample, or "
                f"z_channels ({down} and {up}), expected the same of both"
            )
        if encoder.z_channels != self.ddconfig.z_channels:
            raise ConfigError(
                f"ddconfig: z_channels={self.ddconfig.z_channels} must be the encoder's and "
                f"decoder's, {encoder.z_channels}"
            )
        ours = {
            "clip": clip,
            "factors": self.factors,
            "hidden": encoder.n_hiddens,
            "z_channels": encoder.z_channels,
            "embed_dim": None if self.embed_dim == encoder.z_channels else self.embed_dim,
        }
        return config.parse(VolumeAutoencoderConfig, ours)


class FramewiseCoders(Settings):
    ignores = "dropout resolution"
    double_z: Literal[True]
    z_channels: int
    in_channels: Literal[3]
    out_ch: Literal[3]
    ch: int
    ch_mult: tuple[int, ...]
    num_res_blocks: int
    attn_resolutions: tuple[()]


class OfficialFramewiseAutoencoder(Settings):
    ignores = "lossconfig ckpt_path ignore_keys image_key monitor"
    encoder_type: ClassVar[str] = "2d"
    embed_dim: int
    ddconfig: FramewiseCoders

    @property
    def factors(self) -> Factors:
        """Downsampling factors of frames, height and width."""
        factor = 2 ** (len(self.ddconfig.ch_mult) - 1)
        return 1, factor, factor

    def ours(self, clip: tuple[int, int, int]) -> FramewiseAutoencoderConfig:
        """Longtake's config of this autoencoder, for clips of ``clip`` frames, height and width.

        Raises:
            ConfigError: ``embed_dim`` differs from ``ddconfig.z_channels``.
        """
        coders = self.ddconfig
        if self.embed_dim != coders.z_channels:
            raise ConfigError(
                f"embed_dim={self.embed_dim} and ddconfig.z_channels={coders.z_channels}, "
                "expected the same of both"
            )
        ours = {
            "clip": clip,
            "channels": coders.z_channels,
            "width": coders.ch,
            "channel_mult": coders.ch_mult,
            "num_res_blocks": coders.num_res_blocks,
        }
        return config.parse(FramewiseAutoencoderConfig, ours)


class OfficialUNet(Settings):
    ignores = (
        "image_size dropout use_checkpoint use_fp16 num_heads_upsample legacy "
        "ST_transformer_module ST_transformer_class"
    )
    in_channels: int
    out_channels: int
    model_channels: int
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    channel_mult: tuple[int, ...] = (1, 2, 4, 8)
    num_classes: int | None = None
    num_heads: int = -1
    num_head_channels: int = -1
    use_scale_shift_norm: bool = False
    resblock_updown: bool = False
    temporal_length: int
    use_relative_position: bool = False
    padding_t: Literal[0]
    kernel_size_t: Literal[1] = 1
    conv_resample: Literal[True] = True
    dims: Literal[3] = 3
    nonlinearity_type: Literal["silu"] = "silu"
    use_temporal_transformer: bool = False
    transformer_depth: int = 1
    context_dim: int | None = None
    cond_aug_mode: None = None

    @model_validator(mode="after")
    def _reads_text_where_it_can(self) -> "OfficialUNet":
        if self.context_dim is not None and not self.use_temporal_transformer:
            raise ValueError(
                f"context_dim={self.context_dim} is read only with use_temporal_transformer: true"
            )
        return self

    @property
    def attention(self) -> dict[str, Any]:
        """Longtake's config of the UNet's attention, as JSON data."""
        distance = self.temporal_length if self.use_relative_position else None
        heads = {"head_channels": self.num_head_channels}
        if self.num_head_channels == -1:
            heads = {"num_heads": self.num_heads}
        if self.use_temporal_transformer:
            text = {"depth": self.transformer_depth, "context_dim": self.context_dim}
            return {"kind": "st_transformer", "max_distance": distance, **text, **heads}
        position = None if distance is None else {"max_distance": distance}
        return {"kind": "st_attention", "relative_position": position, **heads}


class OfficialDiffusion(Settings):
    ignores = (
        "ckpt_path clip_denoised clip_length concat_mode cond_stage_forward cond_stage_key "
        "cond_stage_trainable cosine_s downfactor_t first_stage_key ignore_keys l_simple_weight "
        "load_only_unet log_every_t logvar_init max_noise_level monitor "
        "n_classes num_timesteps_cond only_model original_elbo_weight rand_temporal_mask "
        "scheduler_config split_clips uncondnoS"
    )
    unet_config: Node[OfficialUNet]
    first_stage_config: Any
    cond_stage_config: Any = None
    conditioning_key: Literal["adm", "concat-adm-mask", "crossattn"] | None = None
    channels: int
    image_size: int | tuple[int, int]
    video_length: int | None = None
    encoder_type: Literal["2d", "3d"] = "2d"
    scale_factor: float = 1.0
    shift_factor: float = 0.0
    scale_by_std: bool = False
    use_ema: bool = True
    timesteps: Literal[1000] = 1000
    beta_schedule: Literal["linear"] = "linear"
    given_betas: None = None
    linear_start: float = 1e-4
    linear_end: float = 2e-2
    parameterization: Literal["eps", "x0"] = "eps"
    loss_type: Literal["l1", "l2"] = "l2"
    learn_logvar: Literal[False] = False
    noisy_cond: bool = False
    latent_frame_strde: Annotated[int, Ge(1)] | None = None  # spelled so in the official code
    v_posterior: Annotated[float, Interval(ge=0, le=0)] = 0.0
    p_interp: float | None = None
    p_pred: float | None = None
    n_prevs: tuple[int, ...] | None = (1,)
    interp_frame_stride: None = None
    mergenoisy: Literal[True] = True
    mask_cond_loss: Literal[False] = False
    concat_mask_on_input: Literal[True] = True

    @model_validator(mode="after")
    def _conditions(self) -> "OfficialDiffusion":
        if self.conditioning_key is None and self.cond_stage_config != "__is_unconditional__":
            raise ValueError(
                "conditioning_key: is missing; expected adm, concat-adm-mask, crossattn or an "
                "unconditional model, which has cond_stage_config: __is_unconditional__"
            )
        context = self.unet_config.params.context_dim
        if (self.conditioning_key == "crossattn") != (context is not None):
            raise ValueError(
                f"conditioning_key={self.conditioning_key} and context_dim={context} of the UNet: "
                "a text-to-video model has crossattn and a context_dim, other models have neither"
            )
        return self

    @property
    def latent(self) -> tuple[int, int, int, int]:
        """Channels, frames, height and width of the latents that the denoiser samples."""
        size = self.image_size
        height, width = (size, size) if isinstance(size, int) else size
        frames = self.video_length or self.unet_config.params.temporal_length
        return self.channels, frames, height, width

    @property
    def reads_frames(self) -> bool:
        """Whether the denoiser reads context frames."""
        return self.conditioning_key == "concat-adm-mask"

    @property
    def interpolates(self) -> bool:
        """Whether training gave the first and last frame as context, never the first alone."""
        return self.reads_frames and bool(self.p_interp) and not self.p_pred
