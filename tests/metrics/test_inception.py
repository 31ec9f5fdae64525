import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from longtake.checkpoint import CheckpointError, write_tensors
from longtake.config import ConfigError, parse
from longtake.features.c3d import C3D, MEAN, TGAN, C3DConfig
from longtake.metrics.inception import InceptionScore, inception_score, part_starts

CERTAIN = 1e4
"""Logit of a class that is sure."""


def score(rows: Tensor, parts: int = 1) -> InceptionScore:
    return inception_score(rows, parts, seed=None)


@pytest.mark.parametrize("parts", [1, 4])
def test_a_classifier_that_knows_nothing_scores_one(parts):
    assert score(torch.zeros(20, 7), parts).mean == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("parts", [1, 3])
def test_certain_classes_in_equal_shares_score_their_number(parts):
    found = score(CERTAIN * torch.eye(7).repeat(6, 1), parts)
    assert found.mean == pytest.approx(7, abs=1e-12)
    assert found.std == pytest.approx(0, abs=1e-12)


def test_one_class_alone_scores_one():
    rows = torch.zeros(10, 5)
    rows[:, 2] = CERTAIN
    assert score(rows).mean == pytest.approx(1, abs=1e-12)


def test_a_score_is_from_one_to_the_number_of_classes():
    for scale in (0.1, 1, 10, 1000):
        assert 1 <= score(scale * torch.randn(50, 6)).mean <= 6


def test_score_and_deviation_are_those_of_the_papers():
    """As in the codes of TGANv2 and StyleGAN-V, without what they add before the logarithm."""
    rows = torch.randn(53, 5, dtype=torch.float64)
    probabilities = rows.softmax(1).numpy()
    scores = []
    for part in range(4):
        p = probabilities[part * 53 // 4 : (part + 1) * 53 // 4]
        kl = p * (np.log(p) - np.log(p.mean(0, keepdims=True)))
        scores.append(np.exp(kl.sum(1).mean()))
    found = score(rows, parts=4)
    assert found.mean == pytest.approx(np.mean(scores), rel=1e-12)
    assert found.std == pytest.approx(np.std(scores), rel=1e-9)
    assert found.parts == 4


def test_the_order_of_clips_within_a_part_makes_no_difference():
    rows = torch.randn(30, 5)
    order = torch.cat([part[torch.randperm(10)] for part in torch.arange(30).split(10)])
    found = score(rows[order], 3)
    assert found.mean == pytest.approx(score(rows, 3).mean, rel=1e-12)
    assert found.std == pytest.approx(score(rows, 3).std, rel=1e-9)


def test_clips_sorted_by_class_score_like_mixed_ones():
    rows = 20 * torch.eye(5).repeat_interleave(40, 0)
    assert score(rows, 5).mean == pytest.approx(1)
    mixed = inception_score(rows, 5)
    assert mixed.mean > 4
    assert mixed == inception_score(rows, 5, seed=0) != inception_score(rows, 5, seed=1)


def test_clips_are_divided_into_parts_of_nearly_equal_size():
    assert part_starts(53, 4).diff(append=torch.tensor([53])).tolist() == [13, 13, 13, 14]
    assert part_starts(10_000, 10).tolist() == list(range(0, 10_000, 1000))
    with pytest.raises(ValueError, match="parts=10 must be from 1 to the number of clips, 9"):
        inception_score(torch.zeros(9, 2))


def test_logits_that_are_not_numbers_are_an_error():
    rows = torch.tensor([[0.0, math.nan], [0.0, 1.0]])
    with pytest.raises(ValueError, match="1 of 2 clips have features that are infinite or NaN"):
        score(rows)


TINY = C3DConfig(width=2, hidden=8, classes=5)


@pytest.fixture
def network() -> C3D:
    made = C3D(TINY)
    for weight in made.parameters():
        weight.data.normal_(std=(2 / weight[0].numel()) ** 0.5 if weight.ndim > 1 else 0)
    made.mean.uniform_(80, 120)
    return made


def clips(count: int) -> list[Tensor]:
    """Clips of little noise, each on a colour of its own."""
    colours = torch.randint(0, 200, (count, 1, 1, 1, 3))
    return [*(colours + torch.randint(0, 56, (count, 16, 20, 24, 3))).to(torch.uint8)]


def test_the_network_is_c3d():
    with torch.device("meta"):
        network = C3D(C3DConfig())
    shapes = {name: tuple(weight.shape) for name, weight in network.named_parameters()}
    assert shapes["conv5b.weight"] == (512, 512, 3, 3, 3)
    assert shapes["fc6.weight"] == (4096, 8192)
    assert sum(map(math.prod, shapes.values())) == 78_409_573


def test_the_score_of_clips_depends_on_neither_batch_nor_order(network):
    treated = torch.stack([TINY.treat(clip) for clip in clips(3)])
    whole = network(treated)
    parts = torch.cat([network(batch) for batch in treated.flip(0).split(2)])
    found = [score(rows).mean for rows in (whole, parts)]
    assert found == pytest.approx([found[0]] * 2, rel=1e-6)
    assert found[0] > 1.001


def test_colours_are_turned_round_and_the_mean_is_taken_away(network):
    """What the mean holds, in its own order and place, is nothing to the network."""
    columns = slice(8, 120)
    video = network.mean[:, :, columns, columns].flip(0)[None]
    zeros = torch.zeros(1, 3, 16, 112, 112)
    torch.testing.assert_close(network(video), network._logits(zeros))
    shifted = C3D(TINY.model_copy(update={"mean_column": TGAN.mean_column}))
    shifted.load_state_dict(network.state_dict())
    video = network.mean[:, :, 8:120, 29:141].flip(0)[None]
    torch.testing.assert_close(shifted(video), network._logits(zeros))


def counted(*call: Any) -> Tensor:
    """Cells in place of a layer's output."""
    return torch.arange(49.0).view(7, 7).expand_as(call[-1])


def test_the_last_pool_reaches_past_the_end_or_around():
    """Of 7 cells, four are made: from pairs, the last of one; or the first of one."""
    outputs = {}
    for last_pool in ("beyond", "around"):
        made = C3D(C3DConfig(width=1, hidden=128, classes=128, last_pool=last_pool))
        for name, weight in made.named_parameters():
            identity = name.startswith("fc") and weight.ndim == 2
            weight.data.copy_(torch.eye(128) if identity else torch.zeros_like(weight))
        made.conv5b.register_forward_hook(counted)
        outputs[last_pool] = made(torch.zeros(1, 3, 16, 112, 112))[0, :16].view(4, 4)
    assert outputs["beyond"].diagonal().tolist() == [8, 24, 40, 48]
    assert outputs["around"].diagonal().tolist() == [0, 16, 32, 48]


def test_corners_stay_where_they_are():
    """Chainer's resize, as MAGVIT writes it out."""
    frame = torch.randint(0, 256, (16, 5, 7, 3), dtype=torch.uint8)
    weights = [
        (1 - (torch.arange(112) * (n - 1) / 111 - torch.arange(n)[:, None]).abs()).clamp_min(0)
        for n in (5, 7)
    ]
    want = torch.einsum("thwc,hi,wj->ctij", frame.float(), *weights)
    got = C3DConfig().treat(frame)
    torch.testing.assert_close(got, want, atol=1e-3, rtol=0)
    for ours, theirs in ((0, 0), (-1, -1)):
        assert torch.allclose(got[:, :, ours, ours], frame[:, theirs, theirs].T.float(), atol=1e-3)


def test_tgan_takes_the_middle_of_opencv_s_cubic():
    """OpenCV's kernel has the parameter -0.75; a level stays what it is."""
    row = torch.zeros(16, 1, 64, 3, dtype=torch.uint8)
    row[:, :, 32] = 100
    got = TGAN.treat(row.expand(16, 64, 64, 3))[0, 0, 50]
    x = ((torch.arange(128) + 0.5) / 2 - 0.5 - 32).abs()
    near = (1.25 * x - 2.25) * x * x + 1
    far = -0.75 * (((x - 5) * x + 8) * x - 4)
    kernel = torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros(())))
    torch.testing.assert_close(got, 100 * kernel[8:120], atol=1e-3, rtol=0)


