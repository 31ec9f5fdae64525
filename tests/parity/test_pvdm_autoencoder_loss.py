"""PVDM's autoencoder loss and its two discriminators compute what the official code computes."""

from itertools import count

import pytest
import torch
from golden_case import Golden
from torch import Tensor

from longtake.autoencoders.base import Posterior
from longtake.losses.adversarial import hinge, vanilla
from longtake.losses.autoencoder import AutoencoderLoss, AutoencoderLossConfig, GeneratorLoss
from longtake.losses.discriminators import Patch2D, Patch3D
from longtake.losses.frames import FrameDistance, Perceptual, choose_frames
from longtake.losses.lpips import SLICES, LPIPSDistance

PAPERS = {"weight": 1.0, "adaptive": False, "feature_weight": 4.0, "base_channels": 8}
NAMES = ("discriminator_2d", "discriminator_3d")


class SquaredErrorDistance(FrameDistance):
    """What stands for LPIPS in the golden case."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return ((x - y) ** 2).mean((1, 2, 3))


class SquaredError(Perceptual):
    def build(self) -> SquaredErrorDistance:
        return SquaredErrorDistance()


@pytest.fixture
def case(golden) -> Golden:
    return golden("pvdm/gan")


@pytest.fixture
def loss(case) -> AutoencoderLoss:
    config = AutoencoderLossConfig(
        pixel_weight=4,
        reduction="mean",
        adversary=(
            Patch2D.model_validate({**PAPERS, "frames": 1, "padding": 2, "bias": True}),
            Patch3D.model_validate(PAPERS),
        ),
    ).model_copy(update={"perceptual": SquaredError(weight=4, frames=1)})
    built = AutoencoderLoss(config)
    for name, term in zip(NAMES, built.terms, strict=True):
        weights = case.weights(f"{name}.")
        term.network.load_state_dict({our_name(k): v for k, v in weights.items()})
    return built


def our_name(name: str) -> str:
    """``model2.1.weight`` is the third block's normalisation."""
    block, position, rest = name.removeprefix("model").split(".")
    return f"main.{max(3 * int(block) - 1, 0) + int(position)}.{rest}"


def seeds(case: Golden) -> list[int]:
    """Seeds that draw the golden case's frames."""
    frames = case["in.real"].shape[2]
    return [
        next(seed for seed in count() if choose_frames(frames, 1, seed) == [int(frame)])
        for frame in case["in.frame_idx"]
    ]


def generator(loss: AutoencoderLoss, case: Golden, fake: Tensor, *, begun: bool) -> GeneratorLoss:
    z = torch.zeros(len(fake), 1)
    posterior = Posterior(mean=z, log_variance=z)
    return loss.generator_loss(
        case["in.real"],
        fake,
        posterior,
        torch.zeros(1),
        seeds=seeds(case),
        active=loss.terms if begun else (),
    )


def near(got: Tensor, case: Golden, name: str) -> None:
    """At the tolerance that the case states."""
    stated = case.info["tolerance"]
    kind = "grads" if "grad" in name else "losses"
    scale = case[f"out.{name}"].abs().max().item()
    torch.testing.assert_close(
        got, case[f"out.{name}"], rtol=stated[f"{kind}_rel"], atol=stated[f"{kind}_rel"] * scale
    )


@pytest.mark.parametrize(
    ("name", "begun"), [("on", True), ("off", False), ("edge_before", False), ("edge_at", True)]
)
def test_what_the_autoencoder_is_trained_on(case, loss, name, begun):
    near(generator(loss, case, case["in.fake"], begun=begun).total, case, f"g_total_{name}")


def test_the_parts_of_the_autoencoders_loss(case, loss):
    parts = generator(loss, case, case["in.fake"], begun=True).parts
    near(4 * parts["pixel"], case, "comp.rec")
    near(4 * parts["perceptual"], case, "comp.perceptual_stub")
    near(4 * parts["features"], case, "comp.feat_2d")
    near(4 * parts["features_2"], case, "comp.feat_3d")
    near(parts["adversarial"] + parts["adversarial_2"], case, "comp.gan")


def test_the_gradient_of_the_autoencoders_loss(case, loss):
    fake = case["in.fake"].clone().requires_grad_()
    generator(loss, case, fake, begun=True).total.backward()
    assert fake.grad is not None
    near(fake.grad, case, "grad_fake_on")


def test_what_the_discriminators_are_trained_on_and_its_gradients(case, loss):
    found = [
        term.discriminator_loss(case["in.real"], case["in.fake"], seeds=seeds(case))
        for term in loss.terms
    ]
    total = found[0].total + found[1].total
    near(total, case, "d_total_on")
    near(total, case, "d_total_edge_at")
    total.backward()
    for name in (key.removeprefix("out.") for key in case.tensors if "grad_d." in key):
        network, rest = name.removeprefix("grad_d.").split(".", 1)
        gradient = loss.terms[NAMES.index(network)].network.get_parameter(our_name(rest)).grad
        assert gradient is not None
        near(gradient, case, name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("index", [0, 1])
def test_features_of_the_discriminators(case, loss, index, training):
    video = case["in.real"] if index else case["in.real"][:, :, 5:6]
    network = loss.terms[index].network.train(training)
    features = network(video)
    assert len(features) == 5
    mode, atol = "train" if training else "eval", case.info["tolerance"]["features"]
    for layer, got in enumerate(features):
        expected = case[f"out.{mode}.d{index + 2}_feat{layer}"]
        torch.testing.assert_close(got, expected, atol=atol, rtol=0)
    after = f"out.train.after.{NAMES[index]}."
    for key in [k for k in case.tensors if training and k.startswith(after)]:
        got = network.get_buffer(our_name(key.removeprefix(after)))
        torch.testing.assert_close(got, case[key], atol=atol, rtol=0)


def test_discriminator_losses(case, loss):
    with torch.no_grad():
        pairs = [
            [
                term.network(term.config.judged(case[f"in.{of}"], seeds(case)))[-1]
                for of in ("real", "fake")
            ]
            for term in loss.terms
        ]
    near(torch.stack([hinge(*pair) for pair in pairs]).sum(), case, "comp.d_hinge")
    near(torch.stack([vanilla(*pair) for pair in pairs]).sum(), case, "comp.d_vanilla")


def test_the_head_of_lpips(golden, monkeypatch):
    case = golden("pvdm/lpips_head")
    distance = LPIPSDistance(blank_vgg16() | case.weights())
    image = case["in.image"]
    atol = case.info["tolerance"]["value"]
    scaled = (image - distance.shift) / distance.scale
    torch.testing.assert_close(scaled, case["out.scaled_image"], atol=atol, rtol=0)
    maps = {0: [case[f"in.f0_{i}"] for i in range(5)], 1: [case[f"in.f1_{i}"] for i in range(5)]}
    monkeypatch.setattr(distance, "features", lambda x: maps[int(x[0, 0, 0, 0])])
    found = distance(torch.zeros_like(image), torch.ones_like(image))
    torch.testing.assert_close(found, case["out.value"].flatten(), atol=atol, rtol=0)


def blank_vgg16() -> dict[str, Tensor]:
    weights, before = {}, 3
    for channels, places in SLICES:
        for place in places:
            weights[f"features.{place}.weight"] = torch.zeros(()).expand(channels, before, 3, 3)
            weights[f"features.{place}.bias"] = torch.zeros(channels)
            before = channels
    return weights
