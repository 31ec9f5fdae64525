"""Group norm as one operator: wiring on the CPU, and Triton's kernels in its interpreter."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from longtake.nn import formulas
from longtake.nn.kernels import fused_norm, group_norm

TRITON = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="triton is not installed; it comes with PyTorch for CUDA, or by pip install triton",
)

INTERPRETED = """
import warnings

import torch

from longtake.nn import formulas
from longtake.nn.kernels import triton_norm

warnings.filterwarnings("ignore", "overflow encountered in exp")
torch.manual_seed(0)
SHAPES = [(2, 3, 4, 8, 2), (1, 1, 300, 24, 3), (1, 1, 1, 8, 8)]
for number, (rows, m, n, c, groups) in enumerate(SHAPES):
    for dtype, tolerance in ((torch.float32, 3e-5), (torch.bfloat16, 3e-2)):
        x = (2 * torch.randn(rows, m, n, c) + 30).to(dtype)
        learned = torch.randn(2, c).to(dtype).unbind()
        scale, shift = torch.randn(rows, m, 1, 2 * c).to(dtype).chunk(2, -1)
        each = torch.randn(2, rows, m, 1, c).unbind()
        options = groups, 1e-5, number != 1
        got, mean, rstd = triton_norm.group_norm(x, *learned, None, None, *options)
        want = formulas.group_norm(x, *learned, *options)
        torch.testing.assert_close(got, want, atol=tolerance, rtol=tolerance)
        grouped = x.double().unflatten(-1, (groups, -1))
        torch.testing.assert_close(mean, grouped.mean((1, 2, 4)).float())
        got = triton_norm.group_norm(x, *each, None, None, *options)[0]
        want = formulas.group_norm(x, *each, *options)
        torch.testing.assert_close(got, want, atol=tolerance, rtol=tolerance)
        got = triton_norm.group_norm(x, *learned, scale, shift, *options)[0]
        want = formulas.modulated_group_norm(x, *learned, scale, shift, *options)
        torch.testing.assert_close(got, want, atol=tolerance, rtol=tolerance)
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from longtake.nn.kernels import triton_norm

SIZES = {"WIDTH": 24, "GROUPS_2": 32, "WIDTH_2": 32, "BLOCK": 4}


def compiled(kernel, pointers, constants):
    kinds = {name: "i32" for name in kernel.arg_names} | pointers
    kinds |= dict.fromkeys(constants, "constexpr")
    if "eps" in kinds:
        kinds["eps"] = "fp32"
    at = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=kinds, constexprs=at)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]


for dtype in ("*fp32", "*bf16"):
    single = dict.fromkeys(("partial", "moments"), "*fp32")
    same = dict.fromkeys(("x", "y", "weight", "bias", "scale", "shift"), dtype)
    moments = {"x": dtype, "partial": "*fp32"}
    assert compiled(triton_norm._moments, moments, SIZES)
    for modulated, split in ((True, {}), (False, {"split": 1, "rows": 1})):
        constants = {**SIZES, "SPLIT_2": 32, "SILU": True, "MODULATED": modulated}
        constants |= {"LEARNED": modulated, **split}
        assert compiled(triton_norm._normalise, single | same, constants)
"""


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape).requires_grad_()


def test_the_operator_has_the_values_and_gradients_of_the_formula():
    x, weight, bias = drawn(2, 3, 4, 8), drawn(8), drawn(8)
    both = drawn(2, 3, 1, 16)
    inputs = x, weight, bias, both
    direction = torch.randn_like(x)
    found = []
    runs: list[Callable[..., Tensor]]
    runs = [group_norm.fused_modulated, formulas.modulated_group_norm]
    for run in runs:
        out = run(x, weight, bias, *both.chunk(2, -1), 2, 1e-5, True)
        found.append((out, torch.autograd.grad(out, inputs, direction)))
    torch.testing.assert_close(*found)
    with torch.no_grad():
        alone = group_norm.fused_modulated(x, weight, bias, *both.chunk(2, -1), 2, 1e-5, True)
    torch.testing.assert_close(alone, found[0][0])


def test_half_precision_weights_get_gradients_of_their_own_dtype():
    x, weight, bias = (drawn(*shape).detach().bfloat16() for shape in ((2, 1, 4, 8), (8,), (8,)))
    leaves = [part.requires_grad_() for part in (x, weight, bias)]
    out = group_norm.fused(*leaves, 2, 1e-5, True)
    assert out.dtype == torch.bfloat16
    assert all(grad.dtype == torch.bfloat16 for grad in torch.autograd.grad(out.sum(), leaves))


def test_a_device_without_triton_takes_the_formula(monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise ImportError("no Triton here")

    monkeypatch.setattr(fused_norm, "group_norm", refuse)
    assert not fused_norm.works.__wrapped__(torch.device("cpu"))
    assert "a slower one is used: no Triton here" in caplog.text


def test_a_kernel_that_is_wrong_is_not_used(monkeypatch, caplog):
    assert fused_norm.works.__wrapped__(torch.device("cpu"))
    right = fused_norm.group_norm
    monkeypatch.setattr(fused_norm, "group_norm", lambda *args: (right(*args)[0] + 0.01,))
    assert not fused_norm.works.__wrapped__(torch.device("cpu"))
    assert "is wrong by" in caplog.text


@TRITON
def test_kernels_compute_the_formula_in_tritons_interpreter():
    run(INTERPRETED, TRITON_INTERPRET="1")


@TRITON
def test_kernels_compile_for_an_h100():
    run(COMPILED)


def run(code: str, **environment: str) -> None:
    """Run Python code in a process of its own, as Triton decides at import what it runs on."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
