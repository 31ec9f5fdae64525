"""Lets longtake be imported on a machine where PyAV is not installed, to compute alone.

Everything that is imported from ``av`` becomes an empty class: reading or writing a video fails,
sampling, decoding to pixels and training on synthetic worlds work.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import MutableSequence
from types import ModuleType
from typing import Any


class _Empty(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Empty(name, (), {})


class _Module(ModuleType):
    __version__ = "0"
    __path__: MutableSequence[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Empty(name, (Exception,), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname.partition(".")[0] == "av":
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def install() -> bool:
    """Stand in for PyAV if it is not there; returns whether it does."""
    try:
        if sys.modules.get("av", "") is not None and importlib.util.find_spec("av"):
            return False
    except (ImportError, ValueError):
        pass
    sys.modules.pop("av", None)
    sys.meta_path.insert(0, _Finder())
    return True
