#!/usr/bin/env bash
# torchmetrics 1.9.0: after a perfect first batch, a MetricCollection reports one number for SSIM and MS-SSIM, for ever.
#
# Expected: a MetricCollection gives what its metrics give alone. Those with the same state are updated once for all ("compute groups",
#   on by default), for example PSNR and mean squared error, which both need the sum of squared errors.
# Happens: which metrics have the same state is found out after the first update, by comparing names and values of the
#   states (`_merge_compute_groups`, torchmetrics/collections.py). SSIM, MS-SSIM and SSIM with other windows all have `similarity` and
#   `total`. If target and prediction of the first batch are equal, all similarities are 1, and they become one group for
#   the life of the object: the first by name is updated, the others show its state. `reset` does not undo it.
#   (https://github.com/Lightning-AI/torchmetrics/issues/2916 has it for BLEU.)
# Seen (four noisy images, the first black and without noise; then, after `reset`, four noisy ones with the same collection):
#                              first evaluation             second evaluation
#                              alone    collection          alone    collection
#     SSIM, uniform window     0.706      0.706             0.604      0.604
#     SSIM                     0.521      0.706             0.358      0.604
#     MS-SSIM                  0.930      0.706             0.907      0.604
#   A collection that did not begin with a black image is right.
# Consequence: clips that begin in black, a lossless warm-up batch or the comparison of real with real videos, which is done
#   first to know the floor, make the MS-SSIM of all later tables a plausible wrong number.
# Way around: `MetricCollection(..., compute_groups=False)`, or groups by hand: `compute_groups=[["ssim"], ["ms_ssim"]]`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 torchmetrics==1.9.0 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - 2> log <<'PY' || { cat log; exit 1; }
import torch
from torchmetrics import MetricCollection
from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure, StructuralSimilarityIndexMeasure


def metrics():
    return {
        "box_ssim": StructuralSimilarityIndexMeasure(data_range=1.0, gaussian_kernel=False),
        "ms_ssim": MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0),
        "ssim": StructuralSimilarityIndexMeasure(data_range=1.0),
    }


def batches(black_first):
    generator = torch.Generator().manual_seed(0)
    for index in range(4):
        real = torch.nn.functional.interpolate(torch.rand(1, 3, 11, 11, generator=generator), scale_factor=16, mode="bicubic")
        real = real.clamp(0, 1)
        noise = torch.randn(real.shape, generator=generator)
        black = black_first and index == 0
        yield (torch.zeros_like(real),) * 2 if black else ((real + 0.1 * noise).clamp(0, 1), real)


def alone(black_first):
    values = metrics()
    for batch in batches(black_first):
        for metric in values.values():
            metric.update(*batch)
    return {name: metric.compute().item() for name, metric in values.items()}


def together(collection, black_first):
    collection.reset()
    for batch in batches(black_first):
        collection.update(*batch)
    return {name: value.item() for name, value in collection.compute().items()}


def shown(values):
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())


def same(a, b):
    return all(abs(a[name] - b[name]) < 1e-5 for name in a)


expected, noisy = alone(True), alone(False)
merged = MetricCollection(metrics())
first, second = together(merged, True), together(merged, False)
for title, values in (("alone", expected), ("collection", first), ("alone, noisy", noisy), ("after reset, noisy", second)):
    print(f"{title}: {shown(values)}")
assert len(set(first.values())) == 1 and len(set(second.values())) == 1
assert expected["ms_ssim"] - first["ms_ssim"] > 0.01 and noisy["ms_ssim"] - second["ms_ssim"] > 0.01
assert same(together(MetricCollection(metrics()), False), noisy)
assert same(together(MetricCollection(metrics(), compute_groups=False), True), expected)
apart = MetricCollection(metrics(), compute_groups=[[name] for name in metrics()])
assert same(together(apart, True), expected)
print("as described: metrics that were equal once are one for ever")
PY
