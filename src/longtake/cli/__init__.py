"""The command line. Nothing heavy is imported before a command runs."""

import sys

import typer

from longtake.cli import convert, data, judge, make, reproduce, show

INTERRUPTED = 130

app = typer.Typer(
    name="longtake",
    help="Train, sample, serve and judge latent video diffusion models, above all long ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("fit")(make.fit)
app.command("generate")(make.generate)
app.command("reconstruct")(make.reconstruct)
app.command("evaluate")(judge.evaluate)
app.command("reproduce")(reproduce.reproduce)
app.add_typer(convert.app, name="convert")
app.command("inspect")(show.inspect)
app.add_typer(data.app, name="data")
app.command("doctor")(show.doctor)


def main() -> None:
    """Entry point: a user's mistake is one sentence and exit code 2, an interruption 130."""
    try:
        app()
    except (ValueError, FloatingPointError) as error:
        fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{error.strerror or error}")
    except SystemExit as left:
        if left.code == INTERRUPTED:
            print("stopped; the same command goes on where this one stopped", file=sys.stderr)
        raise


def fail(message: str) -> None:
    """Print an error on one line, with options instead of Python arguments, and exit."""
    message = " ".join(message.split())
    for argument, option in (
        ("set overwrite=True", "pass --overwrite"),
        ("set raw=True", "pass --raw"),
    ):
        message = message.replace(argument, option)
    print(f"longtake: {message}", file=sys.stderr)
    sys.exit(2)
