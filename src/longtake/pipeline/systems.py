"""Training runs of LVDM and PVDM: presets, adapted to footage, frame size and device."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longtake.config import ConfigError, to_dict
from longtake.hub import find_model
from longtake.model.index import AUTOENCODER, read_model_files

WIDTHS = (1, 2, 4)
"""Factors by which a network may be wider than the preset's."""

LARGEST, START_SIZE = 4096, 64  # pixels of a side
LATENTS, RUNS = "latents", "runs"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes on which the settings of all runs of a system depend.

    Attributes:
        size: height and width of frames in pixels.
        factor: downsampling factor of the autoencoder along height and width.
        channels: number of channels of a latent.
        span: number of frames of a cached clip.
        validation_span: number of frames of a held-out clip; None if no held-out video is that
            long.
        init_from: model whose autoencoder gives the initial weights and the settings; None for
            random weights.
        autoencoder: settings of that autoencoder; None without one.
    """

    size: int
    factor: int
    channels: int
    span: int
    validation_span: int | None = None
    init_from: str | None = None
    autoencoder: Mapping[str, Any] | None = None

    @property
    def latent_size(self) -> int:
        """Height and width of a latent."""
        return self.size // self.factor


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One run of a training in stages (autoencoder, then denoisers).

    Attributes:
        name: name of the run's folder and config, and of its settings on the command line.
        title: what it trains, in words.
        preset: name of the preset whose settings it starts from.
        share: share of the time budget.
        enough: number of training samples that the preset's network needs; a wider network is
            chosen only if there is time for as many.
        wide: setting that holds the width of the network; None if the width is fixed.
        cooldown: share of the steps over which the learning rate falls to 0.
        settings: further settings, as values by name ``a.b``.
        follows: settings that hold the folder of an earlier run: name of its stage, by name of the
            setting.
        same: settings that are copied from an earlier run: name of its stage, by name of the
            setting.
        encodes: whether it encodes the footage; later stages share its latents.
        samples: whether its model samples videos, which are measured while it trains.
    """

    name: str
    title: str
    preset: str
    share: float
    enough: int
    wide: str | None = None
    cooldown: float = 0.25
    settings: Mapping[str, Any]
    follows: Mapping[str, str] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    encodes: bool = False
    samples: bool = False


@dataclass(frozen=True, kw_only=True)
class System:
    """A way to train a model for long video in stages: LVDM's or PVDM's.

    Attributes:
        name: name on the command line.
        size: default height and width of frames in pixels, by the type of the device.
        factors: downsampling factor along height and width, by the greatest frame size it is for.
        channels: number of channels of a latent, by the greatest frame size it is for.
        factor_of: takes the config of an autoencoder and returns its downsampling factor.
        autoencoder: kind of the autoencoder.
        multiple: height and width of a latent are multiples of this number.
        spans: possible numbers of frames of a cached clip, the best first.
        window: number of frames of an autoencoder's clip.
        start: model that comes with longtake whose autoencoder training starts from, by the type of
            the device; for frames of at most ``START_SIZE`` pixels. An hour on a CPU is too short
            to train one as good.
    """

    name: str
    size: Mapping[str, int]
    factors: Mapping[int, int]
    channels: Mapping[int, int]
    factor_of: Callable[[Any], int]
    autoencoder: str
    multiple: int
    spans: Sequence[int]
    window: int = 16
    start: Mapping[str, str] = field(default_factory=dict)

    def sizes(
        self,
        size: int,
        span: int,
        init_from: str | None = None,
        validation_span: int | None = None,
    ) -> Sizes:
        """Sizes for square frames of ``size`` pixels; a ConfigError if that is not possible.

        Args:
            size: height and width of frames.
            span: number of frames of a cached clip.
            init_from: model whose autoencoder gives the initial weights; None for random weights.
            validation_span: number of frames of a held-out clip; None for no validation loss.
        """
        most = next(limit for limit in self.factors if size <= limit)
        factor, channels, given = self.factors[most], self.channels[most], None
        if init_from is not None:
            _, components = read_model_files(find_model(init_from))
            config: Any = components[AUTOENCODER]
            given = to_dict(config)
            if given["kind"] != self.autoencoder or config.clip[0] != self.window:
                raise ConfigError(
                    f"init_from={init_from} has a {given['kind']} of {config.clip[0]} frames, but "
                    f"{self.name} needs a {self.autoencoder} of {self.window} frames"
                )
            factor, channels = self.factor_of(config), config.latent[0]
        step = factor * self.multiple
        if size % step:
            near = max(step, round(size / step) * step)
            raise ConfigError(
                f"size={size} must be a multiple of {step} for {self.name}; the nearest is {near}"
            )
        return Sizes(
            size=size,
            factor=factor,
            channels=channels,
            span=span,
            validation_span=validation_span,
            init_from=init_from,
            autoencoder=given,
        )

    def stages(self, sizes: Sizes, out: Path, footage: Mapping[str, Any]) -> Sequence[Stage]:
        """The runs in order.

        Args:
            sizes: sizes of frames, latents and clips.
            out: folder that holds the runs.
            footage: settings of the source of the footage.
        """
        return _STAGES[self.name](sizes, out, footage)


