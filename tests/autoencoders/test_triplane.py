from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from longtake.autoencoders.streaming import ClipDecoder, crossfade
from longtake.autoencoders.triplane import TriplaneAutoencoder, TriplaneAutoencoderConfig
from longtake.config import ConfigError, parse, to_dict
from longtake.nn.attention import SelfAttention
from longtake.nn.transformer import RotaryTransformer

TINY = TriplaneAutoencoderConfig(
    clip=(3, 8, 16),
    patch=4,
    width=8,
    depth=1,
    heads=2,
    head_channels=4,
    embed_dim=2,
    pool_depth=1,
    pool_heads=1,
    pool_head_channels=4,
    pool_hidden=8,
)


@pytest.fixture
def model() -> TriplaneAutoencoder:
    return TINY.build()


@pytest.mark.parametrize(
    ("clip", "positions"),
    [((8, 48, 64), 160), ((16, 64, 64), 320), ((12, 32, 96), 240), ((1, 8, 8), 3)],
)
@torch.no_grad()
def test_any_size_that_the_patch_divides_goes(clip, positions):
    model = TINY.model_copy(update={"clip": clip, "patch": 8}).build()
    z = model.encode(torch.rand(1, 3, *clip) * 2 - 1).mean
    assert z.shape[1:] == model.spec.shape == (2, positions)
    assert model.decode(z).shape == (1, 3, *clip)


@torch.no_grad()
def test_latent_and_pixels_keep_their_bounds(model):
    model.encoder.content.project.weight.mul_(1e3)
    model.decoder.to_pixel.weight.mul_(1e3)
    z = model.encode(torch.randn(1, 3, 3, 8, 16)).mean
    assert model.spec.bounds == (z.min(), z.max()) == (-1, 1)
    video = model.decode(z)
    assert (video.min(), video.max()) == (-1, 1)


def without_attention(*layers: nn.Module) -> None:
    """Leave every token by itself."""
    for layer in layers:
        for module in layer.modules():
            if isinstance(module, SelfAttention):
                module.proj.weight.zero_()


@torch.no_grad()
def test_each_plane_keeps_the_axes_that_it_is_named_for(model):
    """Without attention a pooled line is its first token, so the planes are faces of the clip."""
    without_attention(model.encoder)

    def changed(video: Tensor) -> list[list[list[int]]]:
        """Positions that change: of content, motion along the height and motion along the width."""
        z = model.encode(torch.cat([video, torch.zeros_like(video)])).mean
        planes = TINY.planes.split(z)
        apart = [(now - before).abs().amax(0) > 1e-5 for now, before in planes]
        return [plane.nonzero().tolist() for plane in apart]

    video = torch.zeros(1, 3, 3, 8, 16)
    video[:, :, 2, :4, 12:] = 1
    assert changed(video) == [[], [], [[2, 3]]]
    video[:, :, 0, 4:, :4] = 1
    assert changed(video) == [[[1, 0]], [[0, 1]], [[2, 3]]]


@torch.no_grad()
def test_each_plane_is_spread_along_the_axis_that_it_lacks(model):
    without_attention(model.decoder)
    zeros = TINY.planes.split(torch.zeros(1, *model.spec.shape))
    still = model.decoder(*zeros)
    marks = [(1, 2), (2, 1), (0, 3)]
    expected = [(..., slice(4, 8), slice(8, 12)), (2, slice(4, 8), ...), (0, ..., slice(12, 16))]
    for number, (mark, where) in enumerate(zip(marks, expected, strict=True)):
        planes = [plane.clone() for plane in zeros]
        planes[number][0, :, mark[0], mark[1]] = 1
        changed = (model.decoder(*planes) != still).any(1)[0]
        wanted = torch.zeros_like(changed)
        wanted[where] = True
        assert torch.equal(changed, wanted)


@torch.no_grad()
def test_a_sample_does_not_depend_on_the_others_in_its_batch(model):
    video = torch.randn(3, 3, 3, 8, 16)
    together, alone = model.encode(video).mean, model.encode(video[1:2]).mean
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        model.decode(together)[1:2], model.decode(alone), atol=1e-5, rtol=1e-4
    )


