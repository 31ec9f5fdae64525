"""Frames per CPU second of the shipped models: generated the official way, and by longtake.

    python benchmarks/official.py --models lvdm-sky --json docs/results/official_lvdm_sky.json
    python benchmarks/official.py --models pvdm-sky --json docs/results/official_pvdm_sky.json

Both sides have the same weights, one thread and one process, and make the same numbers of keyframe
clips, pairs and frames, in turn. The official way (benchmarks/plain) has plain networks, DDIM
as the scripts of LVDM and PVDM write it, one clip at a time, keyframe pairs one by one, and decodes
the whole latent of LVDM at once and PVDM's clip by clip. It is measured with the scripts' settings
(LVDM 50 steps, PVDM 400; two evaluations a step, for guidance, of all clips but the first) and with
as many evaluations as ours. Of the scripts' steps, which all cost the same, every 5th (LVDM) or
20th (PVDM) is made, and the time is multiplied.

Not counted: start, export and compiling of programs, encoding to a file. Before anything is timed,
networks, decoders, and clips sampled without fresh noise are compared.
"""

import argparse
import json
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from networks import cpu
from pairs import (
    plain_triplane_decoder,
    plain_triplane_twin,
    plain_volume_decoder,
    plain_volume_twin,
)
from plain.ddim import Steps, ddim_lvdm, ddim_pvdm
from torch import Tensor

from longtake.autoencoders import TriplaneAutoencoder, VolumeAutoencoder
from longtake.backends import OpenVINO
from longtake.backends.openvino import has_bfloat16
from longtake.denoisers import TriplaneUNet, VolumeUNet
from longtake.diffusion import DDIM
from longtake.diffusion.signals import Signals, context_frames, previous_signal
from longtake.diffusion.timesteps import grid_times
from longtake.generate import LongVideo
from longtake.model import VideoModel
from longtake.noise import SampleNoise
from longtake.video.pixels import to_bytes

BACKENDS = ["torch", "openvino"]
LABEL = 12
TOLERANCE = 1e-5
"""Greatest relative difference of networks and decoders."""
CLIP_TOLERANCE = 1e-3
"""The same of a sampled clip, at each of whose steps differences grow."""
Frames = dict[int, Tensor]
Way = Callable[[int], tuple[Tensor, float]]
"""Makes a video of a number of frames; returns it, 8 bits, and the CPU seconds that it takes."""


@dataclass(frozen=True, kw_only=True)
class Official(ABC):
    """Generation the official way, with the weights of a shipped model.

    Attributes:
        steps: timesteps of a clip that are evaluated.
        thin: how many times as many steps the time of sampling is given for.
        twice: whether to evaluate a second, unconditional network at each step.
        eta: share of fresh noise.
    """

    model: VideoModel
    steps: Steps
    thin: int = 1
    twice: bool
    eta: float

    def __call__(self, frames: int) -> tuple[Tensor, float]:
        began = time.process_time()
        latents = self.sample(frames)
        sampled = time.process_time()
        made = self.decode(latents, frames)
        return made, self.thin * (sampled - began) + time.process_time() - sampled

    @classmethod
    @abstractmethod
    def script(cls, model: VideoModel) -> "Official":
        """With the settings of the official script."""

    @abstractmethod
    def sample(self, frames: int) -> list[Tensor]:
        """Latents of one video, in order."""

    @abstractmethod
    def decode(self, latents: list[Tensor], frames: int) -> Tensor:
        """Frames of the video, 8 bits."""

    @abstractmethod
    def differences(self) -> dict[str, float]:
        """Relative differences of networks, decoders and clips from ours, by name."""


