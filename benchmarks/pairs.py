"""Networks of ours and their plain twins, which hold the same weights."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from plain.triplane_unet import PlainTriplaneUNet
from plain.volume_unet import PlainVolumeUNet
from torch import Tensor, nn

from longtake.convert.unet_keys import LVDM, PVDM
from longtake.denoisers import TriplaneUNetConfig, VolumeUNetConfig
from longtake.diffusion import Denoiser, ScaledLinear

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # where official layouts are
from convert.official_layout import to_official


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A network and its plain twins; ``z`` and ``t`` are what all of them read.

    Attributes:
        plain: by a note on their training step; all have the same forward pass.
    """

    ours: Denoiser
    plain: dict[str, nn.Module]
    z: Tensor
    t: Tensor

    def run(self, network: nn.Module, device: torch.device | None = None) -> Callable[[], Tensor]:
        """A call of one of the networks."""
        z, t = self.z.to(device), self.t.to(device)
        if isinstance(network, Denoiser):
            prepared = network.prepare({}, ScaledLinear().embedding)
            return lambda: network(z, (t + 1) / 1000, prepared)
        return lambda: network(z, t)

    @torch.no_grad()
    def check(self) -> None:
        """Refuse networks that do not compute the same."""
        got = self.run(self.ours)()
        for plain in self.plain.values():
            want = self.run(plain)()
            error = ((got - want).norm() / want.norm()).item()
            assert error < 2e-5, f"the networks differ by {error:.1e}; times would mean nothing"


def volume_pair(config: VolumeUNetConfig, batch: int) -> Pair:
    """LVDM's, with and without recomputation in the training step."""
    ours = config.build()
    plain: dict[str, nn.Module] = {}
    for name, checkpointed in {"": False, ", recomputed": True}.items():
        with torch.device("meta"):
            plain[name] = plain_volume_unet(config, checkpointed)
        _load(plain[name], to_official(LVDM, ours.state_dict(), config))
    return _pair(ours, plain, batch)


def triplane_pair(config: TriplaneUNetConfig, batch: int) -> Pair:
    """PVDM's."""
    ours = config.build()
    with torch.device("meta"):
        plain = plain_triplane_unet(config)
    _load(plain, to_official(PVDM, ours.state_dict(), config))
    return _pair(ours, {"": plain}, batch)


def plain_volume_unet(config: VolumeUNetConfig, checkpointed: bool) -> PlainVolumeUNet:
    """LVDM's network, without the weights of ours."""
    attention = config.attention
    assert attention.kind == "st_attention"
    assert attention.relative_position is not None
    return PlainVolumeUNet(
        config.latent[0],
        config.model_channels,
        config.channel_mult,
        blocks=config.num_res_blocks,
        attend=config.attention_resolutions,
        heads=attention.num_heads,
        reach=attention.relative_position.max_distance,
        checkpointed=checkpointed,
    )


def plain_triplane_unet(config: TriplaneUNetConfig) -> PlainTriplaneUNet:
    """PVDM's network, without the weights of ours."""
    return PlainTriplaneUNet(
        config.latent,
        config.model_channels,
        config.channel_mult,
        blocks=config.num_res_blocks,
        attend=config.attention_resolutions,
        heads=config.num_heads,
    )


def _load(plain: nn.Module, state: dict[str, Tensor]) -> None:
    """Give a network weights of its own, in the layout that torch gives them."""
    plain_layout = torch.contiguous_format
    own = {name: value.clone(memory_format=plain_layout) for name, value in state.items()}
    plain.load_state_dict(own, assign=True)


def _pair(ours: Denoiser, plain: dict[str, nn.Module], batch: int) -> Pair:
    z = torch.randn(batch, *ours.spec.shape)
    return Pair(ours=ours, plain=plain, z=z, t=torch.rand(batch) * 999)
