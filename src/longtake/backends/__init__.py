"""Backends: other ways than plain PyTorch to run a model's networks while videos are made."""

from longtake.backends.base import Backend, BackendError
from longtake.backends.cuda_graphs import CudaGraphs
from longtake.backends.openvino import OpenVINO

__all__ = ["Backend", "BackendError", "CudaGraphs", "OpenVINO"]