@dataclass(frozen=True, kw_only=True)
class LVDM(Official):
    """Keyframes, each clip from the last of the clip before, and the frames of each pair."""

    @classmethod
    def script(cls, model: VideoModel) -> "LVDM":
        steps = steps_of(model, grid_times("leading", 50), thin=5)
        return cls(model=model, steps=steps, thin=5, twice=True, eta=0.0)

    @cached_property
    def networks(self) -> Mapping[str, Any]:
        return {role: plain_volume_twin(net) for role, net in self.model.denoisers.items()}  # pyright: ignore[reportArgumentType]

    @cached_property
    def decoder(self) -> Any:
        assert isinstance(self.model.autoencoder, VolumeAutoencoder)
        return plain_volume_decoder(self.model.autoencoder)

    def clip(self, role: str, given: Frames, noise: SampleNoise) -> Tensor:
        network, index = self.networks[role], self.model.index
        shape = self.model.denoisers[role].spec.shape  # pyright: ignore[reportArgumentType]
        label, mask = torch.tensor([LABEL]), torch.zeros(1, 1, shape[1], 1, 1)
        noisy, level = torch.zeros(1, *shape), torch.tensor([index.sampling.context_noise])
        time_of_given = None
        if given:
            assert index.diffusion is not None
            schedule = index.diffusion.schedule
            for at, frame in given.items():
                noisy[:, :, at], mask[:, :, at] = frame, 1
            alpha, sigma = schedule(level)
            noisy = alpha * noisy + sigma * noise.normal(shape)
            time_of_given = schedule.embedding(level)
        mask = mask.expand(1, 1, *shape[1:])
        where = mask.bool().expand(1, *shape)

        def conditional(x: Tensor, t: Tensor) -> Tensor:
            x[where] = noisy[where]
            return network(x, t, mask, time_of_given, label)

        def unconditional(x: Tensor, t: Tensor) -> Tensor:
            return network(x, t)

        both = [conditional, unconditional] if given and self.twice else [conditional]
        x = noise.normal(shape)
        return ddim_lvdm(both, x, self.steps, scale=1.1, eta=self.eta)

    def sample(self, frames: int) -> list[Tensor]:
        noise, index = SampleNoise([0]), self.model.index
        spec = self.model.autoencoder.spec
        latents = frames * spec.frames // spec.clip[0]
        overlap = index.sampling.rollout.context_latent_frames
        stride = self.model.denoisers["interpolator"].spec.frames - 1
        keys = list(self.clip("first", {}, noise).unbind(2))
        while (len(keys) - 1) * stride < latents:
            clip = self.clip("first", dict(enumerate(keys[-overlap:])), noise)
            keys += clip.unbind(2)[overlap:]
        between: list[Tensor] = []
        for left, right in pairwise(keys):
            clip = self.clip("interpolator", {0: left, stride: right}, noise)
            between += [left, *clip.unbind(2)[1:stride]]
        return between[:latents]

    def decode(self, latents: list[Tensor], frames: int) -> Tensor:
        z = self.model.index.latent_scaling.inverse(torch.stack(latents, 2))
        return to_bytes(self.decoder(z))[:, :frames]

    def differences(self) -> dict[str, float]:
        autoencoder, first = self.model.autoencoder, self.model.denoisers["first"].spec
        z = torch.randn(1, *autoencoder.spec.shape)
        found = {"decoder": relative(self.decoder(z), autoencoder.decode(z))}
        keys = torch.randn(1, *first.shape).unbind(2)
        stride = self.model.denoisers["interpolator"].spec.frames - 1
        for name, (role, given) in {
            "first": ("first", {}),
            "next": ("first", {0: keys[0], 1: keys[1]}),
            "interpolator": ("interpolator", {0: keys[0], stride: keys[1]}),
        }.items():
            spec = self.model.denoisers[role].spec  # pyright: ignore[reportArgumentType]
            signals = self.model.request([0], LABEL).signals
            signals = context_frames(spec, given, signals) if given else signals
            plain = self.clip(role, given, SampleNoise([1]))
            free = [at for at in range(spec.frames) if at not in given]
            ours = ours_clip(self.model, role, signals)
            found[f"clip, {name}"] = relative(plain[:, :, free], ours[:, :, free])
            found[f"network, {name}"] = self.network_difference(role, signals)
        return found

    def network_difference(self, role: str, signals: Signals) -> float:
        network = self.model.denoisers[role]  # pyright: ignore[reportArgumentType]
        assert isinstance(network, VolumeUNet)
        assert self.model.index.diffusion is not None
        embedding = self.model.index.diffusion.schedule.embedding
        z, t = torch.randn(1, *network.spec.shape), torch.tensor([0.4])
        values = {name: signal.value for name, signal in signals.items()}
        ours = network(z, t, network.prepare(values, embedding))
        mask = values.get("context_mask", torch.zeros(1, z.shape[2]))
        mask = mask[:, None, :, None, None].float().expand(1, 1, *z.shape[2:])
        level = values.get("context_noise")
        level = None if level is None else embedding(level)
        plain = self.networks[role](z, embedding(t), mask, level, values["label"])
        return relative(plain, ours)


