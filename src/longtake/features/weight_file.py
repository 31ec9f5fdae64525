"""Files of feature networks' weights, identified by their hash."""

from pathlib import Path

from torch import Tensor

from longtake.checkpoint import CheckpointError, check_finite, file_hash, read_tensors


def read_weights(path: Path, sha256: str | None, needed: str, how: str) -> dict[str, Tensor]:
    """Read weights from a safetensors file with an expected hash; None accepts any.

    Messages say what needs the file, and how to get it.

    Raises:
        CheckpointError: the file is missing, has another hash, is not finite, or cannot be read.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; {needed}; {how}")
    if sha256 is not None and (found := file_hash(path)) != sha256:
        raise CheckpointError(
            f"{path}: has SHA-256 {found}, expected {sha256}: its scores cannot be compared "
            f"with others; {how}"
        )
    weights = read_tensors(path)
    check_finite(weights, path)
    return weights
