import itertools

import pytest
import torch
from torch import Tensor, nn

from longtake.autoencoders import (
    Posterior,
    VideoAutoencoder,
    VolumeAutoencoder,
    VolumeAutoencoderConfig,
    WindowDecoder,
)
from longtake.autoencoders.streaming import crossfade
from longtake.latents import LatentSpec

WINDOW, FACTOR = 3, 2


@pytest.fixture(scope="module")
def model() -> VolumeAutoencoder:
    torch.manual_seed(0)
    config = VolumeAutoencoderConfig(
        clip=(WINDOW * FACTOR, 4, 4), factors=(FACTOR, 2, 2), hidden=2, groups=2
    )
    return config.build().requires_grad_(False)


def latents(frames: int) -> Tensor:
    return torch.randn(1, 4, frames, 2, 2, generator=torch.Generator().manual_seed(frames))


def decode(decoder: WindowDecoder, z: Tensor, sizes: list[int]) -> Tensor:
    pieces = [decoder.push(part) for part in z.split(sizes, 2)]
    pieces.append(decoder.flush())
    return torch.cat([piece for piece in pieces if piece is not None], 2)


SETTINGS = list(itertools.product([0, 1, 2], ["blend", "cut"]))


@pytest.mark.parametrize(("overlap", "mode"), SETTINGS)
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 8])
def test_frames_do_not_depend_on_how_latents_are_pushed(model, frames, overlap, mode):
    z = latents(frames)
    whole = decode(model.stream_decoder(overlap, mode), z, [frames])
    assert whole.shape == (1, 3, frames * FACTOR, 4, 4)
    single = decode(model.stream_decoder(overlap, mode), z, [1] * frames)
    assert torch.equal(single, whole)
    first = frames // 2
    assert torch.equal(
        decode(model.stream_decoder(overlap, mode), z, [first, 0, frames - first]), whole
    )


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_stream_of_one_window_or_less_is_decoded_whole(model, frames):
    z = latents(frames)
    assert torch.equal(decode(model.stream_decoder(), z, [frames]), model.decode(z))


@pytest.mark.parametrize(("overlap", "mode"), SETTINGS)
@pytest.mark.parametrize("stop", range(1, 8))
def test_a_restored_decoder_continues_bit_for_bit(model, stop, overlap, mode):
    z = latents(8)
    decoder = model.stream_decoder(overlap, mode)
    decoder.push(z[:, :, :stop])
    other = model.stream_decoder(overlap, mode)
    other.push(latents(4))
    other.restore(decoder.state())
    rest = [8 - stop]
    assert torch.equal(decode(other, z[:, :, stop:], rest), decode(decoder, z[:, :, stop:], rest))


def test_nothing_pushed_gives_nothing_and_an_empty_state(model):
    decoder = model.stream_decoder()
    assert decoder.state() == {}
    assert decoder.flush() is None
    decoder.restore({})
    assert decoder.flush() is None


def test_what_is_pushed_after_a_flush_is_another_stream(model):
    z, decoder = latents(4), model.stream_decoder()
    first = decode(decoder, z, [4])
    assert torch.equal(decode(decoder, z, [4]), first)


def test_the_state_does_not_grow(model):
    decoder, sizes = model.stream_decoder(2), set()
    for _ in range(12):
        decoder.push(latents(1))
        sizes.add(sum(value.numel() for value in decoder.state().values()))
    window, held = 4 * WINDOW * 2 * 2, 3 * 2 * FACTOR * 4 * 4
    assert max(sizes) == window + held + 1
    for value in decoder.state().values():
        assert value.untyped_storage().nbytes() == value.numel() * value.element_size()


class Painter(VideoAutoencoder):
    """Paints all frames that it decodes at once in the number of the call."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = LatentSpec(shape=(1, 4, 1, 1), clip=(16, 2, 2), frame_axis=2)
        self.seen: list[Tensor] = []

    @property
    def encoding_modules(self) -> tuple[nn.Module, ...]:
        return ()

    @property
    def last_layer(self) -> nn.Parameter:
        raise NotImplementedError

    def encode(self, video: Tensor) -> Posterior:
        mean = video[:, :1, ::4, :1, :1]
        return Posterior(mean=mean, log_variance=torch.zeros_like(mean))

    def decode(self, z: Tensor) -> Tensor:
        self.seen.append(z)
        return torch.full((1, 3, z.shape[2] * 4, 2, 2), float(len(self.seen) - 1))

    def stream_decoder(self, *, clip_overlap: int = 0) -> WindowDecoder:
        assert clip_overlap == 0
        return WindowDecoder(self)


def painted(mode: str, frames: int = 7) -> tuple[list[float], Painter]:
    painter = Painter()
    z = torch.arange(float(frames))[None, None, :, None, None]
    video = decode(WindowDecoder(painter, overlap=1, mode=mode), z, [frames])
    return video[0, 0, :, 0, 0].tolist(), painter


def test_blending_fades_from_window_to_window():
    values, _ = painted("blend")
    assert values == [0.0] * 12 + [0.125, 0.375, 0.625, 0.875] + [1.0] * 12


def test_cutting_changes_over_in_the_middle_of_the_overlap():
    values, _ = painted("cut")
    assert values == [0.0] * 14 + [1.0] * 14


def test_every_window_has_the_trained_length():
    values, painter = painted("cut", frames=9)
    seen = [z[0, 0, :, 0, 0].tolist() for z in painter.seen]
    assert seen == [[0, 1, 2, 3], [3, 4, 5, 6], [5, 6, 7, 8]]
    assert values == [0.0] * 14 + [1.0] * 12 + [2.0] * 10


@pytest.mark.parametrize("mode", ["blend", "cut"])
def test_fading_between_equal_frames_changes_nothing(mode):
    frames = torch.randn(1, 3, 5, 2, 2)
    assert torch.equal(crossfade(frames, frames, mode), frames)


def test_a_fade_goes_evenly_from_the_old_to_the_new():
    old, new = torch.zeros(1, 3, 4, 2, 2), torch.ones(1, 3, 4, 2, 2)
    assert crossfade(old, new)[0, 0, :, 0, 0].tolist() == [0.125, 0.375, 0.625, 0.875]


def test_clips_of_volumes_follow_each_other(model):
    with pytest.raises(ValueError, match="overlap=1 must be 0 for latents with a time axis"):
        model.stream_decoder(clip_overlap=1)


@pytest.mark.parametrize("overlap", [-1, 3])
def test_an_overlap_that_is_not_part_of_a_window_is_refused(model, overlap):
    with pytest.raises(ValueError, match=f"overlap={overlap} must be from 0 to 2"):
        model.stream_decoder(overlap=overlap)


def test_an_unknown_mode_is_refused(model):
    with pytest.raises(ValueError, match="did you mean 'blend'"):
        WindowDecoder(model, mode="blended")


def test_stream_decode_joins_pushes_and_flush(model):
    z = latents(7)
    pieces = torch.cat(list(model.stream_decode(z.split(2, 2))), 2)
    assert torch.equal(pieces, decode(model.stream_decoder(), z, [7]))
