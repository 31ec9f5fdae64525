"""Training runs of LVDM and PVDM: presets, adapted to footage, frame size and time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from longtake.page.document import duration
from longtake.pipeline.plan import Plan
from longtake.pipeline.systems import SYSTEMS, Sizes

WIDTHS = (1, 2, 4)
"""Factors by which a network may be wider than the preset's."""

RESULTS_SHARE, RESERVE = 0.1, 0.05
LATENTS, RUNS = "latents", "runs"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One run of a training in stages (autoencoder, then denoisers).

    Attributes:
        name: name of the run's folder and config, and first word of overrides of its settings.
        title: what the run trains, in words.
        preset: name of the preset whose settings the run starts from.
        share: share of the time budget.
        enough: number of training samples that the preset's network needs; a wider network is
            chosen only if there is time for as many.
        width: setting that holds the width of the network.
        widths: factors by which the network may be wider than the preset's, the smallest first. A
            wider network starts from random weights.
        cooldown: share of the steps over which the learning rate falls to 0.
        settings: further settings, as values by name ``a.b``.
        follows: name of an earlier stage, by the name of the setting that holds its run's folder.
        same: name of an earlier stage, by the name of the setting that is copied from its run.
        encodes: whether the run encodes the footage; later stages share its latents.
        samples: whether the run's model samples videos, which are measured while it trains.
        half: whether the run may compute in bfloat16 on a CPU where that is faster.
    """

    name: str
    title: str
    preset: str
    share: float
    enough: int
    width: str
    widths: Sequence[int] = WIDTHS
    cooldown: float = 0.25
    settings: Mapping[str, Any]
    follows: Mapping[str, str] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    encodes: bool = False
    samples: bool = False
    half: bool = False


def _clips(footage: Mapping[str, Any], split: str, sizes: Sizes, frames: int) -> dict[str, Any]:
    plan = {"frames": frames, "height": sizes.size, "width": sizes.size}
    return {**footage, "split": split, "plan": plan}


def _held_out(footage: Mapping[str, Any], sizes: Sizes) -> dict[str, Any] | None:
    """Settings of held-out clips for a denoiser's validation loss; None if there are none."""
    frames = sizes.validation_span
    return None if frames is None else _clips(footage, "validation", sizes, frames)


