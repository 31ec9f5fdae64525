"""Peak memory of `longtake generate` by the length of the video: it should not grow.

    python benchmarks/memory.py [--frames 500 20000] [--json out.json]

A tiny hierarchical model with random weights writes mp4 files, each in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.denoisers.volume_unet import VolumeUNet, VolumeUNetConfig
from longtake.diffusion import DDIM, Cosine, Diffusion
from longtake.model import ModelIndex, Sampling, VideoModel
from longtake.rollout import Hierarchical


def tiny_model() -> VideoModel:
    """Clips of 16 frames of 16 x 16 pixels."""
    torch.manual_seed(0)
    sampling = Sampling(sampler=DDIM(steps=2), rollout=Hierarchical(), perturbation=0.05)
    diffusion = Diffusion(schedule=Cosine(), prediction="v")
    return VideoModel(
        index=ModelIndex(fps=8, diffusion=diffusion, sampling=sampling),
        autoencoder=VolumeAutoencoderConfig(
            clip=(16, 16, 16), factors=(4, 4, 4), hidden=4, z_channels=2, groups=4
        ).build(),
        denoiser=_denoiser(4),
        between=_denoiser(5),
    )


def _denoiser(frames: int) -> VolumeUNet:
    return VolumeUNetConfig(
        latent=(2, frames, 4, 4),
        clip=(4 * frames, 16, 16),
        model_channels=8,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        groups=4,
        mask_channel=True,
        frame_times=True,
    ).build()


def measure(model: Path, frames: int, out: Path) -> dict[str, float]:
    """Peak resident memory in MB, and seconds, of one process."""
    command = ["generate", str(model), "--frames", str(frames), "-o", str(out), "--device", "cpu"]
    program = [sys.executable, "-c", "from longtake.cli import main; main()", *command]
    began = time.perf_counter()
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"longtake {' '.join(command)} failed")
    seconds = time.perf_counter() - began
    return {"frames": frames, "peak_mb": usage.ru_maxrss / 1024, "seconds": round(seconds, 1)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[500, 20_000])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tiny_model().save_pretrained(folder / "model")
        rows = [measure(folder / "model", n, folder / f"{n}.mp4") for n in chosen.frames]
    print("| frames | peak memory, MB | against the first | seconds |")
    print("| ---: | ---: | ---: | ---: |")
    for row in rows:
        ratio = row["peak_mb"] / rows[0]["peak_mb"]
        print(f"| {row['frames']} | {row['peak_mb']:.0f} | {ratio:.3f} | {row['seconds']} |")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
