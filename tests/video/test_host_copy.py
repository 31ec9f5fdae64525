"""Frames copied to the host's memory are those that were computed."""

import numpy as np
import pytest
import torch

from longtake.video.host_copy import HostCopy


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
        ),
    ],
)
def test_a_part_of_a_tensor_is_copied_while_its_memory_is_used_again(device: str):
    x = torch.arange(48, dtype=torch.uint8, device=device).reshape(2, 8, 3)
    expected = x[:, :5].cpu().numpy()
    copies = [HostCopy(x[:, :5]) for _ in range(3)]
    y = x.float()
    del x
    y = y + torch.ones_like(y)
    assert all(np.array_equal(copy.wait(), expected) for copy in copies)
