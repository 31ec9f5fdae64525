#!/usr/bin/env bash
# Lightning 2.6.6: with two optimisers, EMAWeightAveraging of every second step never averages, and resets the model.
#
# Expected: `EMAWeightAveraging(decay=0.9, update_every_n_steps=2)` averages the weights after every second
#   step, and "after the training finishes, the current model parameters will be replaced with the
#   averaged values"
#   (https://lightning.ai/docs/pytorch/stable/api/lightning.pytorch.callbacks.WeightAveraging.html).
# Happens: the callback asks once a batch, with the index `trainer.global_step - 1`. Training with a
#   discriminator takes two optimiser steps a batch, both counted in global_step, so the index is 1, 3, 5, ...
#   and `index % update_every_n_steps == 0` never holds if update_every_n_steps is even. What
#   replaces the trained weights is the copy that was made before the first step. No error, no warning.
# Seen (100 batches, each raises the weight by 1 from 0; weight after `fit`, weight under "state_dict" in the
#   checkpoint, number of averages):
#                                            after fit   checkpoint   averages
#     one optimiser, every step                  91.0         91.0        100
#     one optimiser, every 2 steps               81.1         81.1         50
#     two optimisers, every step                 91.0         91.0        100
#     two optimisers, every 5 steps              59.1         59.1         20
#     two optimisers, every 2 steps               0.0          0.0          0
#     two optimisers, every 10 steps              0.0          0.0          0
# Consequence: an autoencoder trained with an adversarial loss (VQGAN, KL-f8, video tokenisers) comes out of
#   `fit` with its initial weights, was validated with them all along, and its checkpoints hold them under
#   "state_dict"; the trained weights remain only in checkpoints, under "current_model_state".
#   That two optimisers count twice is known (https://github.com/Lightning-AI/pytorch-lightning/issues/17958).
# Way around: an odd update_every_n_steps, or a subclass whose `should_update` counts its own calls.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --no-compile torch==2.13.0 pytorch-lightning==2.6.6 numpy==2.4.6
cd "$work"
venv/bin/python - 2> log <<'PY' || { cat log; exit 1; }
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint

BATCHES = 100


class Model(lightning.LightningModule):
    """Each of its optimisers raises its own weight by 1 a batch."""

    def __init__(self, optimizers):
        super().__init__()
        self.automatic_optimization = False
        self.nets = torch.nn.ModuleList(torch.nn.Linear(1, 1, bias=False) for _ in range(optimizers))
        for weight in self.parameters():
            torch.nn.init.zeros_(weight)

    def configure_optimizers(self):
        return [torch.optim.SGD(net.parameters(), lr=1.0) for net in self.nets]

    def training_step(self, batch, index):
        optimizers = self.optimizers()
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            optimizer.zero_grad()
            self.manual_backward(-sum(weight.sum() for weight in self.parameters()))
            optimizer.step()


def fit(optimizers, every):
    """The weight after training and in the checkpoint, and how often it was averaged."""
    model = Model(optimizers)
    average = EMAWeightAveraging(decay=0.9, update_every_n_steps=every)
    keep = ModelCheckpoint(dirpath=f"kept_{optimizers}_{every}")
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[average, keep], logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(model, torch.utils.data.DataLoader(torch.zeros(BATCHES, 1)))
    kept = torch.load(keep.best_model_path, weights_only=False)
    assert kept["current_model_state"]["nets.0.weight"].item() == BATCHES
    after = model.nets[0].weight.item()
    stored = kept["state_dict"]["nets.0.weight"].item()
    averages = kept["averaging_state"]["n_averaged"].item()
    print(f"{optimizers} optimiser(s), every {every:2} steps {after:10.1f} {stored:10.1f} {averages:8}")
    return after, stored, averages


for every in (1, 2, 5, 10):
    after, stored, averages = fit(1, every)
    assert averages == BATCHES // every and after == stored > 0.3 * BATCHES
for every in (1, 5):
    after, stored, averages = fit(2, every)
    assert averages == BATCHES // every and after == stored > 0.3 * BATCHES
for every in (2, 10, 100):
    assert fit(2, every) == (0, 0, 0)
print("as described: with two optimisers, an even number of steps never averages")
PY
