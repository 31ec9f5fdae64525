"""Python code in processes of its own, which are forks of one that has imported longtake.

An import of torch takes two seconds of CPU time, of FSDP another one and a half.
"""

import os
import socket
import sys
import traceback
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(
    ["longtake.cli", "longtake.run_folder", "longtake.runs", "torch.distributed.fsdp"]
)


def start(
    code: str, *words: object, said: Path, environment: Mapping[str, str] | None = None
) -> ForkServerProcess:
    """Start a process that runs ``code`` with ``words`` as its ``sys.argv``.

    What it prints goes to the file ``said``; ``environment`` is added to this process's.
    """
    variables = {**os.environ, **(environment or {})}
    process = FORKS.Process(target=_execute, args=(code, [*map(str, words)], variables, said))
    process.start()
    return process


def run_ranks(folder: Path, code: str, *words: object, count: int = 2) -> list[str]:
    """Run ``code`` in each of ``count`` processes of one job; return what each printed.

    The job is described to them as torchrun does. When one fails, the others are killed.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    job = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    job |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(count))
    said = [folder / f"rank_{rank}.txt" for rank in range(count)]
    processes = [
        start(code, *words, said=path, environment=job | dict.fromkeys(("RANK", "LOCAL_RANK"), r))
        for r, path in zip(map(str, range(count)), said, strict=True)
    ]
    running = {process.sentinel: process for process in processes}
    while running:
        for ended in wait([*running]):
            process = running.pop(ended)  # pyright: ignore[reportArgumentType]
            process.join()
            if process.exitcode:
                for other in running.values():
                    other.kill()
    printed = [path.read_text() for path in said]
    assert [process.exitcode for process in processes] == [0] * count, "\n".join(printed)
    return printed


def _execute(code: str, words: list[str], variables: Mapping[str, str], said: Path) -> None:
    """Run ``code`` in this process, as ``python -c`` does."""
    os.environ.clear()
    os.environ.update(variables)
    with said.open("w", buffering=1) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.argv = ["-c", *words]
    try:
        exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
    except Exception:
        traceback.print_exc()
        sys.exit(1)
