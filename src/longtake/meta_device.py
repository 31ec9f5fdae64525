"""Networks without memory: their names and shapes are checked before anything is allocated."""

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from longtake.config import ConfigError

RANDOM_VALUES = (
    *(nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_),
    *(Tensor.normal_, Tensor.uniform_),
)
MAX_WEIGHTS = 20_000
"""Greatest number of weight tensors of a network whose config is all that is known of it."""


def build_empty(settings: Any, most: int = MAX_WEIGHTS) -> Any:
    """Build the network of a config on torch's meta device, which allocates no memory.

    Args:
        settings: config with a method ``build()``, such as a ``VolumeUNetConfig``.
        most: greatest number of weight tensors that the network may have; 20,000 by default.

    Raises:
        ConfigError: no network has these sizes, or it would have more weight tensors than ``most``.
    """
    numbers = itertools.count(1)

    def count(*_: object) -> None:
        if next(numbers) > most:
            raise ValueError(f"the network would have more than {most} weight tensors, the limit")

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), _NoInitialValues():
            return settings.build()
    except (
        ValueError,
        ArithmeticError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
    ) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(f"no network has these sizes: {reason}") from error
    finally:
        hook.remove()


class _NoInitialValues(TorchFunctionMode):
    """Context in which torch's initialisations leave parameters as they were allocated.

    Random values on the meta device import ``torch._dynamo``: a second, for no value at all.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func in RANDOM_VALUES:
            return args[0] if args else given["tensor"]
        if func is torch.randn:
            return torch.empty(*args, **{k: v for k, v in given.items() if k != "generator"})
        return func(*args, **given)
