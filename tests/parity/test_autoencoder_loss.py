"""Autoencoder losses and discriminators compute what the official LVDM code computes."""

import copy
import math
import zlib

import numpy as np
import pytest
import torch
from golden_case import Golden
from torch import Tensor, nn

from longtake.autoencoders.base import Posterior
from longtake.losses.adversarial import hinge, vanilla
from longtake.losses.autoencoder import AutoencoderLoss, AutoencoderLossConfig
from longtake.losses.discriminators import Patch2D
from longtake.losses.frames import FrameDistance, Perceptual
from longtake.losses.lpips import LPIPSDistance

START = 5


class SquaredErrorDistance(FrameDistance):
    """What stands for LPIPS in the golden case."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return ((x - y) ** 2).mean((1, 2, 3))


class SquaredError(Perceptual):
    def build(self) -> SquaredErrorDistance:
        return SquaredErrorDistance()


def criterion(case: Golden, perceptual: bool = False) -> AutoencoderLoss:
    config = AutoencoderLossConfig(kl_weight=1e-4, adversary=(Patch2D(),), log_variance=0.25)
    if perceptual:
        config = config.model_copy(update={"perceptual": SquaredError()})
    loss = AutoencoderLoss(config)
    loss.terms[0].network.load_state_dict(case.weights("loss.discriminator."))
    return loss


def convolution(case: Golden) -> nn.Conv3d:
    """The decoder's last layer; the official one pads with copies of the border."""
    layer = nn.Conv3d(8, 3, 3, padding=1, padding_mode="replicate")
    layer.load_state_dict(case.weights("conv_out.conv."))
    return layer


def posterior(case: Golden) -> Posterior:
    mean, log_variance = case["in.moments"].chunk(2, 1)
    return Posterior(mean=mean, log_variance=log_variance.clamp(-30, 20))


@pytest.mark.parametrize("step", [START - 1, START])
@pytest.mark.parametrize("perceptual", [False, True])
def test_generator_loss_its_parts_and_its_gradient(golden, perceptual, step):
    case = golden("lvdm/ae_loss")
    loss, layer = criterion(case, perceptual), convolution(case)
    losses = loss.generator_loss(
        case["in.video"],
        layer(case["in.h"]),
        posterior(case),
        layer.weight,
        seeds=range(len(case["in.video"])),
        active=loss.terms if step >= START else (),
    )
    losses.total.backward()
    name = f"pw{int(perceptual)}.step{step}.gen"
    case.close(f"{name}.total", losses.total)
    case.close(f"{name}.nll_loss", losses.parts["nll"])
    case.close(f"{name}.kl_loss", losses.parts["kl"])
    error = losses.parts["pixel"] + losses.parts.get("perceptual", torch.zeros(()))
    case.close(f"{name}.rec_loss", error)
    assert layer.weight.grad is not None
    case.close(f"{name}.grad_conv_out_weight", layer.weight.grad)
    if step >= START:
        case.close(f"{name}.g_loss", losses.parts["adversarial"])
        case.close(f"{name}.d_weight", losses.parts["adversarial_weight"])


def test_discriminator_loss_and_its_gradient(golden):
    case = golden("lvdm/ae_loss")
    loss, layer = criterion(case), convolution(case)
    clips = case["in.video"]
    losses = loss.terms[0].discriminator_loss(clips, layer(case["in.h"]), seeds=range(len(clips)))
    losses.total.backward()
    case.close("pw0.step5.disc.disc_loss", losses.total)
    case.close("pw0.step5.disc.logits_real", losses.parts["logits_real"])
    case.close("pw0.step5.disc.logits_fake", losses.parts["logits_fake"])
    gradient = loss.terms[0].network.get_parameter("main.0.weight").grad
    assert gradient is not None
    case.close("pw0.step5.disc.grad_main0_weight", gradient)


def test_frame_discriminator_and_its_batch_statistics(golden):
    case = golden("lvdm/ae_loss")
    adversary = criterion(case).terms[0].network
    training = copy.deepcopy(adversary)
    logits = training(one_frame_each(case))[-1]
    assert logits.shape == case["out.disc_logits_train"].shape
    case.close("disc_logits_train", logits)
    case.close("bn0_running_mean_after", training.get_buffer("main.3.running_mean"))
    case.close("bn0_running_var_after", training.get_buffer("main.3.running_var"))
    case.close("disc_logits_eval", adversary.eval()(one_frame_each(case))[-1])


def one_frame_each(case: Golden) -> Tensor:
    return case["in.video"][:, :, :1]


def test_discriminator_losses(golden):
    case = golden("lvdm/ae_loss")
    real, fake = case["out.disc_logits_train"], case["out.disc_logits_eval"]
    case.close("hinge", hinge(real, fake))
    case.close("vanilla", vanilla(real, fake))


@pytest.fixture(scope="module")
def recipe() -> dict[str, Tensor]:
    """VGG16 and its heads, drawn by the rule that the golden case states."""
    sizes = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    slices = [1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]
    weights = {}
    for place, part, before, after in zip(places, slices, sizes[:-1], sizes[1:], strict=True):
        name = f"net.slice{part}.{place}"
        weights[f"{name}.weight"] = drawn(f"{name}.weight", after, before, 3, 3) * math.sqrt(2)
        weights[f"{name}.bias"] = drawn(f"{name}.bias", after)
    for index, width in enumerate([64, 128, 256, 512, 512]):
        name = f"lin{index}.model.1.weight"
        weights[name] = drawn(name, 1, width, 1, 1).abs()
    return weights


def drawn(name: str, *shape: int) -> Tensor:
    stream = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    values = stream.randn(*shape).astype(np.float32)
    if len(shape) == 1:
        return torch.from_numpy(np.float32(0.1) * values)
    return torch.from_numpy(values / np.float32(math.sqrt(math.prod(shape[1:]))))


@torch.no_grad()
def test_lpips_and_its_features(golden, recipe):
    case = golden("lvdm/lpips_recipe")
    distance = LPIPSDistance(recipe)
    features = distance.features(case["in.x"])
    case.close("relu1_2_mean", features[0].mean())
    case.close("relu5_3_mean", features[4].mean())
    case.close("lpips", distance(case["in.x"], case["in.y"])[:, None, None, None])


@torch.no_grad()
def test_lpips_is_the_same_in_training_mode(golden, recipe):
    case = golden("lvdm/lpips_recipe")
    distance = LPIPSDistance(recipe).train()
    case.close("lpips", distance(case["in.x"], case["in.y"])[:, None, None, None])
