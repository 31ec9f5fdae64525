"""The settings of official LVDM classes: which there are, and which values can be converted."""

from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import model_validator

from longtake import config
from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.config import Config, ConfigError


class Settings(Config):
    """Settings of an official class. Those in ``ignores`` do not change what it computes."""

    ignores: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _drop(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if key not in cls.ignores}


class Encoder(Settings):
    n_hiddens: int
    downsample: tuple[int, int, int]
    z_channels: int
    double_z: Literal[True]
    image_channel: Literal[3] = 3
    norm_type: Literal["group"] = "group"
    padding_type: Literal["replicate"] = "replicate"


class Decoder(Settings):
    n_hiddens: int
    upsample: tuple[int, int, int]
    z_channels: int
    image_channel: Literal[3] = 3
    norm_type: Literal["group"] = "group"


class EncoderNode(Settings):
    ignores = frozenset({"target"})
    params: Encoder


class DecoderNode(Settings):
    ignores = frozenset({"target"})
    params: Decoder


class Coders(Settings):
    double_z: Literal[True]
    z_channels: int
    encoder: EncoderNode
    decoder: DecoderNode


class OfficialAutoencoder(Settings):
    ignores = frozenset(
        {"lossconfig", "ckpt_path", "ignore_keys", "image_key", "monitor", "std", "mean", "prob"}
    )
    embed_dim: int
    ddconfig: Coders

    @property
    def factors(self) -> tuple[int, int, int]:
        """By which frames, height and width shrink."""
        return self.ddconfig.encoder.params.downsample

    def ours(self, clip: tuple[int, int, int]) -> VolumeAutoencoderConfig:
        """Our config, for clips of a size."""
        encoder, decoder = self.ddconfig.encoder.params, self.ddconfig.decoder.params
        there = encoder.n_hiddens, encoder.downsample, encoder.z_channels
        back = decoder.n_hiddens, decoder.upsample, decoder.z_channels
        if there != back or encoder.z_channels != self.ddconfig.z_channels:
            raise ConfigError(
                f"ddconfig: encoder and decoder differ in n_hiddens, factors or z_channels "
                f"({there} and {back}), expected the same of both"
            )
        return config.parse(
            VolumeAutoencoderConfig,
            {
                "clip": clip,
                "factors": encoder.downsample,
                "hidden": encoder.n_hiddens,
                "z_channels": encoder.z_channels,
                "embed_dim": None if self.embed_dim == encoder.z_channels else self.embed_dim,
            },
        )


class FramewiseCoders(Settings):
    ignores = frozenset({"dropout", "resolution"})
    double_z: Literal[True]
    z_channels: int
    in_channels: Literal[3]
    out_ch: Literal[3]
    ch: int
    ch_mult: tuple[int, ...]
    num_res_blocks: int
    attn_resolutions: tuple[()]


class OfficialFramewiseAutoencoder(Settings):
    ignores = frozenset({"lossconfig", "ckpt_path", "ignore_keys", "image_key", "monitor"})
    embed_dim: int
    ddconfig: FramewiseCoders

    @property
    def factors(self) -> tuple[int, int, int]:
        """By which frames, height and width shrink."""
        factor = 2 ** (len(self.ddconfig.ch_mult) - 1)
        return 1, factor, factor

    def ours(self, clip: tuple[int, int, int]) -> FramewiseAutoencoderConfig:
        """Our config, for clips of a size."""
        coders = self.ddconfig
        if self.embed_dim != coders.z_channels:
            raise ConfigError(
                f"embed_dim={self.embed_dim} and ddconfig.z_channels={coders.z_channels}, "
                "expected the same of both"
            )
        return config.parse(
            FramewiseAutoencoderConfig,
            {
                "clip": clip,
                "channels": coders.z_channels,
                "width": coders.ch,
                "channel_mult": coders.ch_mult,
                "num_res_blocks": coders.num_res_blocks,
            },
        )


class OfficialUNet(Settings):
    ignores = frozenset(
        {
            "image_size",
            "dropout",
            "use_checkpoint",
            "use_fp16",
            "num_heads_upsample",
            "legacy",
            "ST_transformer_module",
            "ST_transformer_class",
        }
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
                f"context_dim={self.context_dim} is read with use_temporal_transformer: true alone"
            )
        return self

    @property
    def attention(self) -> dict[str, Any]:
        """Our attention."""
        distance = self.temporal_length if self.use_relative_position else None
        if self.num_head_channels != -1:
            heads = {"head_channels": self.num_head_channels}
        else:
            heads = {"num_heads": self.num_heads}
        if self.use_temporal_transformer:
            text = {"depth": self.transformer_depth, "context_dim": self.context_dim}
            return {"kind": "st_transformer", "max_distance": distance, **text, **heads}
        position = None if distance is None else {"max_distance": distance}
        return {"kind": "st_attention", "relative_position": position, **heads}


class UNetNode(Settings):
    ignores = frozenset({"target"})
    params: OfficialUNet


class AutoencoderNode(Settings):
    ignores = frozenset({"target"})
    codes: ClassVar[str] = "3d"
    params: OfficialAutoencoder


class FramewiseNode(Settings):
    ignores = frozenset({"target"})
    codes: ClassVar[str] = "2d"
    params: OfficialFramewiseAutoencoder


Stage = TypeVar("Stage", AutoencoderNode, FramewiseNode)


class OfficialDiffusion(Settings, Generic[Stage]):
    ignores = frozenset(
        {
            "ckpt_path",
            "clip_denoised",
            "clip_length",
            "concat_mode",
            "cond_stage_forward",
            "cond_stage_key",
            "cond_stage_trainable",
            "cosine_s",
            "downfactor_t",
            "first_stage_key",
            "ignore_keys",
            "l_simple_weight",
            "latent_frame_strde",
            "load_only_unet",
            "log_every_t",
            "logvar_init",
            "max_noise_level",
            "monitor",
            "n_classes",
            "num_timesteps_cond",
            "only_model",
            "original_elbo_weight",
            "rand_temporal_mask",
            "scheduler_config",
            "split_clips",
            "uncondnoS",
            "v_posterior",
        }
    )
    unet_config: UNetNode
    first_stage_config: Stage
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
                "unconditional model, which says cond_stage_config: __is_unconditional__"
            )
        context = self.unet_config.params.context_dim
        if (self.conditioning_key == "crossattn") != (context is not None):
            raise ValueError(
                f"conditioning_key={self.conditioning_key} and context_dim={context} of the UNet: "
                "a model of text says crossattn and has a context_dim, others do neither"
            )
        codes = self.first_stage_config.codes
        if self.encoder_type != codes:
            raise ValueError(
                f"encoder_type: is {self.encoder_type!r}, expected {codes!r} with such a first "
                "stage"
            )
        return self

    @property
    def latent(self) -> tuple[int, int, int, int]:
        """Channels, frames, height and width of the latents."""
        size = self.image_size
        height, width = (size, size) if isinstance(size, int) else size
        frames = self.video_length or self.unet_config.params.temporal_length
        return self.channels, frames, height, width

    @property
    def reads_frames(self) -> bool:
        """Whether frames can be given."""
        return self.conditioning_key == "concat-adm-mask"

    @property
    def reads_text(self) -> bool:
        """Whether it is a model of text."""
        return self.conditioning_key == "crossattn"

    @property
    def between(self) -> bool:
        """Whether it was trained on first and last frame given, never on the first alone."""
        return self.reads_frames and bool(self.p_interp) and not self.p_pred
