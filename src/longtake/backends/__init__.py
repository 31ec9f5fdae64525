"""Backends: software other than PyTorch that runs a model's networks while videos are made."""

from longtake.backends.base import Backend, BackendError
from longtake.backends.openvino import OpenVINO

__all__ = ["Backend", "BackendError", "OpenVINO"]
