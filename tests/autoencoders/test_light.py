"""Light decoders: what they depend on, windows equal the whole, larger frames, precision."""

from typing import Any

import pytest
import torch
from torch import Tensor

from longtake.autoencoders import (
    LightDecoder,
    LightTriplaneDecoderConfig,
    LightVolumeDecoderConfig,
    Redecoded,
    TriplaneAutoencoderConfig,
    VolumeAutoencoderConfig,
)
from longtake.autoencoders.light import shift_in_time
from longtake.config import ConfigError, parse

WIDTHS: Any = {"latent_width": 8, "frame_width": 8, "fine_width": 8, "latent_blocks": 1}
VOLUME = LightVolumeDecoderConfig(clip=(4, 16, 16), volume=(2, 2, 4, 4), window=9, **WIDTHS)
PLANES = LightTriplaneDecoderConfig(clip=(4, 16, 16), channels=2, planes=(4, 4, 4), **WIDTHS)


def autoencoder(config: LightVolumeDecoderConfig | LightTriplaneDecoderConfig) -> Redecoded:
    torch.manual_seed(0)
    encoders = {
        "light_volume_decoder": VolumeAutoencoderConfig(
            clip=(4, 8, 8), factors=(2, 2, 2), hidden=2, groups=2, z_channels=2
        ),
        "light_triplane_decoder": TriplaneAutoencoderConfig(
            clip=(4, 8, 8), patch=2, width=8, depth=1, heads=1, head_channels=8, embed_dim=2
        ),
    }
    return Redecoded(encoders[config.kind].build(), config.build()).requires_grad_(False)


def latents(frames: int, videos: int = 1) -> Tensor:
    return torch.randn(videos, 2, frames, 4, 4, generator=torch.Generator().manual_seed(frames))


def streamed(model: Redecoded, z: Tensor, sizes: list[int]) -> Tensor:
    decoder = model.stream_decoder()
    pieces = [*(decoder.push(part) for part in z.split(sizes, 2)), decoder.flush()]
    return torch.cat([piece for piece in pieces if piece is not None], 2)


@pytest.mark.parametrize("frames", [1, 4, 9, 10, 15, 23])
def test_a_stream_equals_the_latents_decoded_whole(frames: int):
    model, z = autoencoder(VOLUME), latents(frames)
    made = streamed(model, z, [1] * frames)
    assert made.shape == (1, 3, 2 * frames, 16, 16)
    torch.testing.assert_close(made, model.decode(z), rtol=0, atol=1e-6)
    assert torch.equal(made, streamed(model, z, [frames]))


def test_a_restored_stream_continues_bit_for_bit():
    model, z = autoencoder(VOLUME), latents(23)
    for stop in (3, 11, 20):
        first, second = model.stream_decoder(), model.stream_decoder()
        first.push(z[:, :, :stop])
        second.restore(first.state())
        rest = [[d.push(z[:, :, stop:]), d.flush()] for d in (first, second)]
        for one, other in zip(*rest, strict=True):
            assert one is not None
            assert other is not None
            assert torch.equal(one, other)


def test_frames_depend_on_the_latents_in_reach_alone():
    model, z, reach = autoencoder(VOLUME), latents(11), VOLUME.reach
    changed = z.clone()
    changed[:, :, 5] += 1
    differs = (model.decode(changed) != model.decode(z)).any(dim=(0, 1, 3, 4)).nonzero().flatten()
    assert 2 * (5 - reach) <= int(differs.min()) < 2 * 5
    assert 2 * 6 < int(differs.max()) < 2 * (6 + reach)


@pytest.mark.parametrize("config", [VOLUME, PLANES], ids=["volume", "planes"])
def test_a_video_does_not_depend_on_its_batch(config):
    decoder = config.build()
    z = torch.randn(3, *config.latent)
    together, alone = decoder(z), torch.cat([decoder(row[None]) for row in z])
    assert together.shape == (3, 3, *config.clip)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("config", [VOLUME, PLANES], ids=["volume", "planes"])
def test_half_precision_decodes_to_the_precision_of_the_latent(config):
    decoder: LightDecoder = config.build()
    z = torch.randn(1, *config.latent)
    made = decoder(z)
    half = decoder.to(torch.bfloat16)(z)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, made, rtol=0.05, atol=0.02)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, at its first derivative
@pytest.mark.parametrize("config", [VOLUME, PLANES], ids=["volume", "planes"])
def test_forward_and_backward_derivatives_agree(config):
    decoder = config.build().double().requires_grad_(False)
    z, along = (torch.randn(1, *config.latent, dtype=torch.float64) for _ in range(2))
    made, moved, *_ = torch.func.jvp(decoder, (z,), (along,))
    other = torch.randn_like(made)
    pulled = torch.func.vjp(decoder, z)[1](other)[0]
    torch.testing.assert_close((moved * other).sum(), (pulled * along).sum())


def test_a_shift_in_time_takes_a_quarter_of_the_channels_from_either_side():
    clips = torch.arange(1.0, 7).reshape(6, 1, 1, 1).expand(6, 4, 1, 1)
    before, after, *own = shift_in_time(clips, 3)[:, :, 0, 0].T.tolist()
    assert before == [0, 1, 2, 0, 4, 5]
    assert after == [2, 3, 0, 5, 6, 0]
    assert own == [[1, 2, 3, 4, 5, 6]] * 2


@pytest.mark.parametrize("config", [VOLUME, PLANES], ids=["volume", "planes"])
def test_larger_frames_are_averaged_before_they_are_encoded(config):
    model = autoencoder(config)
    small = torch.rand(1, 3, 4, 8, 8)
    large = small.repeat_interleave(2, 3).repeat_interleave(2, 4)
    assert model.spec.clip == (4, 16, 16)
    encoded = model.encode(large).mean
    torch.testing.assert_close(encoded, model.autoencoder.encode(small).mean)
    assert model.decode(encoded).shape == large.shape


def test_windows_of_a_long_clip_are_encoded_each_by_itself():
    model, video = autoencoder(VOLUME), torch.rand(1, 3, 8, 16, 16)
    parts = torch.cat([model.encode(part).mean for part in video.split(4, 2)], 2)
    assert torch.equal(model.encode(video).mean, parts)


def test_untrained_frames_do_not_flicker_and_have_no_pattern():
    made = VOLUME.build()(latents(1).expand(-1, -1, 3, -1, -1))
    inner = made[:, :, 2:4]  # of a latent between two others like it, which see the ends of none
    assert inner.diff(dim=2).abs().max() < 0.1 * inner.std()
    assert torch.equal(made[..., ::2, ::2], made[..., 1::2, 1::2])


def test_training_changes_the_decoder_alone():
    model = autoencoder(VOLUME)
    assert model.trained is model.decoder
    assert model.last_layer is model.decoder.out.weight


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clip": (4, 16, 20)}, "height and width times one even number"),
        ({"clip": (4, 12, 12)}, "height and width times one even number"),
        ({"window": 4}, "must be more than"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        parse(LightVolumeDecoderConfig, {**VOLUME.model_dump(), **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"volume": (3, 2, 4, 4)}, r"reads latents of shape \(3, 2, 4, 4\)"),
        ({"clip": (8, 16, 16)}, "must be the autoencoder's"),
        ({"clip": (4, 24, 24)}, None),
    ],
)
def test_a_decoder_of_other_latents_is_refused(changes, said):
    config = parse(LightVolumeDecoderConfig, {**VOLUME.model_dump(), **changes})
    if said is None:
        assert autoencoder(config).spec.clip == (4, 24, 24)
        return
    with pytest.raises(ConfigError, match=said):
        autoencoder(config)
