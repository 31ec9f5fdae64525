"""The command line. Nothing heavy is imported before a command runs."""

import re
import sys
from typing import Annotated

import typer
from typer import Option

from longtake import __version__
from longtake.cli import convert, data, evaluate, make, reproduce, show
from longtake.cli.arguments import on_command_line

INTERRUPTED = 130
OUT_OF_MEMORY = "out of memory|can't allocate memory|Storage size calculation overflowed"

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
    *(make.fit, make.generate, make.reconstruct, evaluate.compare, evaluate.drift),
    *(evaluate.protocols, reproduce.reproduce, show.inspect, show.doctor),
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
    """Entry point: a user's mistake is one sentence and exit code 2, an interruption 130."""
    try:
        for (command, option), replacement in MOVED.items():
            if command in sys.argv[1:2] and option in sys.argv:
                raise ValueError(f"{option} is now a command: {replacement}")
        app()
    except (ValueError, FloatingPointError) as error:
        fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{error.strerror or error}")
    except RecursionError:
        fail("the input is nested too deeply")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search(OUT_OF_MEMORY, str(error)):
            raise
        fail(f"not enough memory; use smaller settings or another --device ({error})")
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("stopped; the same command continues from here", file=sys.stderr)
        raise


def fail(message: str) -> None:
    """Print a library's error as one line, naming options instead of arguments, and exit."""
    print(f"longtake: {on_command_line(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)
