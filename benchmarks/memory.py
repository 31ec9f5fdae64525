"""Peak memory of `longtake generate` by the length of the video: it should not grow.

    python benchmarks/memory.py [--frames 500 20000] [--json out.json]
    python benchmarks/memory.py --of "lvdm-sky --steps 1" --frames 128 2048

Tiny models with random weights, a hierarchical one of volumes (LVDM) and one that draws clip after
clip of planes (PVDM), or a model that is named with options of the command, write mp4 files, each
in a process of its own. Memory does not depend on the number of steps, so one will do.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.denoisers.volume_unet import VolumeUNet, VolumeUNetConfig
from longtake.diffusion import DDIM, Cosine, Diffusion
from longtake.model import ModelIndex, Sampling, VideoModel
from longtake.rollout import Hierarchical, NextClip


def volume() -> VideoModel:
    """Clips of 16 frames of 16 x 16 pixels."""
    torch.manual_seed(0)
    return VideoModel(
        index=_index(Hierarchical(), context_noise=0.05),
        autoencoder=VolumeAutoencoderConfig(
            clip=(16, 16, 16), factors=(4, 4, 4), hidden=4, z_channels=2, groups=4
        ).build(),
        denoisers={"first": _volume_unet(4), "interpolator": _volume_unet(5)},
    )


def triplane() -> VideoModel:
    """Clips of 16 frames of 16 x 16 pixels."""
    torch.manual_seed(0)
    return VideoModel(
        index=_index(NextClip()),
        autoencoder=TriplaneAutoencoderConfig(
            clip=(16, 16, 16), patch=4, width=16, depth=1, heads=2, head_channels=8, embed_dim=2
        ).build(),
        denoisers={
            "first": TriplaneUNetConfig(
                latent=(2, 16, 4, 4),
                clip=(16, 16, 16),
                model_channels=8,
                channel_mult=(1, 2),
                num_res_blocks=1,
                num_heads=2,
                groups=4,
            ).build()
        },
    )


def _index(rollout: Hierarchical | NextClip, context_noise: float = 0.0) -> ModelIndex:
    return ModelIndex(
        fps=8,
        diffusion=Diffusion(schedule=Cosine(), prediction="v"),
        sampling=Sampling(sampler=DDIM(steps=2), rollout=rollout, context_noise=context_noise),
    )


def _volume_unet(frames: int) -> VolumeUNet:
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


def measure(words: Sequence[str], frames: int, out: Path) -> dict[str, float]:
    """Peak resident memory in MB, and seconds, of one process; ``words`` begin with the model."""
    command = ["generate", *words, "--frames", str(frames), "-o", str(out), "--device", "cpu"]
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
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[500, 20_000])
    parser.add_argument("--of", help="model and options that are measured instead of tiny models")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.of:
        result = {chosen.of: _rows(shlex.split(chosen.of), chosen.frames)}
    else:
        result = {model.__name__: _rows_of(model(), chosen.frames) for model in (volume, triplane)}
    print("| latents | frames | peak memory, MB | against the first | seconds |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, rows in result.items():
        for row in rows:
            shown = row["peak_mb"], row["peak_mb"] / rows[0]["peak_mb"], row["seconds"]
            print("| {} | {} | {:.0f} | {:.3f} | {} |".format(name, row["frames"], *shown))
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")


def _rows_of(model: VideoModel, lengths: Sequence[int]) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(Path(folder) / "model")
        return _rows([f"{folder}/model"], lengths)


def _rows(words: Sequence[str], lengths: Sequence[int]) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        return [measure(words, n, Path(folder) / f"{n}.mp4") for n in lengths]


if __name__ == "__main__":
    main()
