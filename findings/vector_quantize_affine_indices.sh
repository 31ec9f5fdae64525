#!/usr/bin/env bash
# vector-quantize-pytorch 1.32.0: with affine_param=True, codes looked up by index are not those that the quantiser gave.
#
# Expected: `get_output_from_indices(indices)` gives what the quantiser gave with these indices, in eval
#   mode (https://github.com/lucidrains/vector-quantize-pytorch, issues 44, 71 and 83 there). `affine_param=True`
#   "adds a global affine to the codebook" (README, after Huh et al. 2023).
# Happens: forward scales and shifts the codebook by the running mean and variance of data and codes, finds
#   the nearest of these codes and returns it. `get_codes_from_indices`, `get_output_from_indices` and `.codebook`
#   read the codebook as it is stored, before that. The same in ResidualVQ. No error, no warning.
# Seen (300 batches of data of mean 3 and std 2, then eval mode; mean squared error from the data):
#                                       forward    by index   mean of codes    std of codes
#     VectorQuantize                       2.85        2.85    3.00 and 3.00   1.09 and 1.09
#     VectorQuantize, affine_param         2.73       12.96    2.99 and 0.00   1.16 and 0.01
#     ResidualVQ                           1.28        1.28    3.01 and 3.01   1.66 and 1.66
#     ResidualVQ, affine_param             1.24       12.84    3.01 and 0.00   1.67 and 0.01
# Consequence: a video tokeniser validates well through `forward`, and videos whose tokens are stored or
#   generated (by a transformer) and then decoded come from other latents: almost constant, with the data's mean
#   lost. The generator is blamed.
# Way around: apply to the looked-up codes what `forward` applies to the codebook, from `_codebook.batch_mean`,
#   `batch_variance`, `codebook_mean` and `codebook_variance`; or write that codebook into `_codebook.embed` when
#   training is over and set `_codebook.affine_param = False`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 vector-quantize-pytorch==1.32.0 numpy==2.4.6
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import torch
from vector_quantize_pytorch import ResidualVQ, VectorQuantize


def data():
    return 3 + 2 * torch.randn(8, 64, 16)


def trained(kind, **options):
    torch.manual_seed(0)
    quantizer = kind(dim=16, codebook_size=64, **options)
    for _ in range(300):
        quantizer(data())
    return quantizer.eval()


@torch.no_grad()
def errors(quantizer):
    """Mean squared error from the data of what forward gives and of what its indices give."""
    batch = data()
    given, indices = quantizer(batch)[:2]
    looked_up = quantizer.get_output_from_indices(indices)
    first, second = ((codes - batch).square().mean().item() for codes in (given, looked_up))
    means, stds = ([f"{f(x):.2f}" for x in (given, looked_up)] for f in (torch.mean, torch.std))
    print(f"{type(quantizer).__name__:16}{first:8.2f}{second:8.2f}  mean {means} std {stds}")
    return first, second


def fold_in(codebook):
    """Writes the scaled and shifted codes into the codebook, as the header says."""
    variances = codebook.batch_variance, codebook.codebook_variance
    to, of = (variance.clamp(min=1e-5).sqrt() for variance in variances)
    codebook.embed.copy_((codebook.embed - codebook.codebook_mean) * to / of + codebook.batch_mean)
    codebook.affine_param = False


for kind, options in ((VectorQuantize, {}), (ResidualVQ, {"num_quantizers": 3})):
    forward, by_index = errors(trained(kind, **options))
    assert by_index == forward
    affine = trained(kind, affine_param=True, **options)
    forward_affine, by_index = errors(affine)
    assert forward_affine < 1.1 * forward and by_index > 4 * forward_affine
    for module in getattr(affine, "layers", [affine]):
        fold_in(module._codebook)
    folded, by_index = errors(affine)
    assert by_index == folded < 1.1 * forward
print("as described: codes looked up by index lack the affine")
PY
