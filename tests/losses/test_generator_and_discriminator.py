"""What an autoencoder is trained on, and when."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from longtake import config
from longtake.autoencoders.base import Posterior
from longtake.losses import AutoencoderLoss, AutoencoderLossConfig, Losses
from longtake.losses.adversarial import AnyAdversary, Patch2D, Patch3D
from longtake.losses.efficientnet import EfficientNetLite

START = 3


def video(batch: int = 2, frames: int = 3, size: int = 16, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, frames, size, size, generator=stream) * 2 - 1


def posterior(mean: float = 0.0, variance: float = 1.0) -> Posterior:
    z = torch.ones(2, 4, 3, 2, 2)
    return Posterior(mean=mean * z, log_variance=z * torch.tensor(variance).log())


def generator(
    loss: AutoencoderLoss, layer: nn.Conv3d, step: int = START, drawn: Posterior | None = None
) -> Losses:
    return loss.generator(video(), layer(video(seed=1)), drawn or posterior(), layer.weight, step)


def with_adversary(adversary: AnyAdversary | None = None) -> AutoencoderLoss:
    adversary = adversary or Patch2D(start=START, base_channels=4, layers=2)
    return AutoencoderLoss(AutoencoderLossConfig(adversary=adversary))


def test_a_perfect_reconstruction_costs_nothing():
    loss = AutoencoderLoss(AutoencoderLossConfig(perceptual=EfficientNetLite(strides=(2, 4))))
    found = loss.generator(video(), video(), posterior(), torch.zeros(1), 0)
    assert found.total == 0


@pytest.mark.parametrize("pixel", ["l1", "l2"])
@pytest.mark.parametrize("reduction", ["official", "mean"])
def test_the_loss_falls_with_the_error(pixel, reduction):
    loss = AutoencoderLoss(
        AutoencoderLossConfig(
            pixel=pixel, reduction=reduction, perceptual=EfficientNetLite(strides=(2, 4))
        )
    )
    totals = [
        loss.generator(
            video(), video() + error * video(seed=1), posterior(), torch.zeros(1), 0
        ).total
        for error in (0.4, 0.2, 0.1, 0.0)
    ]
    assert all(more > less for more, less in pairwise(totals))


def test_official_is_the_mean_times_the_numbers_it_sums():
    by_pixel, by_frame = (
        generator(AutoencoderLoss(AutoencoderLossConfig(reduction=reduction)), layer()).parts
        for reduction in ("mean", "official")
    )
    torch.testing.assert_close(by_frame["nll"], by_pixel["nll"] * 3 * 16 * 16)
    torch.testing.assert_close(by_frame["pixel"], by_pixel["pixel"])


def layer() -> nn.Conv3d:
    torch.manual_seed(0)
    return nn.Conv3d(3, 3, 1)


@pytest.mark.parametrize(("reduction", "count"), [("official", 4 * 3 * 2 * 2), ("mean", 1)])
def test_kl_of_a_known_gaussian(reduction, count):
    loss = AutoencoderLoss(AutoencoderLossConfig(kl_weight=0.5, reduction=reduction))
    without = generator(loss, layer())
    found = generator(loss, layer(), drawn=posterior(mean=2.0, variance=0.5))
    each = 0.5 * (4 + 0.5 - 1 - torch.tensor(0.5).log())
    torch.testing.assert_close(found.parts["kl"], each * count)
    torch.testing.assert_close(found.total - without.total, 0.5 * each * count)
    assert without.parts["kl"] == 0


def test_before_its_start_the_adversary_is_not_asked():
    loss, calls = with_adversary(), []
    assert loss.adversary is not None
    loss.adversary.register_forward_hook(lambda *_: calls.append(1))
    parts = generator(loss, layer(), START - 1).parts
    assert loss.discriminator(video(), video(seed=1), START - 1) is None
    assert not calls
    assert "adversarial" not in parts


def test_from_its_start_the_adversary_counts_and_learns():
    loss = with_adversary()
    assert "adversarial" in generator(loss, layer(), START).parts
    found = loss.discriminator(video(), video(seed=1), START)
    assert found is not None
    found.total.backward()
    assert loss.adversary is not None
    assert all(p.grad is not None for p in loss.adversary.parameters())


def test_without_an_adversary_there_is_nothing_to_train_in_its_phase():
    loss = AutoencoderLoss(AutoencoderLossConfig())
    assert loss.adversary is None
    assert loss.discriminator(video(), video(), 10**9) is None


def test_the_discriminator_loss_gives_the_autoencoder_no_gradient():
    loss, last = with_adversary(), layer()
    found = loss.discriminator(video(), last(video(seed=1)), START)
    assert found is not None
    found.total.backward()
    assert last.weight.grad is None


def test_with_the_adaptive_weight_both_losses_pull_alike_on_the_last_layer():
    adversary = Patch2D(start=0, weight=1, base_channels=4, layers=2)
    loss, last = with_adversary(adversary), layer()
    gradients = []
    for step_loss in (AutoencoderLoss(AutoencoderLossConfig()), loss):
        total = generator(step_loss, last).total
        gradients.append(torch.autograd.grad(total, last.weight)[0])
    alone, together = gradients
    torch.testing.assert_close((together - alone).norm(), alone.norm(), rtol=0.02, atol=0)


def test_without_the_adaptive_weight_it_is_constant():
    loss = with_adversary(Patch2D(start=0, weight=0.3, adaptive=False, base_channels=4, layers=2))
    assert generator(loss, layer()).parts["adversarial_weight"] == pytest.approx(0.3)


def test_parts_carry_no_gradient():
    parts = generator(with_adversary(), layer()).parts
    assert not any(value.requires_grad for value in parts.values())


@pytest.mark.parametrize("kind", [Patch2D, Patch3D])
def test_a_trained_discriminator_tells_videos_apart(kind):
    loss = with_adversary(kind(start=0, base_channels=4, layers=2))
    assert loss.adversary is not None
    optimizer = torch.optim.Adam(loss.adversary.parameters(), lr=1e-2, betas=(0.5, 0.9))
    real, fake = video(), video(seed=1).mean(2, keepdim=True).expand(-1, -1, 3, -1, -1)
    totals = []
    for _ in range(12):
        found = loss.discriminator(real, fake, 0)
        assert found is not None
        optimizer.zero_grad()
        found.total.backward()
        optimizer.step()
        totals.append(found.total.item())
    assert totals[-1] < 0.5 * totals[0]


def test_frames_too_small_for_the_discriminator_are_named():
    network = Patch2D(layers=2).build()
    network(video(size=12))
    with pytest.raises(ValueError, match=r"11x11 pixels.*2 layers, which needs 12x12"):
        network(video(size=11))


def test_the_papers_discriminators_have_their_sizes():
    sizes = [sum(p.numel() for p in kind().build().parameters()) for kind in (Patch2D, Patch3D)]
    assert [round(size / 1e6, 2) for size in sizes] == [2.77, 11.06]


def test_settings_survive_plain_data():
    settings = AutoencoderLossConfig(
        perceptual=EfficientNetLite(frames=2), adversary=Patch3D(start=7), reduction="mean"
    )
    assert config.parse(AutoencoderLossConfig, config.to_dict(settings)) == settings
