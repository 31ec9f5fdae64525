"""Laws of the transformer over a volume."""

from typing import Any

import pytest
import torch
from conditions import context, predict
from torch import Tensor

from longtake.config import ConfigError, parse
from longtake.denoisers import VolumeTransformer, VolumeTransformerConfig
from longtake.denoisers.volume_transformer import clip_rotation
from longtake.diffusion import Cosine, RectifiedFlow, ScaledLinear
from longtake.diffusion.signals import (
    ABSENT,
    label_signal,
    named_label,
    null,
    rows,
    text_signal,
)
from longtake.diffusion.signals.signal import Signal
from longtake.nn.layers import set_to_zero

PLAIN: dict[str, Any] = {
    "latent": (3, 4, 4, 4),
    "width": 16,
    "depth": 2,
    "num_heads": 2,
    "zero_init": False,
}


def network(**changes: Any) -> VolumeTransformer:
    return VolumeTransformerConfig(**PLAIN | changes).build()


def drawn(batch: int = 2, shape: tuple[int, ...] = (3, 4, 4, 4)) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, *shape), torch.rand(batch)


def test_a_sample_does_not_depend_on_its_batch():
    reads = network(text_width=6, num_classes=3, mask_channel=True)
    z, t = drawn(3)
    signals = {
        **text_signal(torch.randn(3, 2, 6)),
        **label_signal([0, 1, 2]),
        **context(z, [0]),
    }
    one = torch.tensor([1])
    torch.testing.assert_close(
        predict(reads, z, t, signals)[one], predict(reads, z[one], t[one], rows(signals, one))
    )


def test_an_absent_label_adds_nothing():
    reads = network(num_classes=3, labels={"wind": 2})
    z, t = drawn()
    wind = Signal(value=torch.tensor([ABSENT, 1]), null=torch.tensor([ABSENT, ABSENT]))
    labels = {**label_signal([ABSENT, 2]), named_label("wind"): wind}
    with_label, without = predict(reads, z, t, labels), predict(reads, z, t)
    torch.testing.assert_close(with_label[0], without[0])
    assert not torch.allclose(with_label[1], without[1])
    torch.testing.assert_close(predict(reads, z, t, null(labels)), without)


@pytest.mark.parametrize("schedule", [ScaledLinear(), Cosine(shift=0.25), RectifiedFlow()])
@pytest.mark.parametrize("time", [0.0005, 0.3, 0.7321])
def test_times_of_frames_are_those_of_a_clip_where_they_are_equal(schedule: Any, time: float):
    reads = network(mask_channel=True)
    z, _ = drawn()
    t = torch.full((2,), time)
    want = predict(reads, z, t, schedule=schedule)
    got = predict(reads, z, t[:, None].expand(-1, 4), schedule=schedule)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=0)
    noisier = t[:, None].expand(-1, 4).clone()
    noisier[:, 3] += 0.2
    assert not torch.allclose(predict(reads, z, noisier, schedule=schedule), want)


def test_a_context_frame_is_marked_by_a_channel_and_by_the_time_of_its_noise():
    reads = network(mask_channel=True)
    z, t = drawn()
    assert "context" in reads.reads
    first, last, noisy = context(z, [0]), context(z, [3]), context(z, [0], 0.3)
    plain = predict(reads, z, t, first)
    for other in (last, noisy, null(first)):
        assert not torch.allclose(plain, predict(reads, z, t, other))
    torch.testing.assert_close(predict(reads, z, t, null(first)), predict(reads, z, t))
    set_to_zero(reads.patch_in)  # without the channel, a known frame is one at its own time
    own = torch.tensor([[0.3, *[float(each)] * 3] for each in t])
    torch.testing.assert_close(predict(reads, z, t, noisy), predict(reads, z, own))


def test_words_are_read_as_a_set_and_may_be_left_out_only_if_they_are_not_needed():
    reads = network(text_width=6, needs_text=False)
    z, t = drawn()
    words = torch.randn(2, 3, 6)
    read = predict(reads, z, t, text_signal(words))
    assert not torch.allclose(read, predict(reads, z, t, text_signal(words * 2)))
    torch.testing.assert_close(read, predict(reads, z, t, text_signal(words.flip(1))))
    assert not torch.allclose(read, predict(reads, z, t))
    assert reads.needs == frozenset()
    assert network(text_width=6).needs == {"text"}


def test_scores_of_attention_depend_on_distances_alone():
    rotation = clip_rotation(5, 4, 4, 16, torch.device("cpu"))
    q, k = torch.randn(2, 1, 1, 1, 16)
    scores = rotation(q.expand(1, 1, 80, 16)) @ rotation(k.expand(1, 1, 80, 16)).mT
    scores = scores.view(5, 4, 4, 5, 4, 4)
    torch.testing.assert_close(scores[1:, 1:, 1:, 1:, 1:, 1:], scores[:-1, :-1, :-1, :-1, :-1, :-1])
    for axis in range(3):
        moved = scores.movedim((axis, axis + 3), (0, 1))[:, :, 0, 0, 0, 0]
        assert not torch.allclose(moved[0], moved[1])


def test_the_order_of_frames_and_patches_matters():
    reads = network()
    z, t = drawn()
    for axis in (2, 3, 4):
        turned = predict(reads, z.roll(2, axis), t).roll(-2, axis)
        assert not torch.allclose(turned, predict(reads, z, t), atol=1e-4), axis


def test_clips_of_other_sizes_are_denoised():
    reads = network()
    for shape in ((3, 7, 4, 4), (3, 2, 6, 8)):
        z, t = drawn(2, shape)
        assert predict(reads, z, t).shape == z.shape


def test_a_fresh_network_predicts_zero():
    z, t = drawn()
    assert not predict(network(zero_init=True), z, t).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 24}, r"width=24 must be a multiple of 8 \* num_heads = 16"),
        ({"patch": 3}, "patch=3 must divide the latent's height and width, 4 and 4"),
        ({"needs_text": False}, "needs_text=false is for a network that reads text"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        parse(VolumeTransformerConfig, PLAIN | {"kind": "volume_transformer"} | changes)


def test_a_latent_that_patches_do_not_fill_is_refused():
    z, t = drawn(1, (3, 2, 5, 4))
    with pytest.raises(ValueError, match="5x4 positions must be divisible by patch=2"):
        predict(network(), z, t)


def test_an_unknown_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="num_classes=auto is for the config of a run"):
        network(num_classes="auto")
