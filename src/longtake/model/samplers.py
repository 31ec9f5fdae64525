"""What samples clips with one of a model's networks, guided by another model's or not."""

from collections.abc import Callable

from longtake.backends import Backend
from longtake.diffusion import ClipSampler
from longtake.model.agreement import Networks, guiding_network
from longtake.model.arguments import check_backend, check_role, check_sampling
from longtake.model.index import Sampling
from longtake.rollout import Role


def clip_sampler(
    model: Networks,
    role: Role,
    sampling: Sampling | None,
    backend: Backend | None,
    load: Callable[..., Networks],
) -> ClipSampler:
    """Return what samples clips with the network of ``role``, or else that of ``first``.

    ``load`` opens the model that guides, as ``VideoModel.from_pretrained`` does. The other
    arguments and the errors are those of ``VideoModel.clip_sampler``.
    """
    check_backend(backend)
    check_role(role)
    check_sampling(sampling)
    check_samples(model)
    assert model.index.diffusion is not None
    network = model.denoisers.get(role) or model.denoisers["first"]
    own = (sampling or model.index.sampling).of(role)
    guides = {}
    if (name := own.guidance.guide) is not None:
        other = load(name, device=network.device, dtype=network.dtype)
        guides = {name: guiding_network(name, other, model, role)}
    return ClipSampler(
        denoiser=network if backend is None else backend.denoiser(network),
        diffusion=model.index.diffusion,
        sampler=own.sampler,
        guidance=own.guidance,
        context_noise=own.context_noise,
        pattern=own.pattern,
        guides=guides,
    )


def check_samples(model: Networks) -> None:
    """Raise a ValueError if a model has no network that samples first clips."""
    if "first" not in model.denoisers:
        raise ValueError(
            "this model has no network that samples clips, only "
            f"{' and '.join(model.components)}; join it with a model that has one "
            "(VideoModel.merge), or train one"
        )
