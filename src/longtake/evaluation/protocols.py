"""Everything an FVD depends on besides the two sets of videos, as one value with a hash.

Numbers of different protocols are different quantities: no table holds both.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge
from jaxtyping import Float, UInt8
from pydantic import field_validator
from torch import Tensor

from longtake.config import Config, ConfigError, digest, nearest, override, parse, to_dict
from longtake.features.i3d import I3D, PACKAGE_SHA256, I3DConfig
from longtake.features.random_features import RandomFeatures, RandomFeaturesConfig
from longtake.features.treatment import Treatment
from longtake.registry import AnyNetwork

Role = Literal["real", "generated"]
Count = Annotated[int, Ge(1)]
Network = I3D | RandomFeatures

SHARED = "as the result states"


class Protocol(Config):
    """How videos of two sides become features.

    Attributes:
        name: of the protocol.
        version: raised whenever the same settings come to measure something else.
        data: data set and split of the real side, in words.
        frames: of a clip.
        clips_per_video: at most so many are cut from one video.
        real_stride: one frame of a real video in so many is taken.
        generated_stride: one frame of a generated video in so many is taken.
        real_start: of a real clip: drawn, or ``first``, frame 0 (and one after another where a
            video gives several).
        generated_start: of a generated clip.
        resolution: side of the square that real frames are brought to and generated ones must
            have; None compares them at the size they have, which must be one for both sides.
        resize: to ``resolution``: ``crop``, the shorter side and then the middle, or ``squash``.
        antialias: in that resize; of the network's own, ``treatment`` says.
        n: clips a side; fewer than 4 would leave too few for an interval.
        draws: of the real side, each of n clips; the score is their mean.
        unfit: broken and too short videos are an error, or skipped and counted.
        rates: all videos must have one number of frames a second, or none is asked for.
        treatment: between the clip and the network.
        network: whose outputs are the features, and the hash of its weights.
    """

    name: str
    version: Count = 1
    data: str = SHARED
    frames: Count = 16
    clips_per_video: Count = 1
    real_stride: Count = 1
    generated_stride: Count = 1
    real_start: Literal["random", "first"] = "random"
    generated_start: Literal["random", "first"] = "first"
    resolution: Count | None = None
    resize: Literal["crop", "squash"] = "crop"
    antialias: bool = False
    n: Annotated[int, Ge(4)] = 2048
    draws: Count = 1
    unfit: Literal["refuse", "skip"] = "refuse"
    rates: Literal["one", "any"] = "one"
    treatment: Treatment = Treatment()
    network: AnyNetwork = I3DConfig(sha256=PACKAGE_SHA256)

    @field_validator("network")
    @classmethod
    def _known_by_hash(cls, network: AnyNetwork) -> AnyNetwork:
        if isinstance(network, I3DConfig):
            if network.weights is not None:
                raise ValueError(
                    f"weights={network.weights!r}: a place is no part of a protocol; name the "
                    "file beside it (--weights) and its sha256 here"
                )
            if network.sha256 is None:
                raise ValueError("sha256 is missing: a protocol names the weights by their hash")
        return network

    @property
    def hash(self) -> str:
        """Of all fields; equal only where scores compare."""
        return digest(self)

    def stride(self, role: Role) -> int:
        """Of the clips of a side."""
        return self.real_stride if role == "real" else self.generated_stride

    def start(self, role: Role) -> Literal["random", "first"]:
        """Of the clips of a side."""
        return self.real_start if role == "real" else self.generated_start

    def span(self, role: Role) -> int:
        """Frames of a video from a clip's first to its last, both counted."""
        return (self.frames - 1) * self.stride(role) + 1

    def treat(self, clip: UInt8[Tensor, "t h w 3"]) -> Float[Tensor, "3 t s s"]:
        """A clip as the network takes it, on the clip's device."""
        side = self.resolution
        if side is None or clip.shape[1:3] == (side, side):
            return self.treatment(clip)
        scaled = Treatment(size=side, fit=self.resize, antialias=self.antialias)(clip)
        return self.treatment(scaled)

    def build(self, weights: str | None = None) -> Network:
        """The network of features.

        Args:
            weights: file of its weights, where they are not in the cache.

        Raises:
            CheckpointError: there are no weights, or others than the protocol names.
        """
        if weights is None:
            return self.network.build()
        return parse(AnyNetwork, {**to_dict(self.network), "weights": weights}).build()

    def changed(self) -> dict[str, object]:
        """Fields, as ``a.b``, that differ from the ready protocol of this name, if there is one."""
        ready = READY.get(self.name)
        if ready is None:
            return {}
        ours, theirs = dict(_leaves(to_dict(self))), dict(_leaves(to_dict(ready)))
        return {place: ours[place] for place in ours if ours[place] != theirs.get(place, ...)}


def protocol(name: str, changes: Sequence[str] = (), n: int | None = None) -> Protocol:
    """A ready protocol, with ``a.b=value`` changes; each changes its hash.

    Raises:
        ConfigError: there is none of that name, or no such field.
    """
    if name not in READY:
        raise ConfigError(f"there is no protocol {name!r}; {nearest(name, list(READY))}")
    changes = [*changes, *([] if n is None else [f"n={n}"])]
    data = override(Protocol, to_dict(READY[name]), changes)
    return parse(Protocol, data)


def _leaves(data: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


_PORTS = I3DConfig(sha256=PACKAGE_SHA256, epsilon=1e-5)
_TRAINED_ON = "the split that the model was trained on"
_STYLEGAN_V = Protocol(
    name="stylegan-v-fvd16",
    data=_TRAINED_ON,
    resolution=256,
    antialias=True,
    unfit="skip",
    rates="any",
    treatment=Treatment(levels="truncate", fit="crop"),
    network=_PORTS,
)
_LVDM = Protocol(
    name="lvdm-10x2048",
    data="SkyTimelapse: train split; UCF-101, TaiChi-HD: all videos",
    resolution=256,
    draws=10,
    unfit="skip",
    rates="any",
    treatment=Treatment(levels="truncate", fit="squash"),
    network=_PORTS,
)
_LONGTAKE = Protocol(
    name="longtake", generated_start="random", treatment=Treatment(levels="round", fit="squash")
)

READY: Mapping[str, Protocol] = {
    ready.name: ready
    for ready in (
        _LONGTAKE,
        _STYLEGAN_V,
        _STYLEGAN_V.model_copy(update={"name": "stylegan-v-fvd128", "frames": 128}),
        _LVDM,
        _STYLEGAN_V.model_copy(update={"name": "latte-2048", "real_stride": 3}),
        _LVDM.model_copy(
            update={"name": "tats", "data": _TRAINED_ON, "resolution": None, "draws": 1}
        ),
        _LONGTAKE.model_copy(
            update={
                "name": "trial",
                "n": 16,
                "treatment": Treatment(fit="squash", size=64),
                "network": RandomFeaturesConfig(),
            }
        ),
    )
}

ABOUT: Mapping[str, str] = {
    "longtake": "ours: real and generated treated alike, every field stated",
    "stylegan-v-fvd16": "StyleGAN-V's, as PVDM uses it: 2048 clips a side, random real clips",
    "stylegan-v-fvd128": "the same with clips of 128 frames",
    "lvdm-10x2048": "LVDM's: mean over 10 draws of the real clips (TaiChi-HD: resize=squash)",
    "latte-2048": "Latte's: every third frame of real videos only (TaiChi-HD: real_stride=6)",
    "tats": "TATS's: as LVDM's at the videos' own size; real_stride is the data loader's",
    "trial": "16 clips in an untrained network: tries the commands out, compares with nothing",
}
