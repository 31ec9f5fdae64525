"""Runs of a few steps of networks of a few thousand weights, on clips of 4 x 16 x 16 pixels."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from longtake import run_folder, runs
from longtake.autoencoders.light import LightVolumeDecoderConfig
from longtake.autoencoders.triplane import TriplaneAutoencoderConfig
from longtake.autoencoders.volume import VolumeAutoencoderConfig
from longtake.checkpoint import read_tensors
from longtake.config import parse
from longtake.denoisers.triplane_unet import TriplaneUNetConfig
from longtake.denoisers.volume_unet import VolumeUNetConfig
from longtake.distributed import Ranks
from longtake.runs import AutoencoderRun, DecoderRun, DiffusionRun
from longtake.training import checkpoint as state

SKY = {
    "kind": "sky",
    "videos": 6,
    "video_frames": 16,
    "plan": {"frames": 4, "height": 16, "width": 16},
}
ADVERSARY = {"kind": "patch2d", "base_channels": 4, "layers": 1, "start": 4}


def autoencoder_run(adversary: Any = None, data: Any = None, **training: Any) -> AutoencoderRun:
    return parse(
        AutoencoderRun,
        {
            "data": data or SKY,
            "autoencoder": VolumeAutoencoderConfig(
                clip=(4, 16, 16), factors=(2, 4, 4), hidden=4, groups=4, z_channels=2
            ),
            "loss": {"reduction": "mean", "kl_weight": 1e-6, "adversary": adversary},
            "num_previews": 1,
            "training": _loop(training),
        },
    )


def decoder_run(model: Path, **training: Any) -> DecoderRun:
    """On the tiny autoencoder, to frames of twice its size; clips are two of its clips long."""
    return parse(
        DecoderRun,
        {
            "model": str(model),
            "name": "large",
            "data": {**SKY, "plan": {"frames": 8, "height": 32, "width": 32}},
            "decoder": LightVolumeDecoderConfig(
                clip=(4, 32, 32),
                volume=(2, 2, 4, 4),
                latent_width=8,
                latent_blocks=0,
                frame_width=4,
                fine_width=4,
            ),
            "loss": {"reduction": "mean", "flicker_weight": 1.0, "edge_weight": 1.0},
            "num_previews": 1,
            "training": _loop(training),
        },
    )


def diffusion_run(model: Path, **training: Any) -> DiffusionRun:
    """On the tiny autoencoder; the cached clips are two of its clips long."""
    return parse(
        DiffusionRun,
        {
            "model": str(model),
            "data": {**SKY, "plan": {"frames": 16, "height": 16, "width": 16}},
            "clip": {"stride": 2, "context": {}},
            "denoiser": VolumeUNetConfig(
                latent=(2, 4, 4, 4),
                clip=(8, 16, 16),
                model_channels=8,
                groups=4,
                channel_mult=(1, 2),
                num_res_blocks=1,
                attention_resolutions=(2,),
                mask_channel=True,
                noise_classes=251,
                num_classes=24,
            ),
            "diffusion": {},
            "sampling": {"sampler": {"kind": "ddim", "steps": 2}},
            "preview_frames": 8,
            "num_previews": 1,
            "training": _loop(training),
        },
    )


def triplane_autoencoder_run(clip: tuple[int, int, int] = (4, 16, 16), **training: Any) -> Any:
    frames, height, width = clip
    return parse(
        AutoencoderRun,
        {
            "data": {**SKY, "plan": {"frames": frames, "height": height, "width": width}},
            "autoencoder": TriplaneAutoencoderConfig(
                clip=clip,
                patch=8 if height >= 32 else 4,
                width=16,
                depth=1,
                heads=2,
                head_channels=8,
                embed_dim=2,
                pool_depth=1,
                pool_heads=2,
                pool_head_channels=8,
                pool_hidden=16,
            ),
            "loss": {"reduction": "mean"},
            "num_previews": 1,
            "training": _loop(training),
        },
    )


def triplane_run(
    model: Path, clip: tuple[int, int, int] = (4, 16, 16), overlap: int = 0, **training: Any
) -> DiffusionRun:
    """The cached videos are two clips long, so that one can continue the other."""
    frames, height, width = clip
    patch = 8 if height >= 32 else 4
    return parse(
        DiffusionRun,
        {
            "model": str(model),
            "data": {
                **SKY,
                "plan": {"frames": 2 * frames - overlap, "height": height, "width": width},
            },
            "clip": {"previous_share": 0.5},
            "scale_latents": False,
            "denoiser": TriplaneUNetConfig(
                latent=(2, frames, height // patch, width // patch),
                clip=clip,
                clip_overlap_frames=overlap,
                model_channels=8,
                groups=4,
                channel_mult=(1, 2),
                num_res_blocks=1,
                attention_resolutions=(1,),
                num_heads=2,
                num_classes=24,
            ),
            "diffusion": {"loss": "l2"},
            "sampling": {
                "sampler": {"kind": "ddim", "steps": 2},
                "rollout": {"kind": "next_clip"},
            },
            "preview_frames": 8,
            "num_previews": 1,
            "training": _loop(training),
        },
    )


def train(run: AutoencoderRun | DiffusionRun | DecoderRun, folder: Path, **callbacks: Any) -> None:
    run_folder.start(run, folder, Ranks(), runs.Callbacks(**callbacks))


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in log(folder) if "loss" in line]


def last_checkpoint(folder: Path) -> dict[str, Tensor]:
    """Everything in a run's last checkpoint: weights, their average, moments."""
    found = state.latest(folder)
    assert found is not None
    return {
        f"{file.stem}/{name}": tensor
        for file in found.glob("*.safetensors")
        for name, tensor in read_tensors(file).items()
    }


def _loop(changes: Any) -> dict[str, Any]:
    start = {
        "steps": 7,
        "batch": 2,
        "optimizer": {"lr": 1e-3, "clip_norm": 0.5},
        "log_every": 1,
        "save_every": 100,
        "sample_every": 0,
    }
    return start | changes
