"""Losses of the autoencoder and of discriminators."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from longtake import config
from longtake.autoencoders.base import Posterior
from longtake.losses import AutoencoderLoss, AutoencoderLossConfig
from longtake.losses.adversarial import DiscriminatorLoss, sign_accuracy
from longtake.losses.autoencoder import GeneratorLoss, motion_error, pixel_error
from longtake.losses.discriminators import AnyDiscriminator, Patch2D, Patch3D, Plateau
from longtake.losses.efficientnet import EfficientNetLite
from longtake.losses.frames import choose_frames

SEEDS = (5, 6)


def video(batch: int = 2, frames: int = 3, size: int = 16, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, frames, size, size, generator=stream) * 2 - 1


def posterior(mean: float = 0.0, variance: float = 1.0) -> Posterior:
    z = torch.ones(2, 4, 3, 2, 2)
    return Posterior(mean=mean * z, log_variance=z * torch.tensor(variance).log())


def generator(
    loss: AutoencoderLoss,
    layer: nn.Conv3d,
    *,
    active: bool = True,
    drawn: Posterior | None = None,
    log_gradients: bool = False,
) -> GeneratorLoss:
    return loss.generator_loss(
        video(),
        layer(video(seed=1)),
        drawn or posterior(),
        layer.weight,
        seeds=SEEDS,
        active=loss.terms if active else (),
        log_gradients=log_gradients,
    )


def discriminator(loss: AutoencoderLoss, fake: Tensor, index: int = 0) -> DiscriminatorLoss:
    return loss.terms[index].discriminator_loss(video(), fake, seeds=SEEDS)


def with_terms(*adversaries: AnyDiscriminator) -> AutoencoderLoss:
    return AutoencoderLoss(AutoencoderLossConfig(adversary=adversaries or (SMALL,)))


SMALL = Patch2D(base_channels=4, layers=2)
PVDM = (
    Patch2D(
        weight=1,
        adaptive=False,
        feature_weight=4,
        base_channels=4,
        frames=1,
        padding=2,
        bias=True,
    ),
    Patch3D(weight=1, adaptive=False, feature_weight=4, base_channels=4),
)


def test_a_perfect_reconstruction_costs_nothing():
    loss = AutoencoderLoss(AutoencoderLossConfig(perceptual=EfficientNetLite(strides=(2, 4))))
    found = loss.generator_loss(video(), video(), posterior(), torch.zeros(1), seeds=SEEDS)
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
        loss.generator_loss(
            video(),
            video() + error * video(seed=1),
            posterior(),
            torch.zeros(1),
            seeds=SEEDS,
        ).total
        for error in (0.4, 0.2, 0.1, 0.0)
    ]
    assert all(more > less for more, less in pairwise(totals))


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_the_error_of_motion_sees_what_moves_alone(kind):
    clip, other, still = video(), video(seed=1), video(seed=2).mean(2, keepdim=True)
    found = motion_error(kind, clip, other)
    torch.testing.assert_close(motion_error(kind, clip, other + still), found)
    assert motion_error(kind, clip, clip + still) < 1e-6
    whole = pixel_error(kind, clip - clip.mean(2, keepdim=True), torch.zeros_like(clip))
    torch.testing.assert_close(motion_error(kind, clip, still.expand_as(clip)), whole)


def test_motion_counts_as_much_as_its_weight_says():
    without, with_motion = (
        generator(AutoencoderLoss(AutoencoderLossConfig(motion_weight=w)), layer()).parts
        for w in (0.0, 3.0)
    )
    assert "motion" not in without
    want = without["reconstruction"] + 3 * with_motion["motion"]
    torch.testing.assert_close(with_motion["reconstruction"], want)


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


def test_an_inactive_discriminator_is_not_evaluated():
    loss, calls = with_terms(*PVDM), []
    for term in loss.terms:
        term.network.register_forward_hook(lambda *_: calls.append(1))
    parts = generator(loss, layer(), active=False, log_gradients=True).parts
    assert not calls
    assert not any(name.startswith("adversarial") for name in parts)


def test_without_active_terms_the_loss_is_the_plain_one_to_the_last_digit():
    plain = generator(AutoencoderLoss(AutoencoderLossConfig()), layer()).total
    assert generator(with_terms(*PVDM), layer(), active=False).total.equal(plain)
    assert not generator(with_terms(*PVDM), layer()).total.equal(plain)


def test_an_active_discriminator_counts_and_learns():
    loss = with_terms()
    assert "adversarial" in generator(loss, layer()).parts
    discriminator(loss, video(seed=1)).total.backward()
    assert all(p.grad is not None for p in loss.terms[0].network.parameters())


def test_each_term_can_be_active_alone():
    loss, last = with_terms(*PVDM), layer()
    parts = loss.generator_loss(
        video(),
        last(video(seed=1)),
        posterior(),
        last.weight,
        seeds=SEEDS,
        active=loss.terms[1:],
    ).parts
    assert "adversarial_2" in parts
    assert "adversarial" not in parts


def test_two_terms_add_what_each_adds():
    plain = generator(AutoencoderLoss(AutoencoderLossConfig()), layer()).total
    both = with_terms(*PVDM)
    added = []
    for index in range(2):
        alone = with_terms(PVDM[index])
        alone.terms[0].network.load_state_dict(both.terms[index].network.state_dict())
        added.append(generator(alone, layer()).total - plain)
    torch.testing.assert_close(generator(both, layer()).total - plain, sum(added))


@pytest.mark.parametrize("kind", [Patch2D, Patch3D])
def test_features_of_the_same_clip_match(kind):
    loss = with_terms(kind(base_channels=4, layers=2, feature_weight=1))
    last = layer()
    for fake, same in [(video(), True), (video(seed=1), False)]:
        parts = loss.generator_loss(
            video(), fake + 0 * last(fake), posterior(), last.weight, seeds=SEEDS, active=loss.terms
        ).parts
        assert (parts["features"] == 0) == same


def test_features_of_the_video_get_no_gradient():
    loss, last = with_terms(*PVDM), layer()
    real = video().requires_grad_()
    loss = AutoencoderLoss(AutoencoderLossConfig(pixel_weight=0, adversary=PVDM))
    loss.generator_loss(
        real, last(video(seed=1)), posterior(), last.weight, seeds=SEEDS, active=loss.terms
    ).total.backward()
    assert real.grad is not None
    assert (real.grad == 0).all()
    assert last.weight.grad is not None


def test_one_frame_a_clip_is_judged_as_if_the_clip_were_that_frame():
    seen = PVDM[0].judged(video(frames=16), SEEDS)
    assert seen.shape == (2, 3, 1, 16, 16)
    for row, seed in enumerate(SEEDS):
        (frame,) = choose_frames(16, 1, seed)
        assert seen[row, :, 0].equal(video(frames=16)[row, :, frame])
    assert Patch2D().judged(video(), SEEDS).equal(video())
    assert Patch3D().judged(video(), SEEDS).equal(video())


def test_accuracy_is_the_share_of_right_signs():
    real, fake = torch.tensor([1.0, 2.0, -1.0, 0.0]), torch.tensor([-1.0, -2.0, -3.0, 1.0])
    assert [share.item() for share in sign_accuracy(real, fake)] == [0.5, 0.75]


@pytest.mark.parametrize("index", [0, 1])
def test_a_discriminator_logs_its_logits_and_accuracy(index):
    parts = discriminator(with_terms(*PVDM), video(seed=1), index).parts
    names = ("logits_real", "logits_fake", "accuracy_real", "accuracy_fake")
    assert set(parts) == {name + ("_2" if index else "") for name in names}
    assert all(0 <= value <= 1 for name, value in parts.items() if name.startswith("accuracy"))


def test_the_gradient_of_a_term_is_in_proportion_to_its_weight():
    pulls = []
    for weight in (0.1, 0.2):
        torch.manual_seed(0)
        loss = with_terms(SMALL.model_copy(update={"weight": weight, "adaptive": False}))
        pulls.append(generator(loss, layer(), log_gradients=True).parts["adversarial_pull"])
    torch.testing.assert_close(pulls[1], 2 * pulls[0])


def test_without_discriminators_there_is_none_to_train():
    assert AutoencoderLoss(AutoencoderLossConfig()).terms == ()


def test_the_discriminator_loss_gives_the_autoencoder_no_gradient():
    loss, last = with_terms(), layer()
    discriminator(loss, last(video(seed=1))).total.backward()
    assert last.weight.grad is None


def test_with_the_adaptive_weight_both_losses_pull_alike_on_the_last_layer():
    loss, last = with_terms(SMALL.model_copy(update={"weight": 1})), layer()
    gradients = []
    for step_loss in (AutoencoderLoss(AutoencoderLossConfig()), loss):
        total = generator(step_loss, last).total
        gradients.append(torch.autograd.grad(total, last.weight)[0])
    alone, together = gradients
    torch.testing.assert_close((together - alone).norm(), alone.norm(), rtol=0.02, atol=0)


def test_without_the_adaptive_weight_it_is_constant():
    loss = with_terms(SMALL.model_copy(update={"weight": 0.3, "adaptive": False}))
    assert generator(loss, layer()).parts["adversarial_weight"] == pytest.approx(0.3)


def test_parts_carry_no_gradient():
    parts = generator(with_terms(*PVDM), layer(), log_gradients=True).parts
    assert not any(value.requires_grad for value in parts.values())


@pytest.mark.parametrize("kind", [Patch2D, Patch3D])
def test_a_trained_discriminator_distinguishes_videos(kind):
    loss = with_terms(kind(base_channels=4, layers=2))
    optimizer = torch.optim.Adam(loss.terms[0].network.parameters(), lr=1e-2, betas=(0.5, 0.9))
    fake = video(seed=1).mean(2, keepdim=True).expand(-1, -1, 3, -1, -1)
    found = []
    for _ in range(12):
        found.append(discriminator(loss, fake))
        optimizer.zero_grad()
        found[-1].total.backward()
        optimizer.step()
    assert found[-1].total < 0.5 * found[0].total
    assert found[-1].parts["accuracy_real"] > 0.9
    assert found[-1].parts["accuracy_fake"] > 0.9


def test_frames_too_small_for_the_discriminator_are_named():
    network = Patch2D(layers=2).build()
    network(video(size=12))
    with pytest.raises(ValueError, match=r"11x11 pixels.*2 layers, which needs 12x12"):
        network(video(size=11))


def test_padding_lets_smaller_frames_be_judged():
    network = Patch2D(layers=2, padding=2, base_channels=4).build()
    assert network(video(size=4))[-1].numel() > 0


def test_the_papers_discriminators_have_their_sizes():
    kinds = (Patch2D(), Patch2D(padding=2, bias=True), Patch3D())
    sizes = [sum(p.numel() for p in kind.build().parameters()) for kind in kinds]
    assert [round(size / 1e6, 2) for size in sizes] == [2.77, 2.77, 11.06]


def test_settings_survive_plain_data():
    settings = AutoencoderLossConfig(
        perceptual=EfficientNetLite(frames=2),
        adversary=(Patch3D(start=7), Patch2D(start=Plateau(latest=9))),
        reduction="mean",
    )
    assert config.parse(AutoencoderLossConfig, config.to_dict(settings)) == settings


def test_a_single_term_needs_no_list():
    def parsed(adversary: Any) -> AutoencoderLossConfig:
        return config.parse(AutoencoderLossConfig, {"adversary": adversary})

    plain = {"kind": "patch2d", "weight": 0.8, "start": 3}
    assert parsed(plain) == parsed([plain])
    assert parsed(None) == parsed([]) == AutoencoderLossConfig()
    with pytest.raises(config.ConfigError, match=r"no field 'strat'; did you mean 'start'"):
        parsed({"kind": "patch2d", "strat": 3})


def test_a_rule_whose_latest_step_is_before_its_earliest_is_refused():
    with pytest.raises(config.ConfigError, match="latest=3 must not be before earliest=5"):
        config.parse(Plateau, {"earliest": 5, "latest": 3})
