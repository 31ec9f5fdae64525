"""LVDM and PVDM as systems of networks: the sizes of frames, latents and clips they allow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from longtake.config import ConfigError, to_dict
from longtake.hub import find_model
from longtake.model.index import AUTOENCODER, read_model_files

LARGEST, START_SIZE = 4096, 64  # pixels of a side
SHORT = {"cpu": 3600.0, "cuda": 600.0}  # seconds


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes on which the settings of all runs of a system (LVDM's or PVDM's) depend.

    Attributes:
        size: height and width of frames in pixels.
        factor: downsampling factor of the autoencoder along height and width.
        channels: number of channels of a latent.
        span: number of frames of a clip whose latent is cached.
        validation_span: number of frames of a held-out clip; None if no held-out video is long
            enough.
        init_from: model whose autoencoder gives the initial weights and the settings; None for
            random weights.
        autoencoder: settings of the autoencoder of ``init_from``; None without that.
        denoisers_from: model whose denoisers give the initial weights; None for random weights.
    """

    size: int
    factor: int
    channels: int
    span: int
    validation_span: int | None = None
    init_from: str | None = None
    autoencoder: Mapping[str, Any] | None = None
    denoisers_from: str | None = None

    @property
    def latent_size(self) -> int:
        """Height and width of a latent frame."""
        return self.size // self.factor

    @property
    def autoencoder_fits(self) -> bool:
        """Whether the autoencoder of ``init_from`` was made for frames of ``size`` pixels."""
        given = self.autoencoder
        return given is not None and list(given["clip"][1:]) == [self.size, self.size]


@dataclass(frozen=True, kw_only=True)
class System:
    """A way to train a model for long video in stages: LVDM's or PVDM's.

    Attributes:
        name: name of the system, ``lvdm`` or ``pvdm``.
        size: default height and width of frames in pixels, by the type of the device.
        factors: downsampling factor along height and width, by the greatest frame size it is for.
        channels: number of channels of a latent, by the greatest frame size it is for.
        factor_of: returns the downsampling factor along height and width of an autoencoder's
            config.
        autoencoder: kind of the autoencoder.
        multiple: height and width of a latent are multiples of this number.
        spans: possible numbers of frames of a clip whose latent is cached, the best first.
        window: number of frames of an autoencoder's clip.
        start: model that comes with longtake whose autoencoder training starts from, by the type of
            the device; for frames of at most 64 pixels. An hour on a CPU is too short to train one
            as good.
        short: budget in seconds, by the type of the device, below which there is time for one
            denoiser only, and for no training of an autoencoder that is good already.
        denoisers_from: model that comes with longtake whose denoisers give the initial weights of
            denoisers, whatever it was trained on: the first steps are alike for all footage. It is
            used if the autoencoder has initial weights too and as many latent channels; None for
            random weights.
        denoisers: possible numbers of denoisers, the smallest first.
        short_spans: as ``spans``, for one denoiser of neighbouring latent frames.
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
    short: Mapping[str, float]
    short_spans: Sequence[int]
    denoisers: Sequence[Literal[1, 2]] = (1,)
    denoisers_from: str | None = None

    def spans_for(self, denoisers: int) -> Sequence[int]:
        """Possible numbers of frames of a clip whose latent is cached, the best first.

        ``denoisers`` is the number of denoisers, 1 or 2.
        """
        return self.short_spans if denoisers == 1 else self.spans

    def sizes(
        self,
        size: int,
        span: int,
        init_from: str | None = None,
        validation_span: int | None = None,
    ) -> Sizes:
        """Sizes of latents and clips for square frames of ``size`` pixels.

        Args:
            size: height and width of frames in pixels.
            span: number of frames of a clip whose latent is cached.
            init_from: model whose autoencoder gives the initial weights; None for random weights.
            validation_span: number of frames of a held-out clip; None for no validation loss.

        Raises:
            ConfigError: the size is not possible, or the autoencoder of ``init_from`` is of another
                kind or clip length.
        """
        most = next((limit for limit in self.factors if size <= limit), None)
        if most is None:
            raise ConfigError(f"size={size} must be at most {max(self.factors)} for {self.name}")
        factor, channels, given = self.factors[most], self.channels[most], None
        denoisers_from = None
        if init_from is not None:
            _, components = read_model_files(find_model(init_from))
            config: Any = components[AUTOENCODER]
            given = to_dict(config)
            if given["kind"] != self.autoencoder or config.clip[0] != self.window:
                raise ConfigError(
                    f"init_from={init_from} has a {given['kind']} autoencoder of clips of "
                    f"{config.clip[0]} frames, but {self.name} needs a {self.autoencoder} "
                    f"autoencoder of clips of {self.window}; choose another model, or none"
                )
            factor, channels = self.factor_of(config), config.latent[0]
            denoisers_from = self._denoisers_for(channels)
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
            denoisers_from=denoisers_from,
        )

    def _denoisers_for(self, channels: int) -> str | None:
        """The model ``denoisers_from`` if its latents have ``channels`` channels, else None."""
        if self.denoisers_from is None:
            return None
        _, components = read_model_files(find_model(self.denoisers_from))
        config: Any = components[AUTOENCODER]
        return self.denoisers_from if config.latent[0] == channels else None


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
        short=SHORT,
        short_spans=(32,),
        denoisers=(1, 2),
        denoisers_from="lvdm-sky",
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
        start={"cpu": "pvdm-general"},
        short=SHORT,
        short_spans=(64, 28),
        denoisers_from="pvdm-sky",
    ),
}
