"""Trains an autoencoder in float64: ``python float64_run.py RUN.yaml FOLDER``, or torchrun."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from longtake.data.loader import Loader
from longtake.distributed import join
from longtake.losses import AutoencoderLoss
from longtake.runs import AutoencoderRun, read_run
from longtake.training.methods.reconstruction import Reconstruction
from longtake.training.monitor import TrainingMonitor
from longtake.training.trainer import Trainer


def main(file: str, folder: Path) -> None:
    run = read_run(file)
    assert isinstance(run, AutoencoderRun)
    torch.manual_seed(run.training.seed)
    network = run.begin().autoencoder.double()
    with join() as ranks:
        loss = AutoencoderLoss(run.loss, ranks)
        for term in loss.terms:
            term.network.double()
        starts = {term.name: term.config.start for term in loss.terms}
        monitor = TrainingMonitor(starts, run.collapse, run.adversarial_steps, ranks)
        settings = run.training
        shared = settings.model_dump(include={"batch", "seed", "workers"})
        loader = Loader(source=run.data, rank=ranks.rank, size=ranks.size, **shared)

        def clips(first_step: int) -> Iterator[tuple[Tensor, Sequence[int]]]:
            for batch in loader.batches(first_step):
                yield batch.video.double(), batch.number

        method = Reconstruction(network, loss, monitor, clips, settings, run.discriminator, ranks)
        Trainer(method, settings, folder, ranks, preview=lambda _: {}, export=lambda _: None).fit()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
