"""The settings of official LVDM classes: which there are, and which values can be converted."""

from typing import Any, ClassVar, Literal

from pydantic import model_validator

from longtake import config
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


class OfficialUNet(Settings):
    ignores = frozenset(
        {
            "image_size",
            "dropout",
            "use_checkpoint",
            "use_fp16",
            "num_heads_upsample",
            "legacy",
            "transformer_depth",
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
    use_temporal_transformer: Literal[False] = False
    context_dim: None = None
    cond_aug_mode: None = None

    @property
    def attention(self) -> dict[str, Any]:
        """Our attention."""
        position = {"reach": self.temporal_length} if self.use_relative_position else None
        if self.num_head_channels != -1:
            heads = {"head_channels": self.num_head_channels}
        else:
            heads = {"num_heads": self.num_heads}
        return {"kind": "st_attention", "relative_position": position, **heads}


class UNetNode(Settings):
    ignores = frozenset({"target"})
    params: OfficialUNet


class AutoencoderNode(Settings):
    ignores = frozenset({"target"})
    params: OfficialAutoencoder


class OfficialDiffusion(Settings):
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
    first_stage_config: AutoencoderNode
    cond_stage_config: Any = None
    conditioning_key: Literal["adm", "concat-adm-mask"] | None = None
    channels: int
    image_size: int | tuple[int, int]
    video_length: int | None = None
    encoder_type: Literal["3d"]
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
                "conditioning_key: is missing; expected adm, concat-adm-mask or an unconditional "
                "model, which says cond_stage_config: __is_unconditional__"
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
    def between(self) -> bool:
        """Whether it was trained on first and last frame given, never on the first alone."""
        return self.reads_frames and bool(self.p_interp) and not self.p_pred
