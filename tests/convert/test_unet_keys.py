"""UNets' weights under official names: those that do not fit are named."""

from collections.abc import Callable

import pytest
import torch
from convert.official_layout import to_official
from torch import Tensor

from longtake.convert.layout import OfficialLayout
from longtake.convert.unet_keys import LVDM, PVDM
from longtake.denoisers import TriplaneUNetConfig, VolumeUNetConfig
from longtake.nn.attention import SpaceTimeAttentionConfig

SMALL = {
    "latent": (4, 4, 4, 4),
    "model_channels": 32,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
}


@pytest.mark.parametrize(
    ("layout", "config"),
    [
        (LVDM, VolumeUNetConfig(**SMALL)),
        (PVDM, TriplaneUNetConfig(**SMALL)),
    ],
    ids=["lvdm", "pvdm"],
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("out.2.bias"), r"lacks weights out\.2\.bias"),
        (lambda state: state.update(extra=torch.ones(1)), "has the unknown weights extra"),
        (
            lambda state: state.update({"out.2.bias": torch.ones(7)}),
            r"out\.2\.bias \(7,\), expected",
        ),
    ],
    ids=["lacking", "unknown", "of another shape"],
)
def test_weights_that_do_not_fit_are_named(
    layout: OfficialLayout,
    config: VolumeUNetConfig | TriplaneUNetConfig,
    change: Callable[[dict[str, Tensor]], object],
    message: str,
):
    state = to_official(layout, config.build().state_dict(), config)
    change(state)
    with pytest.raises(ValueError, match=message):
        layout.from_official(state, config)


def test_layers_for_text_that_the_official_unet_lacks_are_refused():
    attention = SpaceTimeAttentionConfig(context_dim=6)
    for pooled in (False, True):
        config = VolumeUNetConfig(**SMALL, attention=attention, pool_text=pooled)
        with pytest.raises(ValueError, match=r"reads text in attention\.kind=st_transformer alone"):
            LVDM.from_official({}, config)
