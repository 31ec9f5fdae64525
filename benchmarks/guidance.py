"""What the scale of guidance does to a model of the sky world: obedience, FVD and KVD.

    python benchmarks/guidance.py MODEL --n 96 --json guidance.json --picture guidance.png

At each scale of classifier-free guidance the model makes the same ``n`` clips of 16 frames (seeds
from 0 on); an interpolator is not guided. A model that reads text is given captions of test videos
for one half, and for the other half sentences of the same meanings and words in orders that no
caption has (``REORDERED``); a model of class labels draws a class for each seed. What the clips
show is read by the measures of the sky world, without a network; intervals of shares are Wilson's,
95 %. FVD and KVD compare all clips of a scale with ``n`` test clips; the row "real" compares these
with other test clips. *Motion* is the mean difference from frame to frame, in thousandths of the
range of levels.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from few_steps import stated
from torch import Tensor

from longtake.backends import Backend, OpenVINO
from longtake.config import to_dict
from longtake.data.clips import ClipPlan
from longtake.data.source import ClipPosition
from longtake.data.synthetic import SkyWorld
from longtake.data.synthetic.attributes import WORLDS
from longtake.evaluation.extraction import network_of
from longtake.evaluation.protocols import protocol
from longtake.metrics.uncertainty import fvd_interval, kvd_interval, wilson_interval
from longtake.model import VideoModel, sampling_with
from longtake.model_videos import ModelVideos

FRAMES = 16
ENDS = ("value", "low", "high")
SCALES = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
REORDERED = (
    "wind towards the {wind}, {short} {light}, time lapse",
    "clouds moving {wind}, {short}, {time}",
    "{light}, drifting to the {wind} over a ridge of hills, {long}",
    "above hills and trees {light} {long} moving to the {wind}",
)
_LIGHT = {"night": "at night", "dusk": "at dusk", "low sun": "under a low sun", "day": "by day"}
_LONG = {"clear": "a clear sky with few wisps of cloud", "overcast": "an overcast sky"}


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", help="a model of the sky world that reads text or labels")
    parser.add_argument("changes", nargs="*", metavar="a.b=value", help="changes of its sampling")
    parser.add_argument("--scales", type=float, nargs="+", default=SCALES)
    parser.add_argument("--n", type=int, default=96, help="clips of each scale, a multiple of 48")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--no-fvd", action="store_true", help="obedience and motion alone")
    parser.add_argument("--work", type=Path, default=Path("runs/guidance"), help="keeps videos")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="a plot, as PNG")
    chosen = parser.parse_args()
    model = VideoModel.from_pretrained(chosen.model)
    backend = OpenVINO(precision=chosen.precision)
    result = {"model": chosen.model, "weights": model.index.weights, "n": chosen.n}
    result |= {"sampling": to_dict(sampling_with(model.index.sampling, chosen.changes))}
    result |= {"backend": dict(backend.identity)}
    network = None if chosen.no_fvd else network_of(protocol("longtake", [], None))
    truth = World(model, chosen.n)
    real = {half: truth.clips(half) for half in (0, 1)}
    seen = {half: features(network, clips) for half, clips in real.items()}
    said = [truth.world.caption(i) for i in range(chosen.n)]
    rows = [{"scale": "real"} | measured(real[0], said, 0) | distances(seen[1], seen[0])]
    print(rows[0], flush=True)
    for scale in chosen.scales:
        videos = scaled(model, chosen, backend, truth, scale)
        clips = made(videos, chosen.work / f"{Path(chosen.model).name}_{scale:g}.npy")
        captions = [str(videos.caption(i)) for i in range(chosen.n)]
        row = measured(clips, captions, chosen.n // 2 if videos.prompts else 0)
        rows.append({"scale": scale} | row | distances(seen[0], features(network, clips)))
        print(rows[-1], flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(result | {"rows": rows}, indent=1) + "\n")
    if chosen.picture:
        draw(rows[1:], chosen.picture)


@dataclass(frozen=True)
class World:
    """Test videos of the sky world at a model's size, and prompts of their attributes."""

    model: VideoModel
    n: int

    @property
    def world(self) -> SkyWorld:
        """Videos at the model's size and frame rate, twice as many as are compared."""
        size, stride = self.model.autoencoder.spec.clip[1], SkyWorld.rate / self.model.index.fps
        plan = ClipPlan(frames=FRAMES, height=size, width=size, stride=round(stride))
        return SkyWorld(plan=plan, split="test", videos=2 * self.n)

    def clips(self, half: int) -> np.ndarray:
        """Clips of the first or the second half of the videos."""
        return np.stack(
            [self.world.video(half * self.n + i, 0, FRAMES).frames for i in range(self.n)]
        )

    def prompts(self) -> tuple[str, ...]:
        """Captions in each wording, then as many reordered sentences."""
        half = self.n // 2
        captions = [self.world.caption(i, wording=i // 2) for i in range(half)]
        truths = [self.world.attributes(i) for i in range(half)]
        return (*captions, *(reordered(truth, i // 2) for i, truth in enumerate(truths)))


def reordered(truth: Mapping[str, str], wording: int) -> str:
    """A sentence of the words of captions, in an order that no caption has."""
    time, cover, wind = (truth[name] for name in ("time of day", "cover", "wind"))
    short = "scattered clouds" if cover == "scattered" else f"{cover} sky"
    words = {"time": time, "light": _LIGHT[time], "short": short, "wind": wind}
    return REORDERED[wording % len(REORDERED)].format(**words, long=_LONG.get(cover, short))


def scaled(
    model: VideoModel, chosen: argparse.Namespace, backend: Backend, truth: World, scale: float
) -> ModelVideos:
    """The model's videos at a scale of guidance."""
    guided = ["guidance.kind=classifier_free", f"guidance.scale={scale}"]
    if "interpolator" in model.denoisers:
        guided.append("interpolator={guidance: {kind: unguided}}")
    return ModelVideos(
        model_name=chosen.model,
        model=model,
        sampling=sampling_with(model.index.sampling, [*chosen.changes, *guided]),
        videos=chosen.n,
        frames=FRAMES,
        prompts=() if model.index.text_encoder is None else truth.prompts(),
        batch=chosen.batch,
        backend=backend,
    )


def made(videos: ModelVideos, path: Path) -> np.ndarray:
    """All videos, ``(v, t, h, w, 3)``; those in the folder are read."""
    if path.exists():
        return np.load(path)
    positions = [ClipPosition(i, 0) for i in range(len(videos))]
    clips = np.stack([*videos.read_clips(positions, videos.frames, 1)])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, clips)
    return clips


def measured(clips: np.ndarray, captions: Sequence[str], first: int) -> dict[str, Any]:
    """Motion, and the shares of clips that show what was asked, in all and of both halves.

    ``first`` is the number of captions before the reordered sentences; 0 if there are none.
    """
    right = obeyed(clips, captions)
    parts = {"": slice(None)}
    if first:
        parts |= {", captions": slice(first), ", reordered": slice(first, None)}
    found = {f"{n}{p}": share(flags[s]) for n, flags in right.items() for p, s in parts.items()}
    return {**found, "motion": motion(clips)}


def obeyed(clips: np.ndarray, captions: Sequence[str], world: str = "sky") -> dict[str, list[bool]]:
    """Whether clips show each attribute as their captions state it, where these do.

    ``world`` is the data set, ``sky`` or ``marbles``, whose attributes are read.
    """
    reader = WORLDS[world]
    right: dict[str, list[bool]] = {name: [] for name in reader.values}
    for clip, caption in zip(clips, captions, strict=True):
        shown, said = reader.shown(clip), reader.said(caption)
        for name, words in said.items():
            right[name].append(frozenset(shown[name]) == words)
    return right


def motion(clips: np.ndarray) -> float:
    """Mean difference from frame to frame, in thousandths of the range of levels."""
    step = np.abs(np.diff(clips.astype(np.float32), axis=1)).mean() / 255
    return round(1000 * float(step), 2)


def share(flags: Sequence[bool]) -> dict[str, float]:
    """Percentage with Wilson's interval."""
    value = sum(flags) / len(flags)
    rows = zip(ENDS, (value, *wilson_interval(value, len(flags))), strict=True)
    return {name: round(100 * x, 1) for name, x in rows}


@torch.no_grad()
def features(network: Any, clips: np.ndarray) -> Tensor | None:
    """I3D features of clips; None without the network."""
    if network is None:
        return None
    parts = torch.from_numpy(clips).split(4)
    treated: Iterable[Tensor] = (torch.stack([network.treat(c) for c in part]) for part in parts)
    return torch.cat([network.network(part).float() for part in treated])


def distances(real: Tensor | None, found: Tensor | None) -> dict[str, Any]:
    """FVD and KVD with intervals; nothing without features."""
    if real is None or found is None:
        return {}
    return {"fvd": stated(fvd_interval(real, found)), "kvd": stated(kvd_interval(real, found))}


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Obedience by attribute, and FVD and KVD, against the scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scales = [row["scale"] for row in rows]
    lines = [(*WORLDS["sky"].values,), *((name,) for name in ("fvd", "kvd") if name in rows[0])]
    figure = Figure(figsize=(4 * len(lines), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for place, names in enumerate(lines):
        axes = figure.add_subplot(1, len(lines), place + 1)
        for name in names:
            value, low, high = (np.array([row[name][k] for row in rows]) for k in ENDS)
            reach = (value - low, high - value)
            axes.errorbar(scales, value, reach, marker="o", capsize=3, label=name)
        axes.set(xscale="log", xlabel="guidance scale")
        axes.set_xticks(scales, [f"{scale:g}" for scale in scales])
        axes.minorticks_off()
        axes.set_ylabel("clips that show it, %" if not place else names[0].upper())
        if not place:
            axes.legend(frameon=False)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