@torch.no_grad()
def test_a_sample_of_the_posterior_is_its_mean(model):
    posterior = model.encode(torch.randn(2, 3, 3, 8, 16))
    drawn = posterior.sample(torch.randn(posterior.mean.shape))
    torch.testing.assert_close(drawn, posterior.mean, atol=2e-6, rtol=0)


@torch.no_grad()
def test_a_std_widens_the_posterior_and_moves_no_mean(model):
    wide = TINY.model_copy(update={"std": 0.1}).build()
    wide.load_state_dict(model.state_dict())
    video = torch.randn(2, 3, 3, 8, 16)
    posterior, noise = wide.encode(video), torch.randn(2, *wide.spec.shape)
    assert torch.equal(posterior.mean, model.encode(video).mean)
    torch.testing.assert_close(posterior.sample(noise), posterior.mean + 0.1 * noise)


def test_weights_for_the_same_size_stay(model):
    weights = model.state_dict()
    resized = TINY.build().resized(weights)
    assert resized.keys() == weights.keys()
    assert all(resized[name] is weights[name] for name in weights)


@torch.no_grad()
def test_weights_for_another_size_differ_in_the_positions_alone(model):
    """A position between two trained ones has the mean of their embeddings."""
    wide = TINY.model_copy(update={"clip": (3, 8, 32)}).build()
    resized = wide.resized(weights := model.state_dict())
    wide.load_state_dict(resized)  # names and shapes fit
    changed = {name for name in weights if resized[name] is not weights[name]}
    assert changed == {"encoder.motion_h.position"}
    (given,), (made,) = (w["encoder.motion_h.position"] for w in (weights, resized))
    assert torch.equal(made[-1], given[-1])  # of the learned token, which has no place
    torch.testing.assert_close(made[:-1].mean(0), given[:-1].mean(0))
    for place in range(3):
        left, right = made[2 * place + 1], made[2 * place + 2]
        torch.testing.assert_close(left + right, given[place] + given[place + 1])


@torch.no_grad()
def test_equal_positions_stay_equal_at_any_size(model):
    same = torch.randn(1, 1, 8)
    weights = model.state_dict()
    places = [name for name in weights if name.endswith(".position")]
    weights |= {name: same.expand_as(weights[name]) for name in places}
    for clip in [(5, 8, 16), (3, 20, 16), (1, 4, 4), (2, 36, 12)]:
        resized = TINY.model_copy(update={"clip": clip}).build().resized(weights)
        for name in places:
            torch.testing.assert_close(resized[name], same.expand_as(resized[name]))


def test_every_weight_learns(model):
    posterior = model.encode(torch.randn(2, 3, 3, 8, 16))
    model.decode(posterior.sample(torch.randn(posterior.mean.shape))).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_last_layer_is_what_the_pixels_come_from(model):
    assert model.last_layer is model.decoder.to_pixel.weight
    assert model.last_layer.shape[1] == 3


@torch.no_grad()
def test_attention_tells_the_order_of_frames_rows_and_columns_apart():
    stack = RotaryTransformer(8, 1, 2, 8)
    x = torch.randn(1, 4, 4, 4, 8)
    for axis in (1, 2, 3):
        turned = stack(x.flip(axis)).flip(axis)
        assert not torch.allclose(turned, stack(x), atol=1e-4)


@torch.no_grad()
def test_attention_without_rotation_is_blind_to_order():
    attention = SelfAttention(8, 2, nn.LayerNorm(8), "time", head_channels=4, bias=False)
    x = torch.randn(1, 5, 1, 1, 8)
    torch.testing.assert_close(attention(x.flip(1)).flip(1), attention(x))


@torch.no_grad()
def test_a_stream_is_decoded_clip_by_clip(model):
    clips = torch.rand(3, 1, *model.spec.shape) * 2 - 1
    wanted = torch.cat([model.decode(z) for z in clips], 2)
    assert torch.equal(torch.cat([*model.stream_decode(clips)], 2), wanted)
    together = model.stream_decoder().push(torch.cat([*clips], 2))
    assert torch.equal(together, wanted)


@torch.no_grad()
def test_a_restored_stream_continues_bit_for_bit(model):
    first, second = torch.rand(2, 1, *model.spec.shape)
    decoder, other = model.stream_decoder(), model.stream_decoder()
    decoder.push(first)
    other.restore(decoder.state())
    assert torch.equal(other.push(second), decoder.push(second))
    assert decoder.flush() is None


