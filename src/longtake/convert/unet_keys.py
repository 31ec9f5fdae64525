"""Official names and shapes of the weights of LVDM's and PVDM's UNets."""

import re
from dataclasses import replace

from torch import Tensor

from longtake.convert.layout import OfficialLayout, Rules, renamed
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.denoisers.volume_unet import VolumeUNetConfig
from longtake.nn.attention import SpaceTimeAttentionConfig, head_count
from longtake.nn.transformer import TransformerConfig

_ADM: Rules = {
    r"^conv_in\.": "input_blocks.0.0.",
    r"^norm_out\.": "out.0.",
    r"^conv_out\.": "out.2.",
    r"\.norm_in\.": ".in_layers.0.",
    r"\.conv_in\.": ".in_layers.2.",
    r"\.embed\.": ".emb_layers.1.",
    r"\.norm_out\.": ".out_layers.0.",
    r"\.conv_out\.": ".out_layers.3.",
    r"\.skip\.": ".skip_connection.",
    r"^(input_blocks\..*)\.conv\.": r"\1.op.",
}
"""Names of both UNets' ends, residual blocks and downsampling, which follow ADM."""

_LVDM: Rules = {
    r"^known_time_embed\.": "time_embed_cond.",
    # one table serves labels and noise levels in the official code
    r"^(label|noise)_embed\.": "label_emb.",
    r"^middle\.first\.residual\.": "middle_block.0.",
    r"^middle\.first\.attention\.": "middle_block.1.",
    r"^middle\.second\.residual\.": "middle_block.2.",
}

_SPACE_TIME: Rules = {
    r"\.spatial\.(norm|qkv)\.": r".\1_s.",
    r"\.temporal\.(norm|qkv)\.": r".\1_t.",
    r"\.spatial\.proj\.": ".proj_out_s.",
    r"\.temporal\.proj\.": ".proj_out_t.",
    r"\.temporal\.position\.key$": ".relative_position_k.embeddings_table",
    r"\.temporal\.position\.value$": ".relative_position_v.embeddings_table",
}

_TRANSFORMER: Rules = {
    r"\.blocks\.": ".transformer_blocks.",
    r"\.spatial\.norm\.": ".norm1.",
    r"\.spatial\.": ".attn1.",
    r"\.temporal\.norm\.": ".norm4.",
    r"\.temporal\.": ".attn1_tmp.",
    r"\.cross\.norm\.": ".norm2.",
    r"\.cross\.": ".attn2.",
    r"\.temporal_again\.norm\.": ".norm5.",
    r"\.temporal_again\.": ".attn2_tmp.",
    r"\.feed_forward\.norm\.": ".norm3.",
    r"\.feed_forward\.gated\.": ".ff.net.0.proj.",
    r"\.feed_forward\.out\.": ".ff.net.2.",
    r"\.to_out\.": ".to_out.0.",
    r"\.position\.key$": ".relative_position_k.embeddings_table",
    r"\.position\.value$": ".relative_position_v.embeddings_table",
}


_ATTENTION = {SpaceTimeAttentionConfig: _SPACE_TIME, TransformerConfig: _TRANSFORMER}


def _lvdm_names(config: VolumeUNetConfig) -> dict[str, str]:
    """Official name of each weight of the network by ours.

    A ValueError if the official UNet cannot have this config.
    """
    attention = _ATTENTION.get(type(config.attention))
    if attention is None:
        raise ValueError(
            f"attention.kind={config.attention.kind} is not in the official UNet; use st_attention"
        )
    layers_of_text = isinstance(config.attention, TransformerConfig) and not config.pool_text
    if config.attention.text_width is not None and not layers_of_text:
        raise ValueError(
            "the official UNet reads text in attention.kind=st_transformer alone, without "
            "pool_text; this network has other layers for it"
        )
    if config.num_classes and config.noise_classes:
        raise ValueError(
            f"num_classes={config.num_classes} and noise_classes={config.noise_classes} would "
            "share one table in the official UNet; leave one out"
        )
    steps, last = config.num_res_blocks, len(config.channel_mult) - 1

    def block(found: re.Match[str]) -> str:
        side, level, step, part = found.groups()
        number = int(level) * (steps + 1) + int(step or steps)
        layer = int(part == "attention")
        if side == "down":  # its first block is the first convolution
            return f"input_blocks.{number + 1}.{layer}."
        attends = 2 ** (last - int(level)) in config.attention_resolutions
        return f"output_blocks.{number}.{layer if step else 1 + attends}."

    blocks: Rules = {r"^(down|up)\.(\d+)\.(?:resample|steps\.(\d+)\.(residual|attention))\.": block}
    return renamed(config, {**blocks, **_LVDM, **_ADM, **attention})


_PVDM: Rules = {
    r"^middle\.layers\.": "middle_block.",
    r"^middle\.across\.": "mid_attn.",
    r"^(down|up)\.(\d+)\.layers\.": r"\1_blocks.\2.",
    r"^(down|up)\.(\d+)\.across\.": r"\1_attns.\2.",
    # the official code counts its first convolution among the blocks
    r"^down_(blocks|attns)\.(\d+)\.": lambda found: f"input_{found[1]}.{int(found[2]) + 1}.",
    r"^up_": "output_",
    r"\.proj\.": ".proj_out.",
}


def _pvdm_names(config: TriplaneUNetConfig) -> dict[str, str]:
    ours = {"num_classes": None, "plane_embed": False, "groups": 32, "text_width": None}
    for option, official in ours.items():
        if (value := getattr(config, option)) != official:
            raise ValueError(
                f"{option}={value} is not in the official UNet, which equals ours with "
                f"{option}={official}; set that"
            )
    return renamed(config, {**_PVDM, **_ADM})


def _query_first(name: str, weight: Tensor, config: TriplaneUNetConfig) -> Tensor:
    """Reorder a weight from q, k, v of each head in turn to queries, keys, values of all heads."""
    if ".qkv." not in name:
        return weight
    heads = head_count(len(weight) // 3, config.num_heads, config.head_channels)
    return weight.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)


ZEROS = "zeros"  # an official buffer of zeros, the latent of a missing previous clip

LVDM = OfficialLayout(
    names=_lvdm_names,
    axes={r"\.(skip_connection|proj_in|proj_out)\.": 3, r"\.(qkv|proj_out)_[st]\.": 1},
    frame_axis=True,
)
PVDM_NEW_ATTENTION_ORDER = OfficialLayout(
    names=_pvdm_names,
    axes={r"\.skip_connection\.": 2, r"\.(qkv|proj_out)\.": 1},
    unread=rf"{ZEROS}\Z",
)
"""Layout of PVDM's UNet with the official option ``use_new_attention_order``.

No released model has it.
"""

PVDM = replace(PVDM_NEW_ATTENTION_ORDER, rearrange=_query_first)
