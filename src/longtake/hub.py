"""Find models: folders, runs, models that ship with the package, the Hugging Face hub."""

import logging
from importlib import resources
from pathlib import Path

from longtake.config import nearest

LOGGER = logging.getLogger("longtake")
INDEX = "model_index.json"
REASON_CHARACTERS = 300  # of an error of the hub's client, in messages


def shipped_models() -> dict[str, Path]:
    """Folder of each model that comes with longtake, by its name."""
    root = Path(str(resources.files("longtake") / "models"))
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{INDEX}"))}


def find_model(name: str | Path) -> Path:
    """Find a model; return its folder.

    Args:
        name: the name of a model that comes with longtake; the path of a model or of a run; or an
            id in the Hugging Face hub, from which it is downloaded. A text that is the name of a
            model that comes with longtake is that model, even if a local folder has the same name;
            ``./NAME``, or a ``Path``, is the folder.

    Raises:
        CheckpointError: there is no such model.
    """
    from longtake.checkpoint import CheckpointError  # which loads torch

    path, shipped = Path(name), shipped_models()
    local = next((f for f in (path, path / "model") if (f / INDEX).exists()), None)
    if isinstance(name, str) and name in shipped:
        if local is not None:
            LOGGER.warning(
                "%s: this is the model that comes with longtake, not the folder of that name here; "
                "the folder is ./%s",
                *(name, name),
            )
        return shipped[name]
    if local is not None:
        return local
    if (path / "config.yaml").exists():
        raise CheckpointError(
            f"{path}: this run has not exported its model yet; it does so every "
            "training.export_every steps, when it is stopped and at its end"
        )
    if path.exists():
        raise CheckpointError(
            f"{path}: not a model folder, as it has no {INDEX}; expected a folder that "
            "save_pretrained, a training run or a conversion wrote"
        )
    if str(name) in shipped:
        return shipped[str(name)]
    if str(name).count("/") == 1 and not path.parent.exists() and not path.is_absolute():
        return _download(str(name))
    raise CheckpointError(
        f"{name}: no such folder or shipped model; {nearest(str(name), list(shipped))}"
    )


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    from longtake.checkpoint import CheckpointError

    try:
        return Path(snapshot_download(repository, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise CheckpointError(
            f"{repository}: no local folder has this name, and the Hugging Face hub gave no model "
            f"({_reason(error)}); check the name, the network, and that you are logged in there"
        ) from error


def push_folder(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload a model folder to the Hugging Face hub; return the URL of the commit.

    Only JSON and safetensors files and ``README.md`` are uploaded.

    Args:
        folder: the model folder.
        repository: ``user/name``; it is created if it does not exist.
        private: whether a new repository is private.

    Raises:
        CheckpointError: the hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    from longtake.checkpoint import CheckpointError  # which loads torch

    files = ["*.json", "*.safetensors", "README.md"]
    try:
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=files)
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{repository}: the hub did not take the model ({_reason(error)}); check its "
            "name, user/name, the network, and that you are logged in there"
        ) from error
    return str(done)


def _reason(error: Exception) -> str:
    """Type and text of an error, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:REASON_CHARACTERS]