def whole(decoder: ClipDecoder, latents: Iterable[Tensor]) -> Tensor:
    pieces = [*(decoder.push(z) for z in latents), decoder.flush()]
    return torch.cat([piece for piece in pieces if piece is not None], 2)


@pytest.mark.parametrize("overlap", [0, 1, 2])
@torch.no_grad()
def test_clips_that_overlap_give_each_frame_once_however_they_are_pushed(model, overlap):
    clips = torch.rand(4, 1, *model.spec.shape) * 2 - 1
    video = whole(model.stream_decoder(clip_overlap=overlap), clips)
    assert video.shape[2] == 4 * (3 - overlap) + overlap
    for pushed in ([torch.cat([*clips], 2)], [torch.cat([*clips[:3]], 2), clips[3]]):
        assert torch.equal(whole(model.stream_decoder(clip_overlap=overlap), pushed), video)


@torch.no_grad()
def test_a_frame_of_one_clip_alone_is_decoded_as_without_overlap(model):
    clips = torch.rand(3, 1, *model.spec.shape) * 2 - 1
    video = whole(model.stream_decoder(clip_overlap=1), clips)
    first, second, third = (model.decode(z) for z in clips)
    assert torch.equal(video[:, :, :2], first[:, :, :2])
    assert torch.equal(video[:, :, 3:4], second[:, :, 1:2])
    assert torch.equal(video[:, :, 5:], third[:, :, 1:])
    assert torch.equal(video[:, :, 2:3], crossfade(first[:, :, 2:], second[:, :, :1]))
    assert torch.equal(video[:, :, 4:5], crossfade(second[:, :, 2:], third[:, :, :1]))


@pytest.mark.parametrize("stop", range(6))
@torch.no_grad()
def test_a_restored_stream_of_overlapping_clips_continues_bit_for_bit(model, stop):
    clips = torch.rand(6, 1, *model.spec.shape) * 2 - 1
    decoder, other = (model.stream_decoder(clip_overlap=2) for _ in range(2))
    for z in clips[:stop]:
        decoder.push(z)
    other.push(clips[0])
    other.restore(decoder.state())
    rest = whole(decoder, clips[stop:])
    assert torch.equal(whole(other, clips[stop:]), rest)
    assert rest.shape[2] == 6 - stop + 2


@torch.no_grad()
def test_what_is_held_back_of_overlapping_clips_does_not_grow(model):
    decoder = model.stream_decoder(clip_overlap=2)
    assert decoder.state() == {}
    for z in torch.rand(3, 1, *model.spec.shape):
        decoder.push(z)
        held = decoder.state()["held"]
        assert held.shape == (1, 3, 2, 8, 16)
        assert held.untyped_storage().nbytes() == held.numel() * held.element_size()
    held = decoder.state()["held"]
    assert torch.equal(decoder.flush(), held)
    assert decoder.state() == {}
    assert decoder.flush() is None


@pytest.mark.parametrize("overlap", [-1, 3])
def test_an_overlap_that_is_not_part_of_a_clip_is_refused(model, overlap):
    with pytest.raises(ValueError, match=f"overlap={overlap} must be from 0 to 2, under the clip"):
        model.stream_decoder(clip_overlap=overlap)


def test_the_config_is_kept_and_survives_yaml(model):
    assert model.config == parse(TriplaneAutoencoderConfig, to_dict(TINY)) == TINY


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"clip": (16, 64, 60)},
            "width 60 is not divisible by patch=8; the nearest valid widths are 56 and 64, "
            "and any frame count will do",
        ),
        ({"clip": (16, 4, 64)}, "height 4 is not divisible by patch=8; .* height is 8"),
        ({"head_channels": 6}, "head_channels: .* multiple of 4, got 6"),
    ],
)
def test_impossible_networks_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        parse(TriplaneAutoencoderConfig, fields)


def test_clips_and_latents_of_another_size_are_refused(model):
    with pytest.raises(ValueError, match=r"a clip of 3x8x8 .* takes 3x8x16 alone"):
        model.encode(torch.zeros(1, 3, 3, 8, 8))
    with pytest.raises(ValueError, match=r"shape \(2, 7\) .* have shape \(2, 26\), .* 3x8x16"):
        model.decode(torch.zeros(1, 2, 7))