SYSTEMS: Mapping[str, System] = {
    "lvdm": System(
        name="lvdm",
        size={"cpu": 64, "cuda": 128},
        factors={64: 4, LARGEST: 8},
        channels={64: 6, LARGEST: 8},
        factor_of=lambda config: config.factors[1],
        autoencoder="volume_autoencoder",
        multiple=4,
        spans=(80, 48),
        start={"cpu": "lvdm-general"},
    ),
    "pvdm": System(
        name="pvdm",
        size={"cpu": 32, "cuda": 128},
        factors={64: 4, LARGEST: 8},
        channels={64: 6, LARGEST: 6},
        factor_of=lambda config: config.patch,
        autoencoder="triplane_autoencoder",
        multiple=2,
        spans=(64, 28),
    ),
}


def _clips(footage: Mapping[str, Any], split: str, sizes: Sizes, frames: int) -> dict[str, Any]:
    plan = {"frames": frames, "height": sizes.size, "width": sizes.size}
    return {**footage, "split": split, "plan": plan}


def _held_out(footage: Mapping[str, Any], sizes: Sizes) -> dict[str, Any] | None:
    """Held-out clips for the loss of a denoiser, if there are any."""
    frames = sizes.validation_span
    return None if frames is None else _clips(footage, "validation", sizes, frames)


def _cached(sizes: Sizes, out: Path, footage: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of every denoiser: what it reads, and where the latents are."""
    return {
        "data": _clips(footage, "train", sizes, sizes.span),
        "validation": _held_out(footage, sizes),
        "cache_folder": str(out / LATENTS),
        "denoiser.num_classes": "auto",
    }


def _autoencoder(sizes: Sizes, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings and first weights of the autoencoder: of a model to start from, or ``given``."""
    own = sizes.autoencoder if sizes.autoencoder is not None else given
    return {
        "autoencoder": {**own, "clip": [16, sizes.size, sizes.size]},
        "init_from": sizes.init_from,
    }


def _lvdm(sizes: Sizes, out: Path, footage: Mapping[str, Any]) -> Sequence[Stage]:
    return *_volume_autoencoder(sizes, footage), *_volume_denoisers(sizes, out, footage)


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
            wide=None if sizes.init_from else "autoencoder.hidden",
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
            cooldown=0.6,
            settings={**validation, "data": whole},
            follows={"init_from": "autoencoder"},
            same={"autoencoder": "autoencoder"},
        ),
    )


def _volume_denoisers(sizes: Sizes, out: Path, footage: Mapping[str, Any]) -> Sequence[Stage]:
    cached = _cached(sizes, out, footage)
    size, latent = sizes.size, sizes.latent_size
    return (
        Stage(
            name="prediction",
            title="denoiser that continues keyframes",
            preset="lvdm_laptop_pred",
            share=0.28,
            enough=40_000,
            follows={"model": "autoencoder_whole"},
            encodes=True,
            samples=True,
            wide="denoiser.model_channels",
            settings={
                **cached,
                "denoiser.latent": [sizes.channels, 5, latent, latent],
                "denoiser.clip": [20, size, size],
            },
        ),
        Stage(
            name="interpolation",
            title="denoiser between keyframes",
            preset="lvdm_laptop_interp",
            share=0.15,
            enough=40_000,
            follows={"model": "prediction"},
            same={"cache": "prediction"},
            samples=True,
            wide="denoiser.model_channels",
            settings={
                **cached,
                "denoiser.latent": [sizes.channels, 3, latent, latent],
                "denoiser.clip": [12, size, size],
            },
        ),
    )


def _pvdm(sizes: Sizes, out: Path, footage: Mapping[str, Any]) -> Sequence[Stage]:
    size, latent = sizes.size, sizes.latent_size
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
            wide=None if sizes.init_from else "autoencoder.width",
            settings={
                **_autoencoder(sizes, network),
                "data": _clips(footage, "train", sizes, 16),
                "validation": _clips(footage, "validation", sizes, 16),
            },
        ),
        Stage(
            name="denoiser",
            title="denoiser of clip after clip",
            preset="pvdm_laptop",
            share=0.43,
            enough=30_000,
            follows={"model": "autoencoder"},
            encodes=True,
            samples=True,
            wide="denoiser.model_channels",
            settings={
                **_cached(sizes, out, footage),
                "denoiser.latent": [sizes.channels, 16, latent, latent],
                "denoiser.clip": [16, size, size],
                "denoiser.bounds": None,
            },
        ),
    )


_STAGES = {"lvdm": _lvdm, "pvdm": _pvdm}