@dataclass(frozen=True, kw_only=True)
class PVDM(Official):
    """Clip after clip."""

    @classmethod
    def script(cls, model: VideoModel) -> "PVDM":
        steps = steps_of(model, grid_times("linspace", 400), thin=20)
        return cls(model=model, steps=steps, thin=20, twice=True, eta=1.0)

    @cached_property
    def network(self) -> Any:
        ours = self.model.denoisers["first"]
        assert isinstance(ours, TriplaneUNet)
        return plain_triplane_twin(ours)

    @cached_property
    def decoder(self) -> Any:
        assert isinstance(self.model.autoencoder, TriplaneAutoencoder)
        return plain_triplane_decoder(self.model.autoencoder)

    def clip(self, before: Tensor | None, noise: SampleNoise) -> Tensor:
        spec, label = self.model.denoisers["first"].spec, torch.tensor([LABEL])
        assert spec.bounds is not None
        both = [partial(self.network, previous=before, label=label)]
        if self.twice and before is not None:
            both.append(partial(self.network, previous=torch.zeros_like(before), label=label))
        return ddim_pvdm(both, noise.normal(spec.shape), self.steps, spec.bounds, eta=self.eta)

    def sample(self, frames: int) -> list[Tensor]:
        noise, spec = SampleNoise([0]), self.model.denoisers["first"].spec
        clips = [self.clip(None, noise)]
        while spec.clip[0] + (len(clips) - 1) * (spec.clip[0] - spec.clip_overlap_frames) < frames:
            clips.append(self.clip(clips[-1], noise))
        return clips

    def decode(self, latents: list[Tensor], frames: int) -> Tensor:
        scaling = self.model.index.latent_scaling
        overlap = self.model.denoisers["first"].spec.clip_overlap_frames
        first, *others = (self.decoder(scaling.inverse(clip)) for clip in latents)
        parts = [first, *(pixels[:, :, overlap:] for pixels in others)]
        return torch.cat([to_bytes(part) for part in parts], 1)[:, :frames]

    def differences(self) -> dict[str, float]:
        autoencoder, network = self.model.autoencoder, self.model.denoisers["first"]
        assert self.model.index.diffusion is not None
        embedding = self.model.index.diffusion.schedule.embedding
        z = torch.rand(1, *autoencoder.spec.shape) * 2 - 1
        found = {"decoder": relative(self.decoder(z), autoencoder.decode(z))}
        for name, before in {"first": None, "next": z}.items():
            signals = self.model.request([0], LABEL).signals
            signals = signals if before is None else {**signals, **previous_signal(before)}
            values = {key: signal.value for key, signal in signals.items()}
            x, t = torch.randn(1, *network.spec.shape), torch.tensor([0.4])
            ours = network(x, t, network.prepare(values, embedding))
            plain = self.network(x, embedding(t), before, values["label"])
            found[f"network, {name}"] = relative(plain, ours)
            clip = self.clip(before, SampleNoise([1]))
            found[f"clip, {name}"] = relative(clip, ours_clip(self.model, "first", signals))
        return found


@dataclass(frozen=True, kw_only=True)
class Case:
    """A shipped model: its official way, and length of the videos."""

    official: type[Official]
    frames: int


CASES = {
    "lvdm-sky": Case(official=LVDM, frames=56),
    "pvdm-sky": Case(official=PVDM, frames=28),
}


