"""Memory of a process: how much a job takes, measured for a model and estimated for a video."""

import ctypes
import gc
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from longtake.studio.settings import VideoSettings

MEGABYTE = 1 << 20
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
COMPILED = 6.5
"""Working memory with a backend that compiles networks, as a multiple of PyTorch's. OpenVINO 2026.4
with lvdm-sky: 6.2 with the decoder full, 6.7 with large; it is that of compiling, mostly."""


def forget_peak() -> None:
    """Return freed memory to the system, and let the peak of this process start again."""
    gc.collect()
    with suppress(AttributeError, OSError):  # other C libraries than glibc
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):  # other systems than Linux
        RESET.write_text("5", encoding="ascii")


def peak_mb() -> float | None:
    """Greatest resident memory, in MiB, since ``forget_peak``; None on other systems than Linux."""
    if not RESET.exists():
        return None
    (kilobytes,) = re.findall(r"^VmHWM:\s*(\d+) kB$", STATUS.read_text(encoding="utf-8"), re.M)
    return int(kilobytes) / 1024


def resident_mb() -> float | None:
    """Resident memory of this process in MiB; None on other systems than Linux."""
    found = resident_bytes(os.getpid())
    return None if found is None else found / MEGABYTE


def resident_bytes(number: int) -> int | None:
    """Resident memory, in bytes, of the process with this id; None where it is unknown."""
    try:
        pages = int(Path(f"/proc/{number}/statm").read_text(encoding="utf-8").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def weights_mb(networks: Iterable["nn.Module"]) -> float:
    """Memory of the weights of networks in MiB; weights that two of them share count once."""
    sizes = {
        tensor.data_ptr(): tensor.nbytes
        for network in networks
        for tensor in (*network.parameters(), *network.buffers())
    }
    return sum(sizes.values()) / MEGABYTE


def estimated_mb(
    memory: Mapping[str, Any] | None, settings: "VideoSettings", frames: int, step_frames: int
) -> float | None:
    """Estimated peak of resident memory, in MiB, of a worker that makes a video.

    The sum of an empty worker's memory, the weights, and the larger of what sampling a rollout step
    and decoding it take; fewer frames than those of a step take less to decode.

    Args:
        memory: what ``Loaded.describe`` has measured; None: unknown.
        settings: the video.
        frames: number of its frames.
        step_frames: number of frames of a step of the model's own rollout.
    """
    if memory is None:
        return None
    weights = memory["students" if settings.students else "teachers"]
    share = min(frames / step_frames, 1.0)
    working = max(memory["sampling"], share * memory["decoding"][settings.decoder])
    return memory["worker"] + weights + working * (1.0 if settings.backend == "torch" else COMPILED)
