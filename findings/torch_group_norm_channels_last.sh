#!/usr/bin/env bash
# torch 2.13.0 on a CPU: GroupNorm loses its accuracy when its input is stored channels last.
#
# Expected: a memory format is a matter of speed and never of values; the channels-last tutorial
#   (https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html) recommends it for
#   the same results, and the float32 kernel for contiguous input keeps a running mean and variance
#   so that a large mean does no harm.
# Happens: the float32 kernel for channels-last input (2D and 3D) takes the variance as the mean of
#   squares less the square of the mean. Where a group's mean is large beside its spread the digits
#   cancel; where they cancel wholly the variance is 0 and the output is scaled by 1 / sqrt(eps).
# Seen (largest error of a normalised value; contiguous, channels last):
#     mean / std    10   1e-06   3e-04
#     mean / std   100   1e-05   3e-02
#     mean / std  1000   9e-05   1e+03
#   The gradient is wrong to the same degree. Batch norm in training loses 40 times at 1000 (2e-3).
# Consequence: `model.to(memory_format=torch.channels_last)`, usual for convolutions on a CPU, turns
#   a group norm over activations with an offset (the last layers of image autoencoders have them)
#   from an error of 1e-5 into one of percents, and a nearly flat region (a black frame with a faint
#   picture) into garbage, without a message. Parity tests of a port fail for no visible reason.
# Way around: `x.contiguous()` before the norm, or normalise `x - x.mean(...)`, or float64 there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import torch
import torch.nn.functional as F

torch.manual_seed(0)


def errors(x, form):
    """Of the output and of the gradient: contiguous, channels last."""
    grad = torch.randn_like(x)

    def run(x, grad):
        x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        y = F.group_norm(x, 32)
        y.backward(grad)
        return y.detach().double(), x.grad.double()

    wanted = run(x.double(), grad.double())
    plain = run(x, grad)
    last = run(x.contiguous(memory_format=form), grad.contiguous(memory_format=form))
    return [
        [(ours - right).abs().max().item() for ours, right in zip(got, wanted)]
        for got in (plain, last)
    ]


for shape, form in (
    ((2, 64, 32, 32), torch.channels_last),
    ((2, 64, 4, 32, 32), torch.channels_last_3d),
):
    for mean, at_least in ((10, 1e-4), (100, 1e-2), (1000, 100)):
        plain, last = errors(torch.randn(shape) + mean, form)
        print(
            f"{len(shape) - 2}D  mean / std {mean:5}  contiguous {plain[0]:.0e}, gradient {plain[1]:.0e}"
            f"  channels last {last[0]:.0e}, gradient {last[1]:.0e}"
        )
        assert plain[0] < 1e-3 and plain[1] < 1e-3
        assert last[0] > at_least and last[1] > at_least
print("as described: channels last costs GroupNorm its accuracy")
PY
