"""Every network is differentiable forward and twice, and runs in half precision."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conditions import predict
from torch import Tensor, nn
from torch.func import functional_call

from longtake.autoencoders import (
    FramewiseAutoencoderConfig,
    TriplaneAutoencoderConfig,
    VolumeAutoencoderConfig,
)
from longtake.denoisers import TriplaneUNetConfig, VolumeTransformerConfig, VolumeUNetConfig
from longtake.diffusion import Denoiser
from longtake.diffusion.signals import label_signal, previous_signal, text_signal
from longtake.nn.attention import JointAttentionConfig, SpaceTimeAttentionConfig
from longtake.nn.kernels import KERNELS
from longtake.nn.transformer import TransformerConfig

# PyTorch 2.13's own forward mode uses what it deprecates
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

UNET: dict[str, Any] = {
    "latent": (2, 4, 4, 4),
    "model_channels": 8,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "num_classes": 3,
    "groups": 4,
    "zero_init": False,
}
VOLUME = VolumeUNetConfig(**UNET)
TRIPLANE = TriplaneUNetConfig(**UNET, num_heads=2)
TEXT = TransformerConfig(num_heads=2, context_dim=6, max_distance=3)
DENOISERS = {
    "volume": VOLUME,
    "joint": VolumeUNetConfig(**UNET, attention=JointAttentionConfig()),
    "text": VolumeUNetConfig(**UNET, attention=TEXT),
    "blind": VolumeUNetConfig(
        **UNET,
        attention=SpaceTimeAttentionConfig(relative_position=None),
        scale_shift_norm=False,
        resblock_updown=True,
    ),
    "volume checkpointed": VOLUME.model_copy(update={"checkpoint": True}),
    "transformer": VolumeTransformerConfig(
        latent=(2, 4, 4, 4), width=16, depth=2, num_heads=2, num_classes=3, zero_init=False
    ),
    "transformer, text": VolumeTransformerConfig(
        latent=(2, 4, 4, 4), width=16, depth=1, num_heads=2, text_width=6, zero_init=False
    ),
    "triplane": TRIPLANE,
    "triplane checkpointed": TRIPLANE.model_copy(update={"checkpoint": True}),
}
AUTOENCODERS = {
    "volume autoencoder": VolumeAutoencoderConfig(
        clip=(4, 4, 4), factors=(2, 2, 2), hidden=4, groups=4
    ),
    "triplane autoencoder": TriplaneAutoencoderConfig(
        clip=(3, 8, 8),
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
    ),
    "framewise autoencoder": FramewiseAutoencoderConfig(
        clip=(2, 4, 4), width=4, channel_mult=(1, 2), num_res_blocks=1, groups=2
    ),
}


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_latents_depend_on_the_encoding_modules_alone_and_frames_on_the_others(name: str):
    network: Any = AUTOENCODERS[name].build()
    posterior = network.encode(torch.randn(1, 3, *network.spec.clip))
    (posterior.mean.sum() + posterior.log_variance.sum()).backward()
    named = {id(w) for module in network.encoding_modules for w in module.parameters()}
    assert {id(w) for w in network.parameters() if w.grad is not None} == named
    network.zero_grad()
    network.decode(posterior.mean.detach()).sum().backward()
    assert not {id(w) for w in network.parameters() if w.grad is not None} & named


def denoise(network: Denoiser, z: Tensor, t: Tensor) -> Tensor:
    """Run a denoiser with everything that it reads."""
    text = torch.linspace(-1, 1, len(z) * 12).view(len(z), 2, 6).to(z)
    signals = {
        **label_signal(torch.arange(len(z))),
        **text_signal(text, torch.zeros_like(text)),
        **previous_signal(z.flip(-1)),
    }
    read = {name: signal for name, signal in signals.items() if name in network.reads}
    return predict(network, z, t, read)


class Whole(nn.Module):
    """A network as a function of tensors alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        if isinstance(self.network, Denoiser):
            return denoise(self.network, x, t)
        network: Any = self.network
        posterior = network.encode(x)
        return network.decode(posterior.mean).sin() + posterior.log_variance.mean()


def built(name: str, dtype: torch.dtype) -> tuple[Whole, Tensor, Tensor]:
    torch.manual_seed(0)
    network = (DENOISERS | AUTOENCODERS)[name].build().to(dtype)
    shape = network.spec.shape if name in DENOISERS else (3, *network.spec.clip)
    x = torch.randn(2, *shape, dtype=torch.float64)
    return Whole(network), x.to(dtype), torch.tensor([0.0205, 0.4995], dtype=dtype)


def plain(function: Callable[[], Any], monkeypatch) -> Any:
    """The result of a function without kernels."""
    with monkeypatch.context() as patch:
        for formula in KERNELS:
            patch.setitem(KERNELS, formula, ())
        return function()


