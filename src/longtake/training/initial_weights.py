"""The initial weights of a denoiser that another one gives, which may read other signals."""

import re
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Size, Tensor, nn

from longtake.checkpoint import fill
from longtake.config import ConfigError
from longtake.data.latent_cache import ClipLatents
from longtake.denoisers.unet_config import PooledText, SummedTable, Table
from longtake.diffusion import Denoiser
from longtake.diffusion.signals import ABSENT
from longtake.text.encoder import CachedStates

_READS_TEXT = re.compile(r"text_embed\.|.*\.(cross|to_text)\.")
"""Matches the names of a denoiser's weights that read text."""

_READS_LABELS = re.compile(r"label_embeds?\.")
"""Matches the names of a denoiser's weights that read a class or named labels."""

PAIRED_CLIPS = 2048  # whose captions and classes ``text_of_classes`` compares at most
FIT_STEPS, FIT_RATE = 1500, 3e-3  # of which the last half has a falling learning rate


def start_from(
    denoiser: nn.Module,
    trained: nn.Module,
    origin: str,
    *,
    freeze: bool = False,
    with_text: bool = True,
) -> None:
    """Give a denoiser the weights of a trained network, where the two read the same signals.

    The denoiser keeps its own embeddings of classes and labels, and its own layers that read text,
    if the trained network lacks them or their shapes differ. Where one of the two embeds a class as
    a sum over parts (``SummedTable``) and the other has an embedding of each class, the denoiser
    begins with the nearest ones of its own form.

    Args:
        denoiser: the denoiser, which is changed.
        trained: the trained network.
        origin: where the trained network comes from, for error messages.
        freeze: train the weights that the denoiser keeps, and those that read text, alone; the
            others get no gradients.
        with_text: give it the trained network's layers that read text too; False: it keeps its own.

    Raises:
        CheckpointError: the networks differ in other weights.
        ConfigError: ``freeze`` leaves nothing to train.
    """
    own, given = denoiser.state_dict(), _class_tables_as(denoiser, trained)
    text, labels = (
        {name for name in {**own, **given} if pattern.match(name)}
        for pattern in (_READS_TEXT, _READS_LABELS)
    )
    left_out = {name for name in text | labels if _shape(own, name) != _shape(given, name)}
    if not with_text:
        left_out |= text
    kept = {name: own[name] for name in left_out & own.keys()}
    taken = {name: value for name, value in given.items() if name not in left_out}
    fill(denoiser, taken | kept, origin)
    if not freeze:
        return
    if not (learnt := kept.keys() | (text & own.keys())):
        raise ConfigError(
            f"freeze_initial=true leaves nothing to train: {origin} gives all weights, and none of "
            "them reads text; let the denoiser read text or other labels than that network, or set "
            "freeze_initial to false"
        )
    for name, parameter in denoiser.named_parameters():
        parameter.requires_grad_(name in learnt)


def check_text_of_classes(denoiser: Denoiser) -> None:
    """Raise a ConfigError unless the denoiser has what ``text_of_classes`` needs."""
    if not isinstance(getattr(denoiser, "text_embed", None), PooledText):
        raise ConfigError(
            "init_text=classes is for a denoiser that adds the mean of a text to its time "
            "embedding; set denoiser.pool_text=true (PVDM: denoiser.text_width)"
        )
    if getattr(denoiser, "label_embed", None) is None:
        raise ConfigError(
            "init_text=classes gives captions the embeddings of their classes, and the denoiser "
            "reads no class; set denoiser.num_classes to that of init_from"
        )


def text_of_classes(denoiser: Denoiser, latents: ClipLatents, states: CachedStates) -> None:
    """Fit the layers for the mean of a text to the embeddings of the classes that captions name.

    A caption then has the effect of its clip's class from the start; a caption of clips of several
    classes has that of their mean. Full-batch AdamW on the distinct pairs of caption and class of
    at most 2,048 clips takes seconds and reads no video. Words that no pair tells apart are
    combined as the layers extrapolate: with ``SummedTable`` the targets are sums too.

    Args:
        denoiser: a network that ``check_text_of_classes`` accepted, which is changed.
        latents: the training clips, with their classes and captions.
        states: hidden states of their captions.

    Raises:
        ConfigError: no clip has both a class and a caption.
    """
    text, classes = denoiser.get_submodule("text_embed"), denoiser.get_submodule("label_embed")
    items = range(0, len(latents), -(-len(latents) // PAIRED_CLIPS))
    clips = latents.read([(0, item) for item in items])
    pairs = Counter((latents.caption(clip.item), clip.label) for clip in clips)
    pairs = {pair: n for pair, n in pairs.items() if pair[0] and pair[1] != ABSENT}
    if not pairs:
        raise ConfigError(
            "init_text=classes: no training clip has both a class and a caption; give data with "
            "both, or leave init_text out"
        )
    given = torch.stack([states(caption) for caption, _ in pairs])
    weight = torch.tensor(list(pairs.values()), dtype=torch.float32)[:, None]
    with torch.no_grad():
        target = classes(torch.tensor([label for _, label in pairs]))
    scale = weight.sum() * target.var(0, correction=0).sum().clamp_min(1e-12)
    optimizer = torch.optim.AdamW(text.parameters(), lr=FIT_RATE, weight_decay=0.0)
    for step in range(FIT_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = FIT_RATE * min(1.0, 2 - 2 * step / FIT_STEPS)
        optimizer.zero_grad()
        (weight * (text(given) - target).square()).sum().div(scale).backward()
        optimizer.step()
    denoiser.zero_grad()


def _class_tables_as(denoiser: nn.Module, trained: nn.Module) -> dict[str, Tensor]:
    """Trained weights, with embeddings of classes in the form that ``denoiser`` has them in.

    A table of all classes becomes the nearest sums over parts, and sums become a table.
    """
    weights, others = trained.state_dict(), dict(trained.named_modules())
    for name, module in denoiser.named_modules():
        other = others.get(name)
        if isinstance(module, SummedTable) and isinstance(other, Table) and module.fits(other):
            del weights[f"{name}.weight"]
            found = module.nearest(other.weight.detach())
            weights |= {f"{name}.{part}": rows for part, rows in found.items()}
        elif isinstance(module, Table) and isinstance(other, SummedTable) and other.fits(module):
            for part in other.state_dict():
                del weights[f"{name}.{part}"]
            weights[f"{name}.weight"] = other.table().detach()
    return weights


def _shape(weights: Mapping[str, Tensor], name: str) -> Size | None:
    return weights[name].shape if name in weights else None
