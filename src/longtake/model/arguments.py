"""Arguments of ``VideoModel`` as users of Python write them."""

import operator
from collections.abc import Iterable, Sequence
from typing import SupportsIndex, get_args

import torch

from longtake.backends import Backend
from longtake.config import nearest
from longtake.model.index import Sampling
from longtake.rollout import Role
from longtake.text import Prompt


def whole_seeds(seeds: Iterable[SupportsIndex]) -> tuple[int, ...]:
    """Seeds as Python's integers: an element of an array or tensor is the seed of its value.

    Raises:
        ValueError: there are none, or one is not a whole number.
    """
    try:
        found = tuple(map(operator.index, seeds))
    except TypeError:
        found = ()
    if not found:
        raise ValueError(f"seeds={seeds!r}: expected whole numbers, one per video, such as [0, 1]")
    return found


def check_device(device: torch.device | str) -> None:
    """Raise a ValueError unless this machine has the torch device ``device``."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"device={device}: no such device here ({reason}); try cpu") from error


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raise a ValueError unless ``dtype`` is None or one that networks' weights can have."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype={dtype}: expected a floating-point dtype such as torch.float16")


def label_text(label: object) -> str:
    """A label as text: a class's number may be an integer of any type.

    Raises:
        ValueError: ``label`` is neither a text nor a whole number; a list of labels is neither.
    """
    if isinstance(label, str):
        return label
    try:
        return str(operator.index(label))  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise ValueError(
            f"label={label!r}: expected one text or number for all videos, such as 'calm', 3 or "
            "'time=dusk'; make videos of other labels by a request of their own"
        ) from None


def whole_prompt(prompt: object) -> Prompt:
    """A prompt from one text, or from a sequence of one text per video.

    Raises:
        ValueError: ``prompt`` is neither a text, nor a sequence of texts, nor a ``Prompt`` of them.
    """
    found = prompt if isinstance(prompt, Prompt) else Prompt(prompt)  # pyright: ignore[reportArgumentType]
    one = isinstance(found.text, str)
    many = not one and isinstance(found.text, Sequence) and found.text
    if not (one or (many and all(isinstance(each, str) for each in found.text))):
        raise ValueError(f"prompt={prompt!r}: expected a text, or a list of one text per video")
    return found


def check_backend(backend: object) -> None:
    """Raise a ValueError unless ``backend`` is None or an instance of a backend, not its class."""
    if isinstance(backend, type) or not isinstance(backend, Backend | None):
        raise ValueError(
            f"backend={backend!r}: expected None for PyTorch, or a backend such as "
            "longtake.backends.OpenVINO()"
        )


def check_role(role: object) -> None:
    """Raise a ValueError unless ``role`` is ``first``, ``next`` or ``interpolator``."""
    if role not in get_args(Role):
        raise ValueError(f"role={role!r}: no such role; {nearest(str(role), get_args(Role))}")


def check_sampling(sampling: object) -> None:
    """Raise a ValueError unless ``sampling`` is None or a ``longtake.Sampling``."""
    if not isinstance(sampling, Sampling | None):
        raise ValueError(
            f"sampling={sampling!r}: expected None or a longtake.Sampling, such as "
            "longtake.model.sampling_with(model.index.sampling, ['sampler.steps=20'])"
        )
