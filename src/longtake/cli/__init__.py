"""The command line. Nothing heavy is imported before a command runs."""

import sys
from typing import Annotated

import typer

from longtake import __version__
from longtake.cli import convert, data, drift, evaluate, make, reproduce, show
from longtake.cli.arguments import on_command_line

INTERRUPTED = 130

app = typer.Typer(
    name="longtake",
    help="Train, sample and evaluate latent video diffusion models, above all for long video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("fit")(make.fit)
app.command("generate")(make.generate)
app.command("reconstruct", cls=make.Reconstruct)(make.reconstruct)
app.add_typer(evaluate.app, name="evaluate")
app.command("compare")(evaluate.compare)
app.command("drift")(drift.drift)
app.command("protocols")(evaluate.protocols)
app.command("reproduce")(reproduce.reproduce)
app.add_typer(convert.app, name="convert")
app.command("inspect")(show.inspect)
app.add_typer(data.app, name="data")
app.command("doctor")(show.doctor)


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"longtake {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options of ``longtake`` itself."""


def main() -> None:
    """Entry point: a user's mistake is one sentence and exit code 2, an interruption 130."""
    try:
        app()
    except (ValueError, FloatingPointError) as error:
        fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{error.strerror or error}")
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("stopped; the same command continues from here", file=sys.stderr)
        raise


def fail(message: str) -> None:
    """Print a library's error as one line, naming options instead of arguments, and exit."""
    print(f"longtake: {on_command_line(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)
