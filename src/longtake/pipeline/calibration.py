"""How long a run takes, measured by a few of its steps, and the settings that fit a time."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from longtake import config, run_folder
from longtake.distributed import Ranks
from longtake.runs import AnyRun, Callbacks
from longtake.training.trainer import TrainingProgress

FIRST_STEPS, LEAST_SECONDS, MOST_STEPS = 5, 3.0, 50
PREVIEWS, PREVIEW_SHARE = 8, 0.1
SECONDS_BETWEEN_SAVES = 120
LEAST_STEPS, LOG_LINES = 10, 200


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Measured times of a run, in seconds.

    Attributes:
        start: time before the first training step, without encoding.
        step: time of a training step.
        preview: time of a preview with checkpoint and export.
        encode: time to encode a clip; 0 for a run that encodes nothing.
    """

    start: float
    step: float
    preview: float
    encode: float = 0.0


def measure(run: AnyRun, folder: Path, callbacks: Callbacks, clips: int = 0) -> Speed:
    """Measure the speed of a run by a short run with the same settings.

    Args:
        run: the run.
        folder: folder of the short run, which is removed at the end.
        callbacks: report progress of the short run.
        clips: number of clips that the short run encodes, to measure that too; their latents are
            removed.

    The first step, which is slower than others, is not counted.
    """
    if clips:
        own = {"cache_folder": None, "cache.every": None, "cache.clips": clips}
        run = with_settings(run, own)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        speed = _trial(run, folder / "1", callbacks, FIRST_STEPS, clips)
        if speed.step * FIRST_STEPS >= LEAST_SECONDS:
            return speed
        steps = int(LEAST_SECONDS / max(speed.step, LEAST_SECONDS / MOST_STEPS))
        longer = _trial(run, folder / "2", callbacks, max(steps, FIRST_STEPS), clips)
        return replace(longer, encode=speed.encode)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _trial(run: AnyRun, folder: Path, callbacks: Callbacks, steps: int, clips: int) -> Speed:
    loop = {"steps": steps, "log_every": 1, "save_every": steps, "sample_every": steps}
    loop |= {
        "evaluate_every": 0,
        "warmup_steps": 0,
        "cooldown_steps": 0,
        "export_every": 0,
        "keep_every": 0,
    }
    training = run.training.model_copy(update=loop)
    began = encoded = time.monotonic()
    times: list[float] = []

    def follow(at: TrainingProgress) -> None:
        del at
        times.append(time.monotonic())

    def encoding(done: int, total: int) -> None:
        nonlocal encoded
        encoded = time.monotonic()
        callbacks.encoding(done, total)

    calls = Callbacks(training=follow, encoding=encoding)
    run_folder.start(run.model_copy(update={"training": training}), folder, Ranks(), calls)
    ended = time.monotonic()
    step = (times[-1] - times[0]) / (len(times) - 1)
    return Speed(
        start=max(times[0] - encoded - step, 0.0),
        step=step,
        preview=ended - times[-1],
        encode=(encoded - began) / clips if clips else 0.0,
    )


def fitted(run: AnyRun, speed: Speed, seconds: float, cooldown: float) -> Mapping[str, Any]:
    """Settings with which a run takes about ``seconds``: number of steps and intervals.

    They are values by name, as ``a.b``. ``cooldown`` is the share of the steps over which the
    learning rate falls to 0.
    """
    most = int(PREVIEW_SHARE * seconds / max(speed.preview, 1e-3))
    previews = min(max(most, 1), PREVIEWS)
    left = seconds - speed.start - previews * speed.preview
    steps = max(LEAST_STEPS, int(left / speed.step))
    saves = max(1, round(SECONDS_BETWEEN_SAVES / speed.step))
    return scheduled(run, steps, cooldown) | {
        "training.save_every": min(saves, steps),
        "training.sample_every": -(-steps // previews),
        "training.export_every": min(saves, steps),
    }


def scheduled(run: AnyRun, steps: int, cooldown: float) -> dict[str, Any]:
    """Settings of a run of ``steps`` steps: learning rate schedule, EMA and logging.

    They are values by name, as ``a.b``. ``cooldown`` is the share of the steps over which the
    learning rate falls to 0.
    """
    loop = run.training
    settings: dict[str, Any] = {
        "training.steps": steps,
        "training.warmup_steps": min(loop.warmup_steps, steps // 10),
        "training.cooldown_steps": int(cooldown * steps),
        "training.log_every": max(1, min(loop.log_every, steps // LOG_LINES)),
        "training.save_every": min(loop.save_every, steps),
        "training.sample_every": min(loop.sample_every, steps),
    }
    if loop.ema is not None:
        settings["training.ema.decay"] = min(loop.ema.decay, round(1 - 10 / (steps + 10), 5))
    return settings


def with_settings(run: AnyRun, settings: Mapping[str, Any]) -> AnyRun:
    """Return a copy of a run with other settings: values by name, such as ``training.steps``."""
    data = config.to_dict(run)
    for name, value in settings.items():
        *parents, last = name.split(".")
        node = data
        for part in parents:
            node = node[part]
        node[last] = value
    return config.parse(AnyRun, data)
