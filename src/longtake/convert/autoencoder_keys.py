"""Official names and shapes of the weights of LVDM's and PVDM's autoencoders."""

from longtake.autoencoders.framewise import FramewiseAutoencoderConfig
from longtake.convert.layout import OfficialLayout, Rules, renamed

LOSS = r"loss\."  # weights of the networks of the training's loss

_VOLUME: Rules = {
    r"^to_moments\.": "quant_conv.conv.",
    r"^from_latent\.": "post_quant_conv.conv.",
    r"^encoder\.conv_in\.": "encoder.conv_first.conv.",
    r"^encoder\.norm_out\.": "encoder.final_block.0.",
    r"^encoder\.conv_out\.": "encoder.final_block.2.conv.",
    r"^decoder\.conv_out\.": "decoder.conv_out.conv.",
    r"\.levels\.": ".conv_blocks.",
    r"\.down\.": ".down.conv.",
    r"\.up\.": ".up.convt.",
    r"\.residual\.": ".res.",
    r"\.first\.": ".res1.",
    r"\.second\.": ".res2.",
    r"\.norm_in\.": ".norm1.",
    r"\.norm_out\.": ".norm2.",
    r"\.conv_in\.": ".conv1.conv.",
    r"\.(res\d?)\.conv_out\.": r".\1.conv2.conv.",
}

VOLUME = OfficialLayout(
    names=lambda config: renamed(config, _VOLUME),
    # the official padded convolution stores its weight twice
    spelling={
        r"(conv_first|final_block\.2|conv[12]|down|quant_conv|conv_out)\.weight$": r"\1.conv.weight"
    },
    unread=LOSS,
)
"""Official names and shapes of LVDM's 3D autoencoder, here ``VolumeAutoencoder``."""

_FRAMEWISE: Rules = {
    r"^coder\.": "",
    r"\.(down|up)_blocks\.": r".\1.",
    r"\.(down|up)samplers\.0\.": r".\1sample.",
    r"\.mid_block\.resnets\.0\.": ".mid.block_1.",
    r"\.mid_block\.resnets\.1\.": ".mid.block_2.",
    r"\.mid_block\.attentions\.0\.": ".mid.attn_1.",
    r"\.resnets\.": ".block.",
    r"\.conv_shortcut\.": ".nin_shortcut.",
    r"\.group_norm\.": ".norm.",
    r"\.to_([qkv])\.": r".\1.",
    r"\.to_out\.0\.": ".proj_out.",
    r"\.conv_norm_out\.": ".norm_out.",
}


def _framewise_names(config: FramewiseAutoencoderConfig) -> dict[str, str]:
    # the official decoder counts its levels from the finest, ours from the coarsest
    last = len(config.channel_mult) - 1
    levels: Rules = {r"^decoder\.up\.(\d+)\.": lambda found: f"decoder.up.{last - int(found[1])}."}
    return renamed(config, {**_FRAMEWISE, **levels})


FRAMEWISE = OfficialLayout(
    names=_framewise_names, axes={r"\.attn_1\.(q|k|v|proj_out)\.": 2}, unread=LOSS
)
"""Official names and shapes of the frame-wise autoencoder of LVDM's text-to-video model.

Official names are those of Stable Diffusion's checkpoints; ours are diffusers'.
"""

_TRIPLANE: Rules = {
    r"^encoder\.embed\.": "encoder.to_patch_embedding.",
    r"^decoder\.to_pixel\.": "to_pixel.1.",
    r"\.transformer\.": ".",
    r"\.content\.": ".xy.",
    r"\.motion_h\.": ".xt.",
    r"\.motion_w\.": ".yt.",
    r"^decoder\.(xy|xt|yt)\.": r"post_\1.",
    r"^encoder\.(xy|xt|yt)\.project\.": r"pre_\1.",
    r"^encoder\.(xy|xt|yt)\.token$": r"\1_token",
    r"^encoder\.(xy|xt|yt)\.position$": r"\1_pos_embedding",
    r"^encoder\.(xy|xt|yt)\.": r"\1_quant_attn.",
    r"\.(time|attention)\.": ".0.",
    r"\.(space|mlp)\.": ".1.",
    r"\.feed_forward\.": ".2.",
    r"\.qkv\.": ".fn.to_qkv.",
    r"\.proj\.": ".fn.to_out.0.",
    r"\.(gated|hidden)\.": ".fn.net.0.",
    r"\.out\.": ".fn.net.3.",
}

TRIPLANE = OfficialLayout(
    names=lambda config: renamed(config, _TRIPLANE),
    axes={r"^(pre|post)_": 2},
    spelling={r"^module\.": ""},  # of a network in a DataParallel
    unread=r"coords\Z|(en|de)coder\.(frame_rot_emb\.inv_freqs|image_rot_emb\.scales)\Z",
)
"""Official names and shapes of PVDM's autoencoder, here ``TriplaneAutoencoder``.

Constants that official files contain are not read.
"""
