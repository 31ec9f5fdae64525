"""Files of feature networks' weights: scores are of one file, so they name it and its hash."""

from pathlib import Path

from torch import Tensor

from longtake.checkpoint import CheckpointError, file_hash, read_tensors


def read_weights(path: Path, *, sha256: str | None, needed: str, how: str) -> dict[str, Tensor]:
    """Weights of a file that must be there and be this one.

    Args:
        path: of a safetensors file.
        sha256: that it must have; None takes any.
        needed: what needs it, as the start of a sentence.
        how: to get the file.

    Raises:
        CheckpointError: there is no file, or it is another, or it cannot be read.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; {needed}; {how}")
    if sha256 is not None and (found := file_hash(path)) != sha256:
        raise CheckpointError(
            f"{path}: has SHA-256 {found}, expected {sha256}: scores would compare with no "
            f"others; {how}"
        )
    return read_tensors(path)
