"""Classes and named labels that a denoiser reads, compared with those of the data."""

from collections.abc import Mapping

from longtake.config import ConfigError, plural
from longtake.registry import AnyDenoiser
from longtake.run_registry import AnySource


def labels_read(denoiser: AnyDenoiser) -> Mapping[str, int]:
    """Number of values of each named label, such as ``time``, that a network reads."""
    return getattr(denoiser, "labels", {})


def check_labels(denoiser: AnyDenoiser, data: AnySource) -> None:
    """Raise a ConfigError unless the data has the classes and named labels that a network reads.

    Args:
        denoiser: config of the network.
        data: source of the training clips.
    """
    number, classes = getattr(denoiser, "num_classes", None), data.classes
    if number not in (None, len(classes)):
        fix = (
            f"set it to {len(classes)}"
            if classes
            else "set it to null, or give videos labels by data.labels"
        )
        held = plural(len(classes), "class") if classes else "no classes"
        raise ConfigError(f"denoiser.num_classes={number}, but the data has {held}; {fix}")
    labels = data.label_sizes
    for name, size in labels_read(denoiser).items():
        if size != labels.get(name):
            held = ", ".join(f"{k}: {n}" for k, n in labels.items()) or "none"
            raise ConfigError(
                f"denoiser.labels={{{name}: {size}}}, but the labels of the data are {held}; "
                "set denoiser.labels to those that the network is to read"
            )
