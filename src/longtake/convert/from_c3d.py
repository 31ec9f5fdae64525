"""Converts published weights of C3D to the safetensors file that metrics read."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longtake.checkpoint import CheckpointError, check_finite, check_free, write_tensors
from longtake.convert.layout import check_weights, replaced
from longtake.convert.torch_file import read_state_dict
from longtake.documents import open_regular
from longtake.features.c3d import C3D, HOW, MEAN, C3DConfig, cache_path

MAX_BYTES = 1 << 32  # of the arrays of a file; those of C3D take a third of a gigabyte
_PARTS = {
    r"^module\.": "",
    r"^(backbone|cls_head)\.": "",
    r"^fc_cls\.": "fc8.",
    r"^(conv[12])\.": r"\1a.",
    r"\.conv\.": ".",
    r"/W$": ".weight",
    r"/b$": ".bias",
}
"""Parts of names in Chainer's TGAN, MMAction2, c3d-pytorch and others, and of ours.

Ours are Caffe's layers: conv1a, conv2a, conv3a, conv3b, ... conv5b, fc6, fc7, fc8.
"""


def convert_c3d(
    source: Path,
    mean: Path,
    out: Path | None = None,
    *,
    config: C3DConfig = C3DConfig(),  # noqa: B008
    overwrite: bool = False,
) -> Path:
    """Convert official weights of C3D to a safetensors file. No code in a file is run.

    Args:
        source: ``conv3d_deepnetA_ucf.npz`` of TGAN and TGANv2; or a PyTorch state dict of a C3D
            trained on UCF-101, with the layer names of c3d-pytorch, MMAction2 or Caffe. Only TGAN's
            weights give scores that compare with papers, and PyTorch ports trained on frames of
            another channel order or range than Caffe's C3D give meaningless scores.
        mean: ``mean2.npz`` of TGAN and TGANv2, or the same array as ``.npy``: blue, green and red
            of 16 frames of 128 x 171 pixels.
        out: file to write; None: the one in the user's cache folder, which metrics read.
        config: sizes of the network.
        overwrite: replace an existing file.

    Returns:
        path of the written file.

    Raises:
        CheckpointError: a file is damaged, or has other weights or other objects.
        ExistsError: the file to write exists, and ``overwrite`` is false.
    """
    path = check_free(out or cache_path(), overwrite)
    given = _arrays(source) if source.suffix == ".npz" else read_state_dict(source)
    weights = {replaced(name, _PARTS): torch.as_tensor(value) for name, value in given.items()}
    weights["mean"] = _mean(mean)
    with torch.device("meta"):
        expected = C3D(config).state_dict()
    try:
        check_weights(weights, {name: tuple(value.shape) for name, value in expected.items()})
    except ValueError as error:
        what = f"is not C3D of {config.classes} classes"
        raise CheckpointError(f"{source}: {what}: {error}") from error
    weights = {name: value.float() for name, value in weights.items()}
    check_finite(weights, source)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, weights)
    return path


def _mean(path: Path) -> Tensor:
    found = _arrays(path)
    if "mean" not in found:
        raise CheckpointError(f"{path}: has no array 'mean', only {', '.join(found)}; {HOW}")
    volume = found["mean"]
    if volume.shape not in (MEAN, (1, *MEAN)):
        raise CheckpointError(
            f"{path}: its mean has shape {volume.shape}, expected {MEAN} (blue, green and red of "
            f"frames of 128 x 171); {HOW}"
        )
    return torch.from_numpy(volume.astype(np.float32)).reshape(MEAN)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a ``.npz`` by name, or that of a ``.npy`` as ``mean``; pickled ones are refused."""
    try:
        with open_regular(path) as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"mean": loaded}
            if sum(member.file_size for member in loaded.zip.infolist()) > MAX_BYTES:
                raise CheckpointError(
                    f"{path}: its arrays take more than {MAX_BYTES >> 30} GiB, the limit; {HOW}"
                )
            return {name: loaded[name] for name in loaded.files}
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: is not a complete file of plain NumPy arrays ({error}); {HOW}"
        ) from error
