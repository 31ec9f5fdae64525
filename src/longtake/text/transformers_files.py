"""Models of transformers, opened from files on this machine; nothing is downloaded."""

from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType

LOCAL = {"local_files_only": True}
"""Arguments of each ``from_pretrained``, so that transformers downloads nothing."""


@contextmanager
def opened_by_transformers(what: str, remedy: str) -> Generator[ModuleType]:
    """Context manager that yields the package transformers, to open files of a model.

    Raises:
        ValueError: the package is not installed; or it cannot read the files: the message is
            ``what``, then ``remedy`` with ``{reason}`` replaced by the reason.
    """
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            f"{what}: needs transformers ({error}); pip install 'longtake[text]'"
        ) from error
    transformers.utils.logging.disable_progress_bar()
    try:
        yield transformers
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise ValueError(f"{what}: {remedy.format(reason=reason)}") from error
