"""Where models are: folders, runs, models that come with the package, the Hugging Face hub."""

from importlib import resources
from pathlib import Path

from longtake.checkpoint import CheckpointError
from longtake.config import nearest

INDEX = "model_index.json"


def shipped_models() -> dict[str, Path]:
    """Models that come with the package, by name."""
    root = Path(str(resources.files("longtake") / "models"))
    if not root.is_dir():
        return {}
    return {p.name: p for p in sorted(root.iterdir()) if (p / INDEX).exists()}


def find_model(name: str | Path) -> Path:
    """Folder of a model: a folder, a run, a shipped name, or a hub id (downloaded).

    Raises:
        CheckpointError: there is none.
    """
    path = Path(name)
    for folder in (path, path / "model"):
        if (folder / INDEX).exists():
            return folder
    if path.exists():
        raise CheckpointError(
            f"{path}: no model folder (it lacks {INDEX}); expected the output of `longtake fit`, "
            "`longtake convert` or save_pretrained"
        )
    shipped = shipped_models()
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

    try:
        return Path(snapshot_download(repository, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise CheckpointError(
            f"{repository}: no local folder, and the hub cannot be reached for it "
            f"({type(error).__name__})"
        ) from error