def main() -> None:
    """Print a table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--models", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--backends", nargs="*", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--students", action="store_true", help="sample with few-step students too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows: list[dict[str, Any]] = []
    for name in chosen.models:
        with torch.no_grad():
            rows += measured(name, chosen)
        if chosen.json:
            about = {"processor": cpu(), "torch": torch.__version__, "rounds": chosen.rounds}
            chosen.json.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")
    print("| model | by | frames per CPU second | official, script | same evaluations |")
    print("| --- | --- | ---: | ---: | ---: |")
    for row in rows:
        print(
            f"| `{row['model']}` | {row['by']} | {row['frames_per_cpu_second']} "
            f"| {row['over_script']} | {row['over_same_evaluations']} |"
        )


def measured(name: str, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of a model, each way in turn."""
    model, case = VideoModel.from_pretrained(name), CASES[name]
    script = case.official.script(model)
    own = model.index.sampling.sampler
    assert isinstance(own, DDIM)
    times = grid_times(own.grid, own.steps)
    same = replace(script, steps=steps_of(model, times), thin=1, twice=False, eta=own.eta)
    different = {
        key: float(f"{far:.1e}") for key, far in replace(same, eta=0.0).differences().items()
    }
    print(name, different, flush=True)
    for key, far in different.items():
        limit = CLIP_TOLERANCE if key.startswith("clip") else TOLERANCE
        assert far <= limit, f"{key} differs by {far:.1e}; times would mean nothing"
    ways: dict[str, Way] = {
        "official, its script's settings": script,
        "official, as many evaluations as longtake": same,
        **ours_ways(name, model, chosen),
    }
    for key, way in ways.items():
        if "OpenVINO" in key:  # exports and compiles programs
            way(case.frames)
    seconds: dict[str, list[float]] = {key: [] for key in ways}
    for _ in range(chosen.rounds):
        for key, way in ways.items():
            made, taken = way(case.frames)
            seconds[key].append(taken)
            assert made.shape[1] == case.frames
            print(name, key, round(seconds[key][-1], 2), flush=True)
    return [
        described(name, key, case.frames, seconds, list(ways)[:2]) | {"differences": different}
        for key in ways
    ]


def described(
    name: str, way: str, frames: int, seconds: Mapping[str, Sequence[float]], official: list[str]
) -> dict[str, Any]:
    """Row of one way; ratios are medians over the rounds."""
    ratios = [
        [theirs / ours for theirs, ours in zip(seconds[key], seconds[way], strict=True)]
        for key in official
    ]
    return {
        "model": name,
        "by": way,
        "frames": frames,
        "cpu_seconds": [round(x, 2) for x in seconds[way]],
        "frames_per_cpu_second": round(frames / statistics.median(seconds[way]), 2),
        "over_script": round(statistics.median(ratios[0]), 2),
        "over_same_evaluations": round(statistics.median(ratios[1]), 2),
    }


def ours_ways(name: str, model: VideoModel, chosen: argparse.Namespace) -> dict[str, Way]:
    """Longtake's own ways of generation."""
    run: dict[str, OpenVINO | None] = {"torch": None}
    if "openvino" in chosen.backends:
        precision = "bfloat16" if has_bfloat16() else "float32"
        run[f"OpenVINO, {precision}"] = OpenVINO(precision=precision, say=print)
    models = {"": model}
    if chosen.students:
        models["students, "] = VideoModel.from_pretrained(name, students=True)
    ways: dict[str, Way] = {}
    for what, one in models.items():
        for by, how in run.items():
            ways[f"longtake, {what}{by}"] = partial(generated, one, one.long_video(backend=how))
    return ways


def generated(model: VideoModel, video: LongVideo, frames: int) -> tuple[Tensor, float]:
    """Frames of one video by longtake, 8 bits, and the CPU seconds that it takes."""
    began = time.process_time()
    request = model.request([0], LABEL)
    made = torch.cat([part.bytes for part in video(request, frames)], 1)
    return made, time.process_time() - began


def ours_clip(model: VideoModel, role: Any, signals: Signals) -> Tensor:
    """Clip by longtake's sampler without fresh noise."""
    sampler = model.clip_sampler(role)
    assert isinstance(sampler.sampler, DDIM)
    sampler = replace(sampler, sampler=sampler.sampler.model_copy(update={"eta": 0.0}))
    read = {key: signal for key, signal in signals.items() if key in sampler.reads}
    return sampler(read, [1]).z


def steps_of(model: VideoModel, times: Sequence[float], thin: int = 1) -> Steps:
    """Timesteps and products of alphas of a model's schedule at falling times in [0, 1].

    Of ``thin`` times one is left.
    """
    assert model.index.diffusion is not None
    schedule = model.index.diffusion.schedule
    table = torch.tensor([*times[:-1:thin], times[-1]], dtype=torch.float64)
    alphas = schedule(table).alpha.square().numpy()
    embedded = schedule.embedding(table[:-1]).tolist()
    return Steps(t=embedded, alphas=alphas[:-1], alphas_prev=alphas[1:])


def relative(got: Tensor, want: Tensor) -> float:
    """Distance of two tensors, relative to the length of the second."""
    return float((got - want).norm() / want.norm())


if __name__ == "__main__":
    main()