def _cached(sizes: Sizes, out: Path, footage: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that every denoiser's run has, by name: its data, and where latents are cached."""
    return {
        "init_from": sizes.denoisers_from,
        "data": _clips(footage, "train", sizes, sizes.span),
        "validation": _held_out(footage, sizes),
        "cache_folder": str(out / LATENTS),
        "denoiser.num_classes": "auto",
    }


def _autoencoder(sizes: Sizes, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an autoencoder and its initial weights, by name.

    ``given`` is used if ``sizes`` has no settings of an autoencoder to start from.
    """
    own = sizes.autoencoder if sizes.autoencoder is not None else given
    return {
        "autoencoder": {**own, "clip": [16, sizes.size, sizes.size]},
        "init_from": sizes.init_from,
    }


def stages_for(
    system: str,
    sizes: Sizes,
    out: Path,
    footage: Mapping[str, Any],
    *,
    denoisers: int = 2,
    tuned: bool = True,
) -> Sequence[Stage]:
    """The runs of a system, in the order in which they are trained.

    Their shares of the budget, with those for making results and held in reserve, sum to 1.

    Args:
        system: name of the system, ``lvdm`` or ``pvdm``.
        sizes: sizes of frames, latents and clips.
        out: folder of the whole training, whose runs are in its subfolder ``runs``.
        footage: settings of the source of the footage.
        denoisers: number of denoisers of LVDM: 2, or 1 that samples neighbouring latent frames.
        tuned: whether the autoencoder is trained; if not, ``sizes.init_from`` gives it.
    """
    autoencoder, networks = _STAGES[system]
    runs = [
        *(autoencoder(sizes, footage) if tuned else ()),
        *networks[denoisers](sizes, out, footage),
    ]
    if not tuned:
        names = {run.name for run in runs}
        runs = [_without_autoencoder(run, names, sizes) for run in runs]
    factor = (1 - RESULTS_SHARE - RESERVE) / sum(run.share for run in runs)
    return [replace(run, share=run.share * factor) for run in runs]


def stages_of(plan: Plan, out: Path, tuned: bool | None = None) -> Sequence[Stage]:
    """The runs of a plan, in the order in which they are trained.

    ``out`` is the training's folder. ``tuned`` says whether the autoencoder is trained; None: as
    the plan says, or yes if that is not decided.
    """
    system, footage = SYSTEMS[plan.system], plan.footage
    sizes = system.sizes(plan.size, footage.span, plan.init_from, footage.validation_span)
    tuned = plan.tuned is not False if tuned is None else tuned
    return stages_for(
        plan.system, sizes, out, footage.source, denoisers=plan.denoisers, tuned=tuned
    )


def rule(budget_seconds: float, stages: Sequence[Stage]) -> str:
    """Say in a sentence how a training's time budget is divided among its runs."""
    shares = [(stage.name, stage.share) for stage in stages]
    shares += [("videos and evaluation", RESULTS_SHARE), ("in reserve", RESERVE)]
    parts = ", ".join(f"{name} {share:.0%}" for name, share in shares)
    return f"budget {duration(budget_seconds)}: {parts}"


def _without_autoencoder(stage: Stage, names: set[str], sizes: Sizes) -> Stage:
    """Copy of a run that reads ``sizes.init_from`` where it would read a run that is left out.

    ``names`` are those of the runs that are trained.
    """
    absent = {key for key, name in stage.follows.items() if name not in names}
    follows = {key: name for key, name in stage.follows.items() if key not in absent}
    settings = {**stage.settings, **dict.fromkeys(absent, sizes.init_from)}
    return replace(stage, follows=follows, settings=settings)


def _widths(sizes: Sizes) -> Sequence[int]:
    """Factors by which an autoencoder may be widened: none but 1 for given initial weights."""
    return WIDTHS[:1] if sizes.init_from else WIDTHS


def _volume_autoencoder(sizes: Sizes, footage: Mapping[str, Any]) -> Sequence[Stage]:
    network = {
        "kind": "volume_autoencoder",
        "factors": [4, sizes.factor, sizes.factor],
        "hidden": 8,
        "z_channels": sizes.channels,
        "groups": 8,
    }
    whole = _clips(footage, "train", sizes, 16)
    validation = {"validation": _clips(footage, "validation", sizes, 16)}
    shared = {**validation, **_autoencoder(sizes, network)}
    size = sizes.size
    return (
        Stage(
            name="autoencoder",
            title="autoencoder, on crops of short clips",
            preset="lvdm_laptop_autoencoder",
            share=0.25,
            enough=20_000,
            width="autoencoder.hidden",
            widths=_widths(sizes),
            settings={
                **shared,
                "data": _clips(footage, "train", sizes, 8),
                "crop": [size // 2, size // 2],
            },
        ),
        Stage(
            name="autoencoder_whole",
            title="autoencoder, on whole clips",
            preset="lvdm_laptop_autoencoder_whole",
            share=0.17,
            enough=0,
            width="autoencoder.hidden",
            widths=WIDTHS[:1],
            cooldown=0.6,
            settings={**validation, "data": whole},
            follows={"init_from": "autoencoder"},
            same={"autoencoder": "autoencoder"},
        ),
    )


def _denoiser(
    sizes: Sizes,
    out: Path,
    footage: Mapping[str, Any],
    frames: tuple[int, int],
    **described: Any,
) -> Stage:
    """The run of a denoiser, with further fields ``described``.

    ``frames`` is the number of frames of a clip, and of its latent.
    """
    (clip, latent), size = frames, sizes.latent_size
    return Stage(
        samples=True,
        half=True,
        width="denoiser.model_channels",
        settings={
            **_cached(sizes, out, footage),
            "denoiser.latent": [sizes.channels, latent, size, size],
            "denoiser.clip": [clip, sizes.size, sizes.size],
        },
        **described,
    )


def _volume_denoisers(sizes: Sizes, out: Path, footage: Mapping[str, Any]) -> Sequence[Stage]:
    made = partial(_denoiser, sizes, out, footage)
    return (
        made(
            (20, 5),
            name="prediction",
            title="denoiser that continues keyframes",
            preset="lvdm_laptop_pred",
            share=0.28,
            enough=40_000,
            follows={"model": "autoencoder_whole"},
            encodes=True,
        ),
        made(
            (12, 3),
            name="interpolation",
            title="denoiser between keyframes",
            preset="lvdm_laptop_interp",
            share=0.15,
            enough=40_000,
            follows={"model": "prediction"},
            same={"cache": "prediction"},
        ),
    )


def _one_volume_denoiser(sizes: Sizes, out: Path, footage: Mapping[str, Any]) -> Sequence[Stage]:
    denoiser = _denoiser(
        sizes,
        out,
        footage,
        (20, 5),
        name="denoiser",
        title="denoiser of frame after frame",
        preset="lvdm_laptop_autoregressive",
        share=0.43,
        enough=40_000,
        cooldown=0.4,
        follows={"model": "autoencoder_whole"},
        encodes=True,
    )
    return (denoiser,)


def _triplane_autoencoder(sizes: Sizes, footage: Mapping[str, Any]) -> Sequence[Stage]:
    network = {
        "kind": "triplane_autoencoder",
        "patch": sizes.factor,
        "width": 96,
        "depth": 2,
        "heads": 4,
        "head_channels": 24,
        "embed_dim": sizes.channels,
        "pool_depth": 1,
        "pool_heads": 4,
        "pool_head_channels": 24,
        "pool_hidden": 192,
        "std": 0.1,
    }
    return (
        Stage(
            name="autoencoder",
            title="triplane autoencoder",
            preset="pvdm_laptop_autoencoder",
            share=0.42,
            enough=8_000,
            width="autoencoder.width",
            widths=_widths(sizes),
            settings={
                **_autoencoder(sizes, network),
                "data": _clips(footage, "train", sizes, 16),
                "validation": _clips(footage, "validation", sizes, 16),
            },
        ),
    )


def _triplane_denoiser(sizes: Sizes, out: Path, footage: Mapping[str, Any]) -> Sequence[Stage]:
    denoiser = _denoiser(
        sizes,
        out,
        footage,
        (16, 16),
        name="denoiser",
        title="denoiser of clip after clip",
        preset="pvdm_laptop",
        share=0.43,
        enough=30_000,
        follows={"model": "autoencoder"},
        encodes=True,
    )
    return (replace(denoiser, settings={**denoiser.settings, "denoiser.bounds": None}),)


_STAGES = {
    "lvdm": (_volume_autoencoder, {1: _one_volume_denoiser, 2: _volume_denoisers}),
    "pvdm": (_triplane_autoencoder, {1: _triplane_denoiser, 2: _triplane_denoiser}),
}