def test_floats_and_pixels_of_one_clip_are_treated_alike():
    (clip,) = clips(1)
    floats = clip.permute(3, 0, 1, 2) / 127.5 - 1
    for way in (C3DConfig(), TGAN):
        torch.testing.assert_close(way.treat(floats), way.treat(clip), atol=1e-3, rtol=0)


def test_clips_of_another_length_are_refused(network):
    with pytest.raises(
        ValueError, match=r"C3D takes clips of 16 frames of 112 x 112.* got 8 of 112"
    ):
        network(torch.zeros(1, 3, 8, 112, 112))


def test_weights_are_read_and_checked(network, tmp_path):
    path = tmp_path / "c3d.safetensors"
    write_tensors(path, network.state_dict())
    opened = TINY.model_copy(update={"weights": str(path)}).build()
    video = torch.rand(1, 3, 16, 112, 112) * 255
    assert torch.equal(opened(video), network(video))
    with pytest.raises(CheckpointError, match=r"c3d\.safetensors: has SHA-256 .*expected 00: its"):
        TINY.model_copy(update={"weights": str(path), "sha256": "00"}).build()
    with pytest.raises(CheckpointError, match=r"does not fit its config: 'fc6\.bias' has shape"):
        C3DConfig(width=2, hidden=9, classes=5, weights=str(path)).build()
    with pytest.raises(CheckpointError, match=r"no such file; IS needs the weights of C3D; get"):
        C3DConfig(weights=str(tmp_path / "none")).build()


def test_impossible_treatments_are_refused():
    for fields in ({"resize": 100}, {"mean_column": 60}, {"grid": "nearest"}):
        with pytest.raises(ConfigError):
            parse(C3DConfig, fields)
    assert MEAN[3] - 112 == 59
