"""Commands that serve: the studio's page, and the API for programs."""

import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from longtake.config import nearest

if TYPE_CHECKING:
    from longtake.studio.kinds import JobKind

NEEDED = ("starlette", "uvicorn", "websockets", "python_multipart")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN = "LONGTAKE_TOKEN"
LONGEST_TOKEN_BYTES = 1 << 12

Host = Annotated[str, Option(help="address to listen at")]
Port = Annotated[int, Option(min=0, max=65535, help="port to listen at; 0: a free one")]
Folder = Annotated[Path, Option(help="folder of jobs, uploads and footage")]
Queue = Annotated[int, Option(min=1, help="greatest number of waiting jobs")]


def studio(
    models: Annotated[
        list[str] | None,
        Argument(help="models, and folders of trainings to watch; default: the shipped models"),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8642,
    folder: Folder = Path("studio_data"),
    queue: Queue = 20,
) -> None:
    """Open a local web page to make and steer videos.

    The page also compares videos, shows what is inside models and trains on footage. Jobs and
    videos are kept in the folder; the same command finds them again.
    """
    _serve(models or [], host, port, folder, queue, token="", page=True)


def serve(
    models: Annotated[list[str], Argument(help="models to serve")],
    host: Host = "127.0.0.1",
    port: Port = 8643,
    folder: Folder = Path("serve_data"),
    queue: Queue = 100,
    token_file: Annotated[
        Path | None, Option("--token-file", help=f"file with the bearer token; else ${TOKEN}")
    ] = None,
) -> None:
    """Serve models to programs over HTTP.

    Requests at /v1/videos are those of OpenAI's video API. They must have the bearer token of
    --token-file or of the variable LONGTAKE_TOKEN; without one, only this machine can connect.
    """
    token = os.environ.get(TOKEN, "")
    if token_file is not None:
        token = _token(token_file)
    if not token and host not in LOOPBACK:
        raise ValueError(
            f"--host {host}: others can connect, so give --token-file or set the variable {TOKEN}"
        )
    _serve(models, host, port, folder, queue, token=token, page=False)


def _token(path: Path) -> str:
    """The token in a file; a ValueError if it is empty, long or not text."""
    from longtake.documents import DocumentError, read_text

    try:
        if token := read_text(path, LONGEST_TOKEN_BYTES).strip():
            return token
    except DocumentError as error:
        raise ValueError(f"--token-file {path}: {error}") from error
    raise ValueError(f"--token-file {path}: the file is empty; write a token to it")


def _serve(
    models: Sequence[str],
    host: str,
    port: int,
    folder: Path,
    queue: int,
    *,
    token: str,
    page: bool,
) -> None:
    """Run a server of ``models`` until it is stopped; with ``page``, the studio's page too.

    Raises:
        ValueError: a needed package is not installed, or there is no such model.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"{missing[0]} is not installed: pip install 'longtake[studio]'")
    from longtake.studio.app import create_app
    from longtake.studio.queueing import Commands
    from longtake.studio.running import run
    from longtake.studio.settings import Limits
    from longtake.studio.studio import Studio

    limits, commands = Limits(jobs=queue), Commands(repeat=repeat, train=training)
    trainings = training_places(models) if page else {}
    begun = {path for path in trainings.values() if not local_models(path)}
    trained = [each for each in models if Path(each).resolve() not in begun]
    places = model_places(trained) if trained or not begun else {}
    hosts = ["*"] if host not in LOOPBACK else [*LOOPBACK, "[::1]"]
    app = create_app(
        lambda: Studio(folder, places, limits, commands, trainings),
        hosts=hosts,
        token=token,
        page=page,
    )
    if not token and host not in LOOPBACK:
        print(f"anyone who can reach {host} can use this studio", file=sys.stderr)
    what = "studio" if page else "server"
    run(app, host, port, lambda address: print(f"{what}: {address}", flush=True))


def training_places(names: Sequence[str]) -> dict[str, Path]:
    """Folders of the trainings among the given names, by the folder's name.

    Raises:
        ValueError: two of them have one name.
    """
    from longtake.studio.trainings import is_training

    found: dict[str, Path] = {}
    for path in (Path(each).resolve() for each in names):
        if is_training(path) and found.setdefault(path.name, path) != path:
            raise ValueError(f"two trainings are called {path.name}; rename one of the folders")
    return found


def local_models(path: Path) -> list[str]:
    """The model folder at a path, or the one in a run folder there; empty if there is none."""
    from longtake.hub import INDEX

    return [str(each.resolve()) for each in (path, path / "model") if (each / INDEX).exists()]


def model_places(names: Sequence[str]) -> dict[str, str]:
    """Folder or hub id of each model, by a name without folders; without names, shipped models.

    Raises:
        ValueError: two models have one name, or there is no such model.
    """
    from longtake.hub import shipped_models

    shipped = {name: str(folder) for name, folder in shipped_models().items()}
    if not names:
        return shipped
    places: dict[str, str] = {}
    for given in names:
        path = Path(given)
        local = [] if given in shipped else local_models(path)  # as find_model has it
        name = path.resolve().name if local else given
        if not local and given not in shipped and (path.exists() or given.count("/") != 1):
            raise ValueError(
                f"{given}: no model folder or shipped model; {nearest(given, list(shipped))}"
            )
        if name in places:
            raise ValueError(f"two models are called {name}; rename one of the folders")
        places[name] = (local or [shipped.get(given, given)])[0]
    return places


def repeat(
    job: "JobKind",
    frames_done: int,
    folder: Path,
    places: Mapping[str, str],
) -> str:
    """The shell command that makes the video of a job again, if it was not steered.

    Empty if the job makes no video, or has no frame yet of a video without end. The last clip of
    such a video may differ: the command samples it as the last one.

    Args:
        job: kind and settings of the job.
        frames_done: number of frames so far, which is the length of a video without end.
        folder: folder of the studio, which has the uploads.
        places: folder or hub id of each model by its name.
    """
    from longtake.hub import shipped_models
    from longtake.studio.settings import VideoSettings

    settings = getattr(job, "settings", None)
    if not isinstance(settings, VideoSettings):
        return ""
    endless = job.steerable and settings.frames is None
    frames = frames_done if endless else settings.frames
    if endless and not frames:
        return ""
    own = settings.model in shipped_models()
    model = settings.model if own else places.get(settings.model, settings.model)
    words = ["longtake", "generate", model, *settings.overrides]
    words += ["--seed", str(settings.seed)]
    for option, value in (
        ("--frames", frames),
        ("--label", settings.label),
        ("--prompt", settings.prompt),
        ("--negative", settings.negative),
    ):
        words += [] if value is None else [option, str(value)]
    for option, upload in (
        ("--start-image", settings.start_image),
        ("--end-image", settings.end_image),
        ("--continue", settings.continue_video),
    ):
        if upload is not None:
            suffix = "mkv" if option == "--continue" else "png"
            words += [option, str(folder / "uploads" / upload / f"given.{suffix}")]
    words += ["--loop"] if settings.loop else []
    words += ["--sheet"] if settings.sheet else []
    words += [] if settings.backend == "torch" else ["--backend", settings.backend]
    words += [] if settings.decoder == "full" else ["--decoder", settings.decoder]
    words += ["--students"] if settings.students else []
    return shlex.join(words)


def training(
    job: "JobKind", job_folder: Path, folder: Path, places: Mapping[str, str]
) -> list[str]:
    """Command line of the process that trains for a job; empty for a job that trains nothing.

    Args:
        job: kind and settings of the job.
        job_folder: folder of the job.
        folder: folder of the studio, which has the footage and the uploads.
        places: folder or hub id of each model by its name.
    """
    from longtake.studio.places import FOOTAGE, TRAINED, UPLOADS
    from longtake.studio.settings import TrainSettings

    settings: TrainSettings | None = getattr(job, "settings", None)
    if not isinstance(settings, TrainSettings):
        return []
    footage = folder / FOOTAGE / (settings.folder_name or "")
    if settings.upload is not None:
        footage = folder / UPLOADS / settings.upload / "given.mkv"
    words = [sys.executable, "-m", "longtake.cli", "train", str(footage)]
    words += ["-o", str(job_folder / TRAINED), "--system", settings.system]
    words += ["--budget", f"{settings.budget_minutes:g}m"]
    words += [] if settings.size is None else ["--size", str(settings.size)]
    if settings.init_from is not None:
        words += ["--from", places[settings.init_from]]
    return words