@pytest.mark.parametrize("name", [*DENOISERS, *AUTOENCODERS])
def test_forward_mode_is_the_transpose_of_reverse_mode(name):
    whole, x, t = built(name, torch.float64)
    leaves = (x, t, *whole.parameters())
    names = [name for name, _ in whole.named_parameters()]

    def run(x: Tensor, t: Tensor, *parameters: Tensor) -> Tensor:
        return functional_call(whole, dict(zip(names, parameters, strict=True)), (x, t))

    tangents = tuple(torch.randn_like(leaf) for leaf in leaves)
    out, tangent, *_ = torch.func.jvp(run, tuple(leaf.detach() for leaf in leaves), tangents)
    direction = torch.randn_like(out)
    leaves = tuple(leaf.detach().requires_grad_() for leaf in leaves)
    wanted = run(*leaves)
    torch.testing.assert_close(out, wanted)
    grads = torch.autograd.grad(wanted, leaves, direction, materialize_grads=True)
    backward = sum((g * v).sum() for g, v in zip(grads, tangents, strict=True))
    torch.testing.assert_close((direction * tangent).sum(), backward)


@pytest.mark.parametrize("name", [*DENOISERS, *AUTOENCODERS])
def test_forward_mode_is_the_limit_of_differences(name):
    whole, x, t = built(name, torch.float64)
    dx, dt, step = torch.randn_like(x), torch.full_like(t, 1e-3), 1e-5
    with torch.no_grad():
        _, tangent, *_ = torch.func.jvp(whole, (x, t), (dx, dt))
        ahead, behind = (whole(x + s * dx, t + s * dt) for s in (step, -step))
    torch.testing.assert_close(tangent, (ahead - behind) / (2 * step), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", [*DENOISERS, *AUTOENCODERS])
def test_a_gradient_of_a_gradient_is_that_of_the_formulas(name, monkeypatch):
    whole, x, t = built(name, torch.float64)
    x.requires_grad_()

    def penalty() -> tuple[Tensor, ...]:
        """Gradients of R1's penalty, by the input and every weight."""
        first = torch.autograd.grad(whole(x, t).square().mean(), x, create_graph=True)[0]
        leaves = (x, *whole.parameters())
        return torch.autograd.grad(first.square().sum(), leaves, materialize_grads=True)

    found = penalty()
    torch.testing.assert_close(found, plain(penalty, monkeypatch))
    assert all(grad.isfinite().all() for grad in found)
    assert found[0].any()


@pytest.mark.parametrize("name", ["volume", "triplane checkpointed"])
def test_a_tangent_can_be_trained_through(name):
    """The gradient of a directional derivative, as losses on a flow's velocity take it."""
    whole, x, t = built(name, torch.float64)
    dx, dt = torch.randn_like(x), torch.full_like(t, 1e-3)
    leaves = tuple(whole.parameters())
    _, tangent, *_ = torch.func.jvp(whole, (x, t), (dx, dt))
    grads = torch.autograd.grad(tangent.square().sum(), leaves, materialize_grads=True)

    step = 1e-4
    ahead, behind = (whole(x + s * dx, t + s * dt) for s in (step, -step))
    difference = (ahead - behind) / (2 * step)
    wanted = torch.autograd.grad(difference.square().sum(), leaves, materialize_grads=True)
    torch.testing.assert_close(grads, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [*DENOISERS, *AUTOENCODERS])
def test_vmapped_gradients_are_those_of_each_sample(name):
    whole, x, t = built(name, torch.float64)

    def loss(x: Tensor, t: Tensor) -> Tensor:
        return whole(x[None], t[None]).square().mean()

    each = torch.func.vmap(torch.func.grad(loss))(x, t)
    torch.testing.assert_close(each[1], torch.func.grad(loss)(x[1], t[1]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [*DENOISERS, *AUTOENCODERS])
@torch.no_grad()
def test_half_precision_comes_close_to_single(name, dtype):
    whole, x, t = built(name, torch.float32)
    wanted = whole(x, t)
    got = whole.to(dtype)(x.to(dtype), t)
    assert got.dtype == dtype
    error = (got.float() - wanted).norm() / wanted.norm()
    assert error < (0.05 if dtype == torch.bfloat16 else 0.01)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [*AUTOENCODERS])
@torch.no_grad()
def test_an_autoencoder_in_half_precision_answers_in_single(name, dtype):
    network: Any = built(name, torch.float32)[0].network
    video = torch.rand(1, 3, *network.spec.clip) * 2 - 1
    overlap = 1 if name == "triplane autoencoder" else 0

    def run() -> list[Tensor]:
        posterior = network.encode(video)
        z = posterior.sample(torch.zeros_like(posterior.mean))
        stream = torch.cat([*network.stream_decode([z, z], clip_overlap=overlap)], 2)
        return [posterior.mean, posterior.log_variance, posterior.kl(), network.decode(z), stream]

    single = run()
    network.to(dtype)
    for got, wanted in zip(run(), single, strict=True):
        assert got.dtype == torch.float32
        assert (got - wanted).norm() <= 0.05 * wanted.norm()


@torch.no_grad()
def test_a_restored_stream_of_half_precision_continues_bit_for_bit():
    network: Any = built("triplane autoencoder", torch.bfloat16)[0].network
    first, second = torch.rand(2, 1, *network.spec.shape) * 2 - 1
    decoder, other = (network.stream_decoder(clip_overlap=1) for _ in range(2))
    decoder.push(first)
    other.restore(decoder.state())
    assert torch.equal(other.push(second), decoder.push(second))
