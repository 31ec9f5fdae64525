"""Copies from a GPU to the host's memory beside the GPU's work."""

import numpy as np
import torch
from torch import Tensor


class HostCopy:
    """A copy of a tensor in the host's memory, which CUDA makes while later work is queued.

    On CUDA the copy goes into pinned memory on a stream of its own, which waits for the work that
    was queued before, not for what is queued afterwards. Elsewhere it is made at once; on a CPU the
    tensor itself is kept.
    """

    def __init__(self, x: Tensor) -> None:
        self._copied = None
        if x.device.type != "cuda":
            self._host = x.cpu()
            return
        stream = torch.cuda.Stream(x.device)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        self._host = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
        with torch.cuda.stream(stream):
            self._host.copy_(x, non_blocking=True)
        x.record_stream(stream)  # its memory is not given to others before the copy is made
        self._copied = stream.record_event()

    def wait(self) -> np.ndarray:
        """Wait until the copy is made, and return it; any thread may call this."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._host.numpy()
