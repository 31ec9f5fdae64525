"""Samples and training steps of the longtake that is imported, as named tensors.

``compare_revisions.py`` runs this file once under each of two revisions, and
``tests/foundation/test_same_samples_and_losses.py`` compares its tensors with stored ones. All
settings are written in the spelling of model format 1, which every later revision reads; what has
another name in Python is looked up in the functions at the end.

    python benchmarks/revisions/revision_outputs.py OUT.safetensors [PART_OF_A_NAME ...]
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake import config, runs
from longtake.model import Sampling, VideoModel

SEEDS = (3, 11)
DDIM = {"kind": "ddim", "steps": 2, "grid": "trailing"}
GUIDANCE = {
    "unguided": {"kind": "unguided"},
    "guided": {"kind": "classifier_free", "scale": 1.5},
}
AUTOREGRESSIVE = {"kind": "autoregressive", "overlap": 2}
LVDM = {"sampler": DDIM, "perturbation": 0.02}
PVDM = {"sampler": DDIM | {"eta": 1.0}}
DPM = {"kind": "diffusers", "scheduler": "DPMSolverMultistep", "steps": 3}

SAMPLES: Mapping[str, tuple[str, int, Mapping[str, Any]]] = {
    "lvdm.one_clip": ("lvdm-sky", 20, {"sampler": DDIM, "rollout": {"kind": "one_clip"}}),
    "lvdm.autoregressive": ("lvdm-sky", 32, LVDM | {"rollout": AUTOREGRESSIVE}),
    "lvdm.hierarchical": (
        "lvdm-sky",
        44,
        LVDM | {"rollout": {"kind": "hierarchical", "keys": AUTOREGRESSIVE}},
    ),
    "lvdm.diffusers": ("lvdm-sky", 20, {"sampler": DPM, "rollout": {"kind": "one_clip"}}),
    "pvdm.one_clip": ("pvdm-sky", 16, PVDM | {"rollout": {"kind": "one_clip"}}),
    "pvdm.next_clip": ("pvdm-sky", 40, PVDM | {"rollout": {"kind": "next_clip"}}),
    "pvdm.fewer_later": (
        "pvdm-sky",
        28,
        PVDM | {"later": {"kind": "ddim", "steps": 1}, "rollout": {"kind": "next_clip"}},
    ),
}
"""Model, frames and settings of sampling by name; each is sampled with and without guidance."""


def sampled(case: str, guidance: str) -> dict[str, Tensor]:
    """Pixels of two videos, and the pixels after a stop at the end of the first part."""
    name, frames, settings = SAMPLES[case]
    model = VideoModel.from_pretrained(name)
    sampling = parsed(Sampling, {**settings, "guidance": GUIDANCE[guidance]})
    video, request = model.long_video(sampling), model.request(SEEDS)
    parts = list(decoded(video, request, frames))
    found = {"pixels": torch.cat([pixels for pixels, _ in parts], 2)}
    if len(parts) > 1:
        state = {name: tensor.clone() for name, tensor in parts[0][1].items()}
        found["resumed"] = torch.cat([p for p, _ in decoded(video, request, frames, state)], 2)
    return found


CLIP = (8, 16, 16)
DATA = {"kind": "sky", "videos": 8, "plan": {"frames": 8, "height": 16, "width": 16}}
LONG_DATA = DATA | {"video_frames": 16, "plan": DATA["plan"] | {"frames": 16}}
TRAINING = {
    "steps": 5,
    "batch": 2,
    "accumulate": 1,
    "optimizer": {"lr": 1e-3, "betas": [0.9, 0.99], "weight_decay": 0.01, "clip_norm": 1.0},
    "warmup_steps": 2,
    "cooldown_steps": 2,
    "average": {"decay": 0.9},
    "log_every": 1,
    "save_every": 100,
    "sample_every": 0,
}
VOLUME = {
    "kind": "volume_autoencoder",
    "clip": CLIP,
    "factors": [2, 4, 4],
    "hidden": 4,
    "groups": 4,
    "z_channels": 2,
}
PLANES = {
    "kind": "triplane_autoencoder",
    "clip": CLIP,
    "patch": 4,
    "width": 32,
    "depth": 1,
    "heads": 2,
    "head_channels": 16,
    "embed_dim": 2,
    "pool_depth": 1,
    "pool_heads": 2,
    "pool_head_channels": 16,
    "pool_hidden": 16,
    "deviation": 0.25,
}
NARROW = PLANES | {"width": 16, "head_channels": 8, "pool_head_channels": 8}
LOSS = {"pixel": "l1", "kl_weight": 1e-4, "reduction": "mean"}
PATCH2D = {"kind": "patch2d", "base_channels": 4, "layers": 1, "frames": 2, "start": 2}
PATCH3D = {"kind": "patch3d", "base_channels": 4, "layers": 1, "start": 1, "adaptive": False}
VOLUME_UNET = {
    "kind": "volume_unet",
    "latent": [2, 4, 4, 4],
    "clip": CLIP,
    "model_channels": 8,
    "groups": 4,
    "channel_mult": [1, 2],
    "num_res_blocks": 1,
    "attention_resolutions": [2],
    "num_classes": 24,
    "mask_channel": True,
    "zero_init": False,
}
PLANES_UNET = {
    "kind": "triplane_unet",
    "latent": [2, 8, 4, 4],
    "clip": CLIP,
    "model_channels": 32,
    "groups": 4,
    "channel_mult": [1, 2],
    "num_res_blocks": 1,
    "attention_resolutions": [1],
    "num_heads": 2,
    "num_classes": 24,
    "zero_init": False,
}


def _reconstruction(autoencoder: Mapping[str, Any], **loss: Any) -> dict[str, Any]:
    run = {"kind": "autoencoder", "data": DATA, "autoencoder": autoencoder, "loss": LOSS | loss}
    return run | {"collapse": None, "training": TRAINING}


def _denoising(model: str, **settings: Any) -> dict[str, Any]:
    run = {"kind": "diffusion", "model": model, "data": LONG_DATA, "training": TRAINING}
    return run | settings


RUNS: Mapping[str, Mapping[str, Any]] = {
    "reconstruction.volume": _reconstruction(VOLUME),
    "reconstruction.planes": _reconstruction(PLANES, motion_weight=1.0),
    "reconstruction.narrow_heads": _reconstruction(NARROW),
    "adversarial.volume": _reconstruction(VOLUME, adversary=PATCH2D),
    "adversarial.planes": _reconstruction(
        PLANES, adversary=[PATCH2D | {"feature_weight": 2.0}, PATCH3D]
    ),
    "denoising.volume": _denoising(
        "reconstruction.volume",
        clip={"stride": 2, "known": {"predict": 0.4, "interpolate": 0.4, "previous": [1, 2]}},
        denoiser=VOLUME_UNET | {"frame_times": True},
        diffusion={"schedule": {"kind": "cosine"}, "prediction": "v", "score": "unknown"},
    ),
    "denoising.lvdm": _denoising(
        "reconstruction.volume",
        clip={"known": {"predict": 0.5, "noise_levels": 16, "tell": "always"}},
        denoiser=VOLUME_UNET | {"noise_classes": 16},
        diffusion={"loss_kind": "l2"},
    ),
    "denoising.planes": _denoising(
        "reconstruction.planes",
        cache={"overlap": 2},
        data=LONG_DATA | {"plan": LONG_DATA["plan"] | {"frames": 14}},
        clip={"previous": 0.5},
        standardise=False,
        denoiser=PLANES_UNET,
        diffusion={"schedule": {"kind": "linear"}, "time": {"kind": "uniform"}},
    ),
}
"""Five steps of each method; ``model`` is the name of the run whose model it trains on."""


def trained(name: str, root: Path) -> dict[str, Tensor]:
    """Logged values and final weights of a run, which stays in ``root`` for runs on top of it."""
    folder = root / name
    if not folder.exists():
        settings = dict(RUNS[name])
        if "model" in settings:
            trained(settings["model"], root)
            settings["model"] = str(root / settings["model"])
        path = root / f"{name}.yaml"
        path.write_text(config.to_yaml(parsed(run_kind(), json.loads(json.dumps(settings)))))
        longtake("fit", str(path), "-o", str(folder))
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    keys = sorted(
        {key for line in lines for key in line} - {"step", "samples_per_second", "seconds"}
    )
    found = {
        key: torch.tensor([line.get(key, 0.0) for line in lines], dtype=torch.float64)
        for key in keys
    }
    for part in sorted((folder / "model").iterdir()):
        if part.is_dir():
            tensors = load_file(part / "model.safetensors")
            found["weights"] = torch.cat([tensors[key].flatten() for key in sorted(tensors)])
            if part.name != "autoencoder":
                break
    return found


def cases(root: Path) -> dict[str, Callable[[], dict[str, Tensor]]]:
    """Every case by name; runs are written to ``root``."""
    videos = {
        f"{name}.{guidance}": partial(sampled, name, guidance)
        for name in SAMPLES
        for guidance in GUIDANCE
    }
    return videos | {f"train.{name}": partial(trained, name, root) for name in RUNS}


def parsed(kind: Any, settings: Any) -> Any:
    """A config from the spelling of format 1, also in a revision that knows no other."""
    if hasattr(config.Config, "renamed"):
        return config.parse(kind, settings, upgrade=True)
    return config.parse(kind, settings)


def run_kind() -> Any:
    """The union of runs."""
    return runs.AnyRun


def decoded(video: Any, request: Any, frames: int, state: Any = None) -> Iterator[Any]:
    """Pixels and states of a long video, part by part."""
    return (part[:2] for part in getattr(video, "decoded", video)(request, frames, state))


def longtake(*arguments: str) -> None:
    """Run a command of the CLI in this process."""
    from longtake.cli import app

    app(list(arguments), standalone_mode=False)


def main() -> None:
    """Write the tensors of every case, or of those whose name contains one of the words given."""
    torch.set_num_threads(1)
    path, *words = sys.argv[1:]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases(Path(folder)).items():
            if not words or any(word in name for word in words):
                print(name, file=sys.stderr, flush=True)
                found |= {f"{name}/{key}": value.contiguous() for key, value in case().items()}
    save_file(found, path, {"longtake": str(Path(config.__file__).parent)})


if __name__ == "__main__":
    main()
