"""Which objective and training times suit a small denoiser, trained for equally many steps?

    python benchmarks/objectives.py --json docs/results/objectives.json
    python benchmarks/objectives.py --planes --json docs/results/objectives_planes.json

A row is a denoiser trained from random weights with one objective and one seed, on clips of the
synthetic data set sky of 16 x 32 x 32 in latents of ``lvdm-sky``'s autoencoder. Network, data,
batches, number of steps, learning rate and moving average are those of the preset ``PRESET`` with
``CHANGES``, and equal in all rows; so is the cost of a step. The row ``v`` is the preset's own
objective. All are sampled by DDIM (Euler's method on a rectified flow) in 24 evaluations from t = 1
on. With ``--planes`` the network is PVDM's, of the preset ``pvdm_laptop`` with the changes of
``PLANES``, in latents of ``pvdm-sky``'s autoencoder, and sampled as that preset states.

Rows of a seed make clips of the same seeds and classes. Of them come FVD and KVD to test clips,
with the intervals of one set of clips. The difference of an objective to ``v`` has Student's 95 %
interval over seeds, for which rows of one seed are paired.

All objectives are trained with seed 0, then with seed 1, and so on. The JSON file is written after
every row; the same command computes rows that it lacks, and continues a training that was stopped.
"""

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from few_steps import smoothness
from guidance import distances, features, made
from seeds import STUDENT_95, print_table, summary
from torch import Tensor

from longtake import run_folder
from longtake.autoencoders.volume import VolumeAutoencoder
from longtake.checkpoint import write_text
from longtake.config import digest, identity
from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld
from longtake.distributed import Ranks
from longtake.evaluation.extraction import network_of
from longtake.evaluation.protocols import Protocol, protocol
from longtake.model import VideoModel
from longtake.model_videos import ModelVideos
from longtake.reconstruct import reconstruct_frames
from longtake.runs import AnyRun, Callbacks, read_run
from longtake.video import contact_sheet, write_image

PRESET, MODEL = "lvdm_laptop_short", "lvdm-sky"
SIZE, FRAMES = 32, 16
DATA = (
    f"data.plan={{frames: {FRAMES}, height: {SIZE}, width: {SIZE}}}",
    "diffusion.weighting=none",  # so that rows stay what they are if the preset's changes
)
TRAINING = (
    "training.optimizer.lr=1.0e-3",
    "training.warmup_steps=25",
    "training.ema.decay=0.98",
    "training.precision=bfloat16",
    "training.sample_every=0",
    "training.export_every=0",
    "training.log_every=10",
)
CHANGES = (
    "data.videos=3072",
    *DATA,
    "denoiser.latent=[6, 4, 8, 8]",
    f"denoiser.clip=[{FRAMES}, {SIZE}, {SIZE}]",
    "denoiser.model_channels=32",
    "denoiser.channel_mult=[1, 2, 2]",
    "denoiser.attention_resolutions=[2]",
    *TRAINING,
)
LINEAR = "diffusion.schedule={kind: linear}"
OBJECTIVES: Mapping[str, Sequence[str]] = {
    "v": (),
    # Epsilon is refused on the cosine schedule, which ends in noise. An error of it at t = 1 is
    # divided by alpha in the sample: 0.0064 in the linear table, 0.026 in LVDM's, scaled linear.
    "epsilon, linear": (LINEAR, "diffusion.prediction=epsilon"),
    "epsilon, scaled linear": (
        "diffusion.schedule={kind: scaled_linear}",
        "diffusion.prediction=epsilon",
    ),
    "x0": ("diffusion.prediction=x0",),
    "v, min-SNR 5": ("diffusion.weighting=min_snr",),
    "flow, logit-normal": (
        "diffusion.schedule={kind: rectified_flow}",
        "diffusion.prediction=flow",
        "diffusion.timestep_sampling={kind: logit_normal}",
    ),
    "EDM": (
        "diffusion.schedule={kind: edm}",
        "diffusion.timestep_sampling={kind: logit_normal, mean: -0.507, std: 1.2}",
    ),
    "v, linear, zero SNR": ("diffusion.schedule={kind: linear, rescale_betas_zero_snr: true}",),
    "v, linear": (LINEAR,),
}
FIRST = "v"


@dataclass(frozen=True, kw_only=True)
class System:
    """What is trained: a preset, the model whose autoencoder is used, and changes of the preset."""

    preset: str
    model: str
    changes: Sequence[str]


VOLUME = System(preset=PRESET, model=MODEL, changes=CHANGES)
PLANES = System(
    preset="pvdm_laptop",
    model="pvdm-sky",
    changes=(
        "data.videos=2048",
        *DATA,
        "diffusion.schedule={kind: cosine, shift: 0.25}",
        "diffusion.prediction=v",
        "diffusion.timestep_sampling={kind: uniform}",
        "clip.previous_share=0",
        "denoiser.model_channels=32",
        "denoiser.num_res_blocks=1",
        "denoiser.attention_resolutions=[2]",
        *TRAINING,
    ),
)
PLACES = {"model", "cache_folder"}
"""Settings of a run that say where its inputs are; the autoencoder is known by its hash."""


