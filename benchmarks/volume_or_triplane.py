"""Volume or triplane? LVDM's and PVDM's latents, trained for equally long on the same world.

    python benchmarks/volume_or_triplane.py --minutes 8 \
        --json docs/results/volume_or_triplane.json --picture docs/pictures/volume_or_triplane.png

Each system's demo presets are trained for as many steps as fit into the time on this machine, half
of it for the autoencoder and half for the denoiser; all draw clip after clip, without keyframes.
Then all are measured alike. After an interruption the same command continues. The third system is
PVDM with a denoiser without an embedding of which plane is which, as the released ones.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from memory import measure

from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld
from longtake.data.synthetic.sky_measures import light
from longtake.model import VideoModel
from longtake.video import contact_sheet, to_model, write_image

LENGTHS = (16, 128, 1024)
WINDOW = 64
CLASSES = (1, 6, 11, 20)
TRIAL_STEPS = 40


@dataclass(frozen=True, kw_only=True)
class System:
    """What is trained.

    Attributes:
        name: in tables.
        folder: of its denoiser and what is measured of it.
        autoencoder: its preset.
        denoiser: its preset.
        changes: of the denoiser's.
    """

    name: str
    folder: str
    autoencoder: str
    denoiser: str
    changes: tuple[str, ...] = ()


LVDM = System(
    name="volume (LVDM)",
    folder="lvdm",
    autoencoder="lvdm_demo_autoencoder",
    denoiser="lvdm_demo_pred",
    changes=("clip.stride=1",),
)
PVDM = System(
    name="triplane (PVDM)",
    folder="pvdm",
    autoencoder="pvdm_demo_autoencoder",
    denoiser="pvdm_demo",
    changes=("denoiser.clip_overlap_frames=0",),  # clips side by side, as in the paper
)
ALIKE = replace(
    PVDM,
    name="planes alike",
    folder="pvdm_alike",
    changes=(*PVDM.changes, "denoiser.plane_embed=false"),
)


def main() -> None:
    """Train all, measure all, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="of training, a system")
    parser.add_argument("--clips", type=int, default=64, help="of FVD, a side")
    parser.add_argument("--out", type=Path, default=Path("runs/volume_or_triplane"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    rows, pictures = [], []
    for system in (LVDM, PVDM, ALIKE):
        folder = chosen.out / system.folder
        trained = train(system, chosen.out, chosen.minutes * 30)
        model = VideoModel.from_pretrained(folder / "denoiser")
        long = [film(folder, model, label) for label in CLASSES]
        rows.append(
            {
                "system": system.name,
                **trained,
                "latent": list(model.autoencoder.spec.shape),
                "clip": list(model.autoencoder.spec.clip),
                "psnr": round(psnr(model), 2),
                "fvd": fvd(folder, chosen.clips),
                "cost": [cost(folder, frames) for frames in LENGTHS],
                "drift": [window(long, start) for start in (0, LENGTHS[-1] - WINDOW)],
            }
        )
        pictures.extend(long[::2])
    result = {"minutes": chosen.minutes, "threads": torch.get_num_threads(), "rows": rows}
    print_table(result)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1) + "\n")
    if chosen.picture:
        write_image(chosen.picture, sheet(pictures), overwrite=True)


def train(system: System, out: Path, seconds: float) -> dict[str, float]:
    """Train both networks, each for as many steps as the time has; say what was done."""
    autoencoder, denoiser = out / system.autoencoder, out / system.folder / "denoiser"
    changes = (f"model={autoencoder}", "training.sample_every=0", *system.changes)
    return {
        **_timed("autoencoder", system.autoencoder, (), autoencoder, seconds),
        **_timed("denoiser", system.denoiser, changes, denoiser, seconds),
    }


def _timed(
    part: str, preset: str, changes: Sequence[str], folder: Path, seconds: float
) -> dict[str, float]:
    steps, trial = (folder.with_name(f"{folder.name}_{kind}") for kind in ("steps.txt", "trial"))
    if not steps.exists():
        fit(preset, [*changes, *schedule(TRIAL_STEPS)], trial)
        steps.write_text(str(int(seconds / seconds_a_step(trial))))
    count = int(steps.read_text())
    fit(preset, [*changes, *schedule(count)], folder)
    return {
        f"{part}_steps": count,
        f"{part}_seconds": round(count * seconds_a_step(folder), 1),
    }


