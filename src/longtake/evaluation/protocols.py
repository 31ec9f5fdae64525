"""Evaluation protocols: everything an FVD depends on besides the two sets of videos.

Numbers of different protocols are different quantities and are never compared.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval
from jaxtyping import Float, UInt8
from pydantic import field_validator
from torch import Tensor

from longtake.config import (
    Config,
    ConfigError,
    changed,
    differences,
    digest,
    identity,
    nearest,
    parse,
    read,
    to_dict,
)
from longtake.features.i3d import I3D, PACKAGE_SHA256, I3DConfig
from longtake.features.random_features import RandomFeatures
from longtake.features.treatment import Fit, Treatment, stored_frame
from longtake.run_registry import AnyNetwork

Side = Literal["real", "generated"]
"""Side of a comparison that a source of videos is on."""
Count = Annotated[int, Ge(1)]


class Protocol(Config):
    """Everything that decides how real and generated videos become features.

    Attributes:
        name: name of the protocol.
        version: number that rises whenever the same settings measure something else.
        data: data set and split of the real videos, in words.
        frames: number of frames of a clip.
        clips_per_video: greatest number of clips of one video.
        real_stride: distance between neighbouring frames of a real clip, in frames of its video.
        generated_stride: the same for a generated clip.
        real_start: where a real clip starts in its video: ``random``; or ``first``: at frame 0, and
            further clips of the same video one after another.
        generated_start: the same for a generated clip.
        resolution: height and width in pixels to which real frames are resized and that generated
            frames must have; None: both are compared at their own size, which must be equal.
        resize: how frames become a square of that size: ``squash`` changes their proportions;
            ``crop`` resizes the shorter side and takes the middle, ``crop_down`` too, with sizes
            rounded down; ``square`` takes the middle square and resizes it.
        antialias: whether that resize is antialiased; for the network's input see ``treatment``.
        filter: filter of that resize: ``bilinear``, or Pillow's ``lanczos``, to 8-bit levels.
        jpeg: quality of Pillow's JPEG by which real frames are compressed before they are measured;
            None: they are not.
        n: number of real and of generated clips; an interval needs at least 4.
        draws: number of random choices of n real clips; the score is the mean over them.
        real_order: which real videos are used: ``random`` ones, or the first n by name
            (``sorted``).
        mirror: the mirror image (left to right) of each real video counts as a video too; in sorted
            order mirror images come after all videos.
        fewer: if there are fewer real clips than n: ``refuse`` to measure, or ``take`` those.
        needs: number of frames that a real video must have: the ``span`` of a clip from first to
            last frame, or frames x stride (``strides``).
        covariance: divisor of the covariance of the features of n clips.
        unfit: what to do about broken and too short videos: ``refuse`` to measure, or ``skip`` and
            count them.
        rates: whether all videos must have ``one`` frame rate, or may have ``any``.
        treatment: preparation of clips for the network, with the settings ``levels``, ``fit``,
            ``grid``, ``antialias`` and ``size``.
        network: feature network: ``i3d``, with the SHA-256 of its weights (``network.sha256``), or
            ``random_features``.
    """

    added: ClassVar[frozenset[str]] = frozenset(
        {"filter", "jpeg", "real_order", "mirror", "fewer", "needs", "covariance"}
    )

    name: str
    version: Count = 1
    data: str = "as the result states"
    frames: Count = 16
    clips_per_video: Count = 1
    real_stride: Count = 1
    generated_stride: Count = 1
    real_start: Literal["random", "first"] = "random"
    generated_start: Literal["random", "first"] = "first"
    resolution: Count | None = None
    resize: Fit = "crop"
    antialias: bool = False
    filter: Literal["bilinear", "lanczos"] = "bilinear"
    jpeg: Annotated[int, Interval(ge=1, le=100)] | None = None
    n: Annotated[int, Ge(4)] = 2048
    draws: Count = 1
    real_order: Literal["random", "sorted"] = "random"
    mirror: bool = False
    fewer: Literal["refuse", "take"] = "refuse"
    needs: Literal["span", "strides"] = "span"
    covariance: Literal["n-1", "n"] = "n-1"
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
                    f"network.weights={network.weights!r}: a path is not part of a protocol; set "
                    "network.sha256 in the protocol and weights in the evaluation's settings"
                )
            if network.sha256 is None:
                raise ValueError(
                    "sha256 is missing: a protocol names the weights by their hash; set "
                    "network.sha256 to the SHA-256 of the file of weights"
                )
        return network

    @property
    def hash(self) -> str:
        """Hash of all fields; scores are comparable only if it is equal."""
        return digest(identity(self))

    def metric(self, name: str) -> str:
        """Name of the metric ``name``, such as ``fvd``, under this protocol.

        Distances of random features have names of their own, such as ``random_features_fd``.
        """
        return self.network.metrics.get(name, name)

    def title(self, name: str) -> str:
        """Name of the metric ``name`` as tables show it: ``FVD``, or ``RANDOM FEATURES FD``."""
        return self.metric(name).upper().replace("_", " ")

    @property
    def unit(self) -> str:
        """Unit of distances: empty, or ``(random features)``."""
        return self.network.unit

    @property
    def correction(self) -> int:
        """Number, 1 or 0, that is subtracted from n in the divisor of the features' covariance."""
        return 1 if self.covariance == "n-1" else 0

    def stride(self, side: Side) -> int:
        """Number of frames from a clip's frame to the next, in ``real`` or ``generated`` videos."""
        return self.real_stride if side == "real" else self.generated_stride

    def start(self, side: Side) -> Literal["random", "first"]:
        """Where clips start in their video, for ``real`` or ``generated`` videos."""
        return self.real_start if side == "real" else self.generated_start

    def span(self, side: Side) -> int:
        """Number of video frames from a clip's first to its last, for real or generated videos."""
        return (self.frames - 1) * self.stride(side) + 1

    def needed(self, side: Side) -> int:
        """Number of frames that a ``real`` or ``generated`` video must have."""
        strides = side == "real" and self.needs == "strides"
        return self.frames * self.stride(side) if strides else self.span(side)

    def stored(self, clip: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "t _ _ 3"]:
        """Frames of a real clip as the protocol's authors store them: resized, then as JPEG."""
        size = self.resolution if self.filter == "lanczos" else None
        if size is None and self.jpeg is None:
            return clip
        return np.stack([stored_frame(frame, size, self.resize, self.jpeg) for frame in clip])

    def treat(self, clip: UInt8[Tensor, "t h w 3"]) -> Float[Tensor, "3 t s s"]:
        """Convert the frames of a clip to the feature network's input, on the clip's device."""
        side = self.resolution
        if side is None or clip.shape[1:3] == (side, side):
            return self.treatment(clip)
        scaled = Treatment(size=side, fit=self.resize, antialias=self.antialias)(clip)
        return self.treatment(scaled)

    def build(self, weights: str | None = None) -> I3D | RandomFeatures:
        """Build the feature network.

        ``weights`` is the file of its weights; None: the file in the user's cache folder.

        Raises:
            CheckpointError: weights are missing, or are not those that the protocol names.
        """
        if weights is None:
            return self.network.build()
        return parse(AnyNetwork, {**to_dict(self.network), "weights": weights}).build()

    def changed(self) -> dict[str, object]:
        """Values of the fields that differ from the predefined protocol of this name.

        Keys are dotted, as ``treatment.fit``. Empty if no predefined protocol has this name.
        """
        changed = differences(to_dict(self), to_dict(READY.get(self.name, self)))
        return {path: ours for path, (ours, _) in changed.items() if ours != "absent"}


def protocol(name: str, changes: Sequence[str] = (), n: int | None = None) -> Protocol:
    """A predefined protocol by name.

    Args:
        name: name of the protocol, such as ``longtake``.
        changes: changes as ``a.b=value``; each changes the protocol's hash.
        n: number of clips; None: the protocol's.

    Raises:
        ConfigError: there is no protocol of that name, or a field or value is not valid.
    """
    if name not in READY:
        raise ConfigError(f"there is no protocol {name!r}; {nearest(name, list(READY))}")
    changes = [*changes, *([] if n is None else [f"n={n}"])]
    return changed(Protocol, READY[name], changes)


_PREDEFINED: Mapping[str, dict[str, Any]] = read(Path(__file__).with_name("protocols.yaml"))

ABOUT: Mapping[str, str] = {name: data.pop("about") for name, data in _PREDEFINED.items()}

READY: Mapping[str, Protocol] = {
    name: parse(Protocol, {"name": name, **data}) for name, data in _PREDEFINED.items()
}
