"""Backends: what runs the networks of a model while videos are made, where that is not torch."""

from longtake.backends.base import Backend, BackendError
from longtake.backends.openvino import OpenVINO

__all__ = ["Backend", "BackendError", "OpenVINO"]
