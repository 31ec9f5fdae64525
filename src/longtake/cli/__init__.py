"""The command line. Nothing heavy is imported before a command runs."""

import gc
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from longtake import __version__, interruption
from longtake.cli import convert, data, evaluate, make, push, reproduce, serve, show
from longtake.cli.arguments import on_command_line

INTERRUPTED = (130, 143, 129)  # typer gives 130 for any KeyboardInterrupt
SPIN_COUNT = "10000"  # turns of a loop, some tens of microseconds
SPIN_SETTINGS = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
IMPORTED_OBJECTS = 200_000
OUT_OF_MEMORY = "out of memory|can't allocate memory|Storage size calculation overflowed"

# Commands that continue where they stopped if they are repeated.
CONTINUING = (
    "fit",
    "train",
    "generate",
    "reconstruct",
    "evaluate",
    "reproduce",
    "data export",
    "data prepare",
    "studio",
    "serve",
)
BEGINNING_AGAIN = ("evaluate reconstruction",)
"""Commands that, unlike those in ``CONTINUING``, begin again if they are repeated after a stop."""

MOVED = {
    ("evaluate", "--compare"): "longtake compare A.json B.json",
    ("evaluate", "--protocols"): "longtake protocols",
    ("evaluate", "--drift"): "longtake drift [REAL] VIDEO",
    ("reconstruct", "--metrics"): "longtake evaluate reconstruction MODEL SOURCE",
}
"""Former options of commands, and the commands that replaced them."""

app = typer.Typer(
    name="longtake",
    help="Train, sample and evaluate latent video diffusion models, above all for long video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(convert.app, name="convert")
app.add_typer(data.app, name="data")
for command in (
    *(make.train, make.fit, make.generate, make.reconstruct, evaluate.compare, evaluate.drift),
    *(evaluate.protocols, reproduce.reproduce, serve.studio, serve.serve, push.push),
    *(show.inspect, show.doctor),
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, Option("--version", help="Show the version.")] = False,
) -> None:
    """Options of ``longtake`` itself."""
    if version:
        print(f"longtake {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point of the command line: a user's mistake is one sentence and exit code 2.

    The exit code of an interruption is 128 + the signal's number: 130 for Ctrl-C, 143 for SIGTERM,
    129 for SIGHUP.
    """
    _wait_briefly()
    _collect_after_imports()
    with interruption.raising() as arrived:
        _main(arrived)


def _wait_briefly() -> None:
    """Shorten the busy waiting of OpenMP's threads for each other, unless the user has set it.

    GNU OpenMP, which PyTorch uses on Linux, spins 300,000 turns. Where other processes need the
    cores, a thread that spins keeps those that it waits for from running: a video takes many times
    as long (``benchmarks/threads.py``). OpenMP reads the setting when PyTorch is imported.
    """
    if not SPIN_SETTINGS & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def _collect_after_imports() -> None:
    """Let the first garbage collection come after most of the imports, once.

    Imports make 300,000 objects that stay. Collections among them, which look at all objects again
    and again, are a tenth of the time to start (``benchmarks/reliability/start.py``).
    """
    if "torch" in sys.modules:
        return
    usual = gc.get_threshold()

    def resume(phase: str, info: dict[str, int]) -> None:
        del info
        if phase == "stop":
            gc.callbacks.remove(resume)
            gc.freeze()
            gc.set_threshold(*usual)

    gc.callbacks.append(resume)
    gc.set_threshold(IMPORTED_OBJECTS, *usual[1:])


def _main(arrived: interruption.Arrived) -> None:
    try:
        for (command, option), replacement in MOVED.items():
            if command in sys.argv[1:2] and option in sys.argv:
                raise ValueError(f"{option} is now a command: {replacement}")
        app()
    except (ValueError, FloatingPointError) as error:
        fail(str(error))
    except OSError as error:
        fail(_in_words(error))
    except RecursionError:
        fail("the input, a config or file, is nested too deeply to read; use fewer levels")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search(OUT_OF_MEMORY, str(error)):
            raise
        fail(f"not enough memory; use smaller settings or another --device ({error})")
    except SystemExit as stop:
        sys.exit(_exit_code(stop.code, arrived))


def _in_words(error: OSError) -> str:
    """An error of the file system as a sentence, which says what is in the way."""
    if error.filename and isinstance(error, (FileExistsError, NotADirectoryError)):
        named = Path(str(error.filename))
        file = next((path for path in (named, *named.parents) if path.is_file()), None)
        if file is not None:
            return f"{file}: is a file, where a folder is needed; choose another path"
    if error.filename and isinstance(error, IsADirectoryError):
        return f"{error.filename}: is a folder, where a file is needed; choose another path"
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}"


def _exit_code(code: int | str | None, arrived: interruption.Arrived) -> int | str | None:
    """Exit code of the command: 128 + signal after an interruption, of which a line is printed."""
    if code not in INTERRUPTED:
        return code
    how = "continues from here" if _continues(sys.argv[1:]) else "begins again"
    print(f"stopped; the same command {how}", file=sys.stderr)
    return arrived.exit_code if arrived.number else code


def _continues(arguments: Sequence[str]) -> bool:
    def is_one_of(commands: Sequence[str]) -> bool:
        return any([*arguments[: len(words)]] == words for words in map(str.split, commands))

    return is_one_of(CONTINUING) and not is_one_of(BEGINNING_AGAIN)


def fail(message: str) -> None:
    """Print a library's error as one line, with options instead of arguments; exit with code 2."""
    print(f"longtake: {on_command_line(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)
