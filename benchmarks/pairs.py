"""Networks of ours and their plain twins, which hold the same weights."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from plain import triplane_unet, volume_unet
from plain.triplane_decoder import PlainTriplaneDecoder
from plain.triplane_unet import PlainTriplaneUNet
from plain.volume_decoder import PlainVolumeDecoder
from plain.volume_unet import PlainVolumeUNet
from torch import Tensor, nn

from longtake.autoencoders import TriplaneAutoencoder, VolumeAutoencoder
from longtake.convert.autoencoder_keys import TRIPLANE, VOLUME
from longtake.convert.unet_keys import LVDM, PVDM
from longtake.denoisers import TriplaneUNet, TriplaneUNetConfig, VolumeUNet, VolumeUNetConfig
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
        load(plain[name], to_official(LVDM, ours.state_dict(), config))
    return _pair(ours, plain, batch)


def triplane_pair(config: TriplaneUNetConfig, batch: int) -> Pair:
    """PVDM's."""
    ours = config.build()
    with torch.device("meta"):
        plain = plain_triplane_unet(config)
    load(plain, to_official(PVDM, ours.state_dict(), config))
    return _pair(ours, {"": plain}, batch)


def plain_volume_unet(config: VolumeUNetConfig, checkpointed: bool) -> PlainVolumeUNet:
    """LVDM's network, without the weights of ours."""
    attention = config.attention
    assert attention.kind == "st_attention"
    assert attention.relative_position is not None
    assert isinstance(config.num_classes, int | None)
    return PlainVolumeUNet(
        config.latent[0],
        config.model_channels,
        config.channel_mult,
        blocks=config.num_res_blocks,
        attend=config.attention_resolutions,
        heads=attention.num_heads,
        reach=attention.relative_position.max_distance,
        options=volume_unet.Options(
            checkpointed=checkpointed,
            groups=config.groups,
            masked=config.mask_channel,
            frame_times=config.frame_times,
            classes=config.num_classes,
            official_key=attention.relative_position.official_key,
        ),
    )


def plain_triplane_unet(config: TriplaneUNetConfig) -> PlainTriplaneUNet:
    """PVDM's network, without the weights of ours."""
    assert isinstance(config.num_classes, int | None)
    return PlainTriplaneUNet(
        config.latent,
        config.model_channels,
        config.channel_mult,
        blocks=config.num_res_blocks,
        attend=config.attention_resolutions,
        heads=config.num_heads,
        options=triplane_unet.Options(
            groups=config.groups, classes=config.num_classes, plane_embed=config.plane_embed
        ),
    )


def plain_volume_twin(ours: VolumeUNet) -> PlainVolumeUNet:
    """The plain network with the weights of ours, layers for text left out."""
    attention = ours.config.attention.model_copy(update={"context_dim": None})
    changes = {"attention": attention, "pool_text": False, "needs_text": True}
    config = ours.config.model_copy(update=changes)
    with torch.device("meta"):
        plain = plain_volume_unet(config, checkpointed=False)
    load(plain, to_official(LVDM, ours.state_dict(), config))
    return plain


def plain_triplane_twin(ours: TriplaneUNet) -> PlainTriplaneUNet:
    """The plain network with the weights of ours, layers for text left out."""
    with torch.device("meta"):
        plain = plain_triplane_unet(ours.config)
    state, official = ours.state_dict(), {"text_width": None, "needs_text": True, "groups": 32}
    official |= {"num_classes": None, "plane_embed": False}
    weights = to_official(PVDM, state, ours.config.model_copy(update=official))
    own = {"label_emb": "label_embed", "plane_emb": "plane_embed"}
    tables = {f"{name}.weight": f"{of_ours}.weight" for name, of_ours in own.items()}
    load(plain, weights | {name: state[key] for name, key in tables.items() if key in state})
    return plain


def plain_volume_decoder(ours: VolumeAutoencoder) -> PlainVolumeDecoder:
    """LVDM's plain decoder with the weights of ours."""
    config = ours.config
    sizes = config.channels, config.z_channels, config.hidden, config.strides, config.groups
    with torch.device("meta"):
        plain = PlainVolumeDecoder(*sizes)
    _load_decoder(plain, to_official(VOLUME, ours.state_dict(), config))
    return plain


def plain_triplane_decoder(ours: TriplaneAutoencoder) -> PlainTriplaneDecoder:
    """PVDM's plain decoder with the weights of ours."""
    config = ours.config
    frames, height, width = config.clip
    with torch.device("meta"):
        plain = PlainTriplaneDecoder(
            (frames, height // config.patch, width // config.patch),
            config.embed_dim,
            config.width,
            depth=config.depth,
            heads=config.heads,
            head_width=config.head_channels,
            patch=config.patch,
        )
    _load_decoder(plain, to_official(TRIPLANE, ours.state_dict(), config))
    return plain


def _load_decoder(plain: nn.Module, autoencoder: dict[str, Tensor]) -> None:
    load(plain, {name: autoencoder[name] for name in plain.state_dict()})


def load(plain: nn.Module, state: dict[str, Tensor]) -> None:
    """Give a network weights of its own, in the layout that torch gives them."""
    plain_layout = torch.contiguous_format
    own = {name: value.clone(memory_format=plain_layout) for name, value in state.items()}
    plain.load_state_dict(own, assign=True)


def _pair(ours: Denoiser, plain: dict[str, nn.Module], batch: int) -> Pair:
    z = torch.randn(batch, *ours.spec.shape)
    return Pair(ours=ours, plain=plain, z=z, t=torch.rand(batch) * 999)