def schedule(steps: int) -> list[str]:
    """Settings of a training of this number of steps."""
    log = max(1, min(20, steps // 4))
    return [
        f"training.steps={steps}",
        f"training.cooldown_steps={steps // 3}",
        f"training.log_every={log}",
    ]


def fit(preset: str, changes: Sequence[str], folder: Path) -> None:
    """Train as a user would."""
    subprocess.run([*PROGRAM, "fit", preset, *changes, "-o", str(folder)], check=True)


PROGRAM = (sys.executable, "-c", "from longtake.cli import main; main()")


def seconds_a_step(folder: Path) -> float:
    """Median of a run's log, its first line left out."""
    import yaml

    batch = yaml.safe_load((folder / "config.yaml").read_text())["training"]["batch"]
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    rates = [line["samples_per_second"] for line in lines if "samples_per_second" in line]
    return batch / statistics.median(rates[1:])


def film(folder: Path, model: VideoModel, label: int) -> np.ndarray:
    """Frames of one long video of a class."""
    path = folder / f"film_{label}.npy"
    if not path.exists():
        parts = model.long_video()(model.request([label], str(label)), LENGTHS[-1])
        np.save(path, np.concatenate([part.frames[0] for part in parts])[: LENGTHS[-1]])
    return np.load(path)


def cost(folder: Path, frames: int) -> dict[str, float]:
    """Memory and time of one video of the system."""
    path = folder / f"cost_{frames}.json"
    if not path.exists():
        video = folder / f"{frames}.mp4"
        video.unlink(missing_ok=True)
        path.write_text(json.dumps(measure(folder / "denoiser", frames, video)))
    return json.loads(path.read_text())


@torch.inference_mode()
def psnr(model: VideoModel) -> float:
    """Of 24 clips that the autoencoder has not seen, in dB."""
    frames, height, width = model.autoencoder.spec.clip
    world = SkyWorld(plan=ClipPlan(frames=frames, height=height, width=width), split="test")
    errors = []
    for index in range(24):
        clip = to_model(world.video(index, 0, frames).frames)[None]
        again = model.autoencoder.decode(model.autoencoder.encode(clip).mean).clamp(-1, 1)
        errors.append(-10 * ((again - clip) / 2).square().mean().log10().item())
    return statistics.mean(errors)


def fvd(folder: Path, clips: int) -> dict[str, float]:
    """FVD on 16 frames with its interval and floor, by ``longtake evaluate``."""
    out = folder / "fvd.json"
    if not out.exists():
        command = ["evaluate", str(folder / "denoiser"), "--metrics", "fvd", "--n", str(clips)]
        subprocess.run([*PROGRAM, *command, "--json", str(out)], check=True)
    score = json.loads(out.read_text())["scores"]["fvd"]
    return {name: round(score[name], 1) for name in ("value", "low", "high", "floor")}


def window(videos: Sequence[np.ndarray], start: int) -> dict[str, float | int]:
    """What part of some long videos shows: is it still the sky that was asked for?"""
    world = SkyWorld()
    seen = [light(video[start : start + WINDOW : 4]) for video in videos]
    truth = [world.classes[label] for label in CLASSES]
    right = [s.time_of_day in t and s.cover in t for s, t in zip(seen, truth, strict=True)]
    return {
        "from_frame": start,
        "class_right": statistics.mean(map(float, right)),
        "strangeness": round(statistics.median(s.strangeness.mean().item() for s in seen), 2),
    }


def sheet(videos: Sequence[np.ndarray]) -> np.ndarray:
    """A row per video, from its first frame to its last."""
    places = np.linspace(0, LENGTHS[-1] - 1, 12).astype(int)
    return contact_sheet([video[places] for video in videos], frames_per_row=len(places))


def print_table(result: dict) -> None:
    """As Markdown."""
    names = [row["system"] for row in result["rows"]]
    print(f"\n| {result['minutes']:g} minutes of training | {' | '.join(names)} |")
    print("| --- |" + " ---: |" * len(names))
    lines = {
        "numbers a clip, of pixels": lambda r: (
            f"{np.prod(r['latent'])} of {3 * np.prod(r['clip'])}"
        ),
        "PSNR, dB": lambda r: f"{r['psnr']:.1f}",
        "FVD, 16 frames (95 %)": lambda r: (
            f"{r['fvd']['value']:.0f} ({r['fvd']['low']:.0f} to {r['fvd']['high']:.0f})"
        ),
        "FVD of real clips": lambda r: f"{r['fvd']['floor']:.0f}",
    }
    for place, length in enumerate(LENGTHS):
        lines[f"{length} frames: seconds, MB"] = lambda r, place=place: (
            f"{r['cost'][place]['seconds']:.1f}, {r['cost'][place]['peak_mb']:.0f}"
        )
    for place in (0, 1):
        start = result["rows"][0]["drift"][place]["from_frame"]
        lines[f"frame {start}: class right, strangeness"] = lambda r, place=place: (
            f"{r['drift'][place]['class_right']:.2f}, {r['drift'][place]['strangeness']:.1f}"
        )
    for name, show in lines.items():
        print(f"| {name} | {' | '.join(show(row) for row in result['rows'])} |")


if __name__ == "__main__":
    main()