def main() -> None:
    """Train, sample, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("objectives", nargs="*", help="some of: " + "; ".join(OBJECTIVES))
    most = len(STUDENT_95) + 1
    parser.add_argument("--seeds", type=int, choices=range(1, most + 1), default=3)
    parser.add_argument("--steps", type=int, default=400, help="of each training")
    parser.add_argument("--n", type=int, default=128, help="clips of each row")
    parser.add_argument("--planes", action="store_true", help="PVDM's denoiser instead of LVDM's")
    parser.add_argument("--work", type=Path, default=Path("runs/objectives"), help="is kept")
    parser.add_argument("--tiny", action="store_true", help="a trial: untrained features, 8 clips")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="clips of seed 0, as PNG")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    system = PLANES if chosen.planes else VOLUME
    bench = Benchmark(
        work=chosen.work, steps=chosen.steps, n=chosen.n, tiny=chosen.tiny, system=system
    )
    table = Table(bench, chosen.json)
    for seed in range(chosen.seeds):
        for name in chosen.objectives or OBJECTIVES:
            if (name, seed) not in table.rows:
                table.add(bench.row(name, seed))
    print_table(table.rows.values(), FIRST)
    if chosen.picture:
        write_image(chosen.picture, bench.sheet(), overwrite=True)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is equal in all rows: data, network, number of steps, clips and protocol.

    Attributes:
        work: folder of the autoencoder, the latent cache, the runs and their clips.
        steps: number of training steps of each row.
        n: number of clips of each row.
        tiny: few clips and steps, and untrained features, to try the program.
        system: what is trained.
    """

    work: Path
    steps: int
    n: int
    tiny: bool = False
    system: System = VOLUME

    def run(self, name: str, seed: int) -> AnyRun:
        """Config of the training of a row."""
        small = ("data.videos=8", "training.batch=2", "training.log_every=1") if self.tiny else ()
        own = (
            f"model={self.work / 'autoencoder'}",
            f"cache_folder={self.work / 'latents'}",
            f"training.seed={seed}",
            f"training.steps={self.steps}",
            f"training.cooldown_steps={self.steps // 3}",
        )
        changes = [*self.system.changes, *small, *own, *OBJECTIVES[name]]
        return read_run(self.system.preset, changes)

    def key(self, name: str, seed: int, autoencoder: str | None = None) -> str:
        """Hash of everything that a row depends on, and of no place on this machine.

        ``autoencoder`` is the hash of the autoencoder's weights; None: those of the model today.
        """
        run = identity(self.run(name, seed))  # pyright: ignore[reportArgumentType]
        kept = {field: value for field, value in run.items() if field not in PLACES}
        made_by = {"autoencoder": autoencoder or self.weights, "clips": self.n}
        return digest({"run": kept, **made_by, "real": self.real, "protocol": self.protocol.hash})

    @property
    def weights(self) -> str:
        """Hash of the weights of the autoencoder that all rows share."""
        return self.base.index.weights["autoencoder"]

    @property
    def real(self) -> int:
        """Number of real clips."""
        return 8 if self.tiny else 2 * self.n

    @property
    def about(self) -> dict[str, Any]:
        """What the rows have in common."""
        about: dict[str, Any] = {"preset": self.system.preset}
        about |= {"changes": list(self.system.changes), "steps": self.steps, "clips": self.n}
        about |= {"real_clips": self.real, "protocol": self.protocol.hash}
        return about | {"autoencoder": self.weights}

    @cached_property
    def base(self) -> VideoModel:
        """The model whose autoencoder all rows share."""
        return VideoModel.from_pretrained(self.system.model)

    @cached_property
    def protocol(self) -> Protocol:
        """How clips become features: in bfloat16, 1.5 times as fast on the CPU of the results."""
        if self.tiny:
            return protocol("trial")
        return protocol("longtake", ["network.precision=bfloat16"], self.n)

    @cached_property
    def network(self) -> Any:
        """The network of the features."""
        return network_of(self.protocol)

    @cached_property
    def autoencoder(self) -> VideoModel:
        """The autoencoder for clips of this size, alone; written for the trainings."""
        folder = self.work / "autoencoder"
        if not folder.exists():
            resized = trained = self.base.autoencoder
            if isinstance(trained, VolumeAutoencoder):  # it is convolutional
                config = trained.config.model_copy(update={"clip": (FRAMES, SIZE, SIZE)})
                resized = config.build()
                resized.load_state_dict(trained.state_dict())
            index = self.base.index
            bare = {"denoisers": {}, "decoders": {}, "autoencoder": resized.eval()}
            update = {"roles": {}, "decoders": {}, "text_encoder": None, "students": {}}
            update |= {"context_cases": {}}
            model = replace(self.base, index=index.model_copy(update=update), **bare)
            model.save_pretrained(folder)
        return VideoModel.from_pretrained(folder)

    @cached_property
    def test_clips(self) -> np.ndarray:
        """Those that rows are compared with, then ``n`` more: ``(v, t, h, w, 3)``."""
        plan = ClipPlan(frames=FRAMES, height=SIZE, width=SIZE)
        world = SkyWorld(plan=plan, split="test", videos=self.real + self.n)
        return np.stack([world.video(i, 0, FRAMES).frames for i in range(self.real + self.n)])

    @cached_property
    def real_features(self) -> Tensor:
        """Features of real clips, kept beside the runs."""
        path = self.work / "real.npy"
        if not path.exists():
            found = features(self.network, self.test_clips[: self.real])
            assert found is not None
            np.save(path, found.numpy())
        return torch.from_numpy(np.load(path))

    def bounds(self) -> dict[str, Any]:
        """Other test clips, and their reconstructions: what no row can be expected to be below."""
        other = self.test_clips[self.real :]
        again = np.stack([reconstruct_frames(self.autoencoder.autoencoder, c) for c in other])
        return {"real": self.measured(other), "reconstruction": self.measured(again)}

    def row(self, name: str, seed: int) -> dict[str, Any]:
        """Train, sample and measure one row."""
        assert self.autoencoder.index.classes
        key = self.key(name, seed)
        cost = self.trained(self.run(name, seed), self.work / key)
        began = time.process_time()
        model = VideoModel.from_pretrained(self.work / key)
        videos = ModelVideos(
            model_name=name,
            model=model,
            sampling=model.index.sampling,
            videos=self.n,
            frames=FRAMES,
            first_seed=seed * self.n,
            batch=16,
        )
        found = self.measured(made(videos, self.clips(name, seed)))
        cost |= {"measuring_cpu_seconds": round(time.process_time() - began, 1)}
        return {"objective": name, "seed": seed, "key": key, **cost, **found}

    def trained(self, run: AnyRun, folder: Path) -> dict[str, float]:
        """Carry out a training or its rest; CPU seconds of a step, and of all steps at that."""
        stated = folder.with_suffix(".json")
        if stated.exists():
            return json.loads(stated.read_text())
        marks: list[tuple[int, float]] = []

        def mark(progress: Any) -> None:
            marks.append((progress.step, time.process_time()))

        run_folder.start(run, folder, Ranks(), Callbacks(training=mark))
        if marks[0][0] == marks[-1][0]:  # it was stopped so late that nothing can be timed
            shutil.rmtree(folder)
            run_folder.start(run, folder, Ranks(), Callbacks(training=mark))
        (first, began), (last, ended) = marks[0], marks[-1]
        cost = (ended - began) / (last - first)
        found = {"cpu_seconds_a_step": cost, "training_cpu_seconds": cost * self.steps}
        found = {name: round(value, 4) for name, value in found.items()}
        write_text(stated, json.dumps(found))
        return found

    def measured(self, clips: np.ndarray) -> dict[str, Any]:
        """FVD and KVD to real clips with their intervals; motion, jerk and sharpness."""
        found = features(self.network, clips)
        return {**distances(self.real_features, found), **smoothness(clips)}

    def clips(self, name: str, seed: int) -> Path:
        """File of the clips of a row."""
        return self.work / "clips" / f"{self.key(name, seed)}.npy"

    def sheet(self) -> np.ndarray:
        """Four frames of each of four clips, of the test videos and then of each row of seed 0."""
        shown = [self.test_clips[:4]]
        paths = [self.clips(name, 0) for name in OBJECTIVES]
        shown += [np.load(path)[:4] for path in paths if path.exists()]
        strips = [np.concatenate(clips[:, ::5]) for clips in shown]
        return contact_sheet(strips, frames_per_row=len(strips[0]))


class Table:
    """Rows by objective and seed, in a JSON file that is written after each.

    Rows that the file holds already are read; a ValueError if they are of other settings.
    """

    def __init__(self, bench: Benchmark, path: Path | None) -> None:
        self._bench, self._path = bench, path
        stored = json.loads(path.read_text()) if path and path.exists() else {}
        for row in stored.get("rows", ()):
            if row["key"] != bench.key(row["objective"], row["seed"]):
                raise ValueError(
                    f"{path}: the row {row['objective']!r} of seed {row['seed']} is of other "
                    "settings; name another file"
                )
        self._bounds = stored.get("bounds") or bench.bounds()
        self.rows = {(row["objective"], row["seed"]): row for row in stored.get("rows", ())}

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep, print and write a row."""
        self.rows[row["objective"], row["seed"]] = row
        print(row, flush=True)
        if self._path is not None:
            rows = ",\n".join(json.dumps(each) for each in self.rows.values())
            parts = {**self._bench.about, "bounds": self._bounds}
            parts |= {"summary": summary(self.rows.values(), FIRST)}
            about = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in parts.items())
            write_text(self._path, f'{{{about}, "rows": [\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
