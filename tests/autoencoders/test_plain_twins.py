"""The plain networks of the benchmarks compute what ours do with the same weights."""

from types import ModuleType

import benchmark_scripts
import pytest
import torch

from longtake.autoencoders import TriplaneAutoencoderConfig, VolumeAutoencoderConfig
from longtake.denoisers import TriplaneUNetConfig, VolumeUNetConfig
from longtake.diffusion import Cosine
from longtake.nn.attention import RelativePositionConfig, SpaceTimeAttentionConfig

VOLUME = VolumeAutoencoderConfig(
    clip=(8, 16, 8), factors=(4, 8, 4), hidden=4, z_channels=3, embed_dim=2, groups=4
)
TRIPLANE = TriplaneAutoencoderConfig(
    clip=(4, 8, 16), patch=4, width=16, depth=2, heads=2, head_channels=8, embed_dim=3, pool_depth=1
)
SMALL = {"model_channels": 32, "channel_mult": (1, 2), "num_res_blocks": 1, "groups": 16}
TEXT = {"num_classes": 5, "needs_text": False, "zero_init": False, **SMALL}
POSITION = RelativePositionConfig(max_distance=2, official_key=False)


@pytest.fixture(scope="module")
def pairs() -> ModuleType:
    return benchmark_scripts.load("pairs")


def near(got: torch.Tensor, want: torch.Tensor) -> bool:
    return float((got - want).norm() / want.norm()) < 1e-5


@torch.no_grad()
def test_plain_decoders_decode_as_ours_do(pairs: ModuleType):
    torch.manual_seed(0)
    volume, triplane = VOLUME.build(), TRIPLANE.build()
    z = torch.randn(2, 2, 3, 2, 2)
    assert near(pairs.plain_volume_decoder(volume)(z), volume.decode(z))
    z = torch.rand(2, *triplane.spec.shape) * 2 - 1
    assert near(pairs.plain_triplane_decoder(triplane)(z), triplane.decode(z))


@torch.no_grad()
def test_a_plain_network_predicts_as_one_of_volumes_that_reads_class_and_context(
    pairs: ModuleType,
):
    torch.manual_seed(0)
    attention = SpaceTimeAttentionConfig(relative_position=POSITION, context_dim=6)
    config = VolumeUNetConfig(
        **TEXT,
        latent=(2, 3, 4, 4),
        attention_resolutions=(2,),
        attention=attention,
        mask_channel=True,
        frame_times=True,
        pool_text=True,
    )
    ours, embedding = config.build(), Cosine().embedding
    z, t = torch.randn(2, 2, 3, 4, 4), torch.tensor([0.3, 0.9])
    given = torch.tensor([[True, False, True], [True, False, False]])
    signals = {
        "label": torch.tensor([1, 4]),
        "context": z,
        "context_mask": given,
        "context_noise": torch.tensor([0.02, 0.1]),
    }
    want = ours(z, t, ours.prepare(signals, embedding))
    mask = given[:, None, :, None, None].float().expand(2, 1, 3, 4, 4)
    level, label = embedding(signals["context_noise"]), signals["label"]
    got = pairs.plain_volume_twin(ours)(z, embedding(t), mask, level, label)
    assert near(got, want)


@torch.no_grad()
def test_a_plain_network_predicts_as_one_of_planes_that_reads_class_and_clip_before(
    pairs: ModuleType,
):
    torch.manual_seed(0)
    config = TriplaneUNetConfig(
        **TEXT, latent=(2, 4, 4, 8), num_heads=2, plane_embed=True, text_width=6
    )
    ours, embedding = config.build(), Cosine().embedding
    z, before = torch.randn(2, 2, *ours.spec.shape)
    t, label = torch.tensor([0.3, 0.9]), torch.tensor([1, 4])
    want = ours(z, t, ours.prepare({"previous": before, "label": label}, embedding))
    got = pairs.plain_triplane_twin(ours)(z, embedding(t), before, label)
    assert near(got, want)
