"""How long a run takes, measured by a few of its steps, and the settings that fit a time."""

import logging
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from longtake import config, run_folder
from longtake.distributed import Ranks
from longtake.runs import AnyRun, Callbacks
from longtake.training.config import Schedule, TrainingConfig
from longtake.training.trainer import TrainingProgress

LOGGER = logging.getLogger("longtake")
FIRST_STEPS, LEAST_SECONDS, MOST_STEPS = 5, 3.0, 50
PRECISIONS, PRECISION_STEPS = ("float32", "bfloat16"), 4
PREVIEWS, PREVIEW_SHARE = 8, 0.05
SECONDS_BETWEEN_SAVES = 120
LEAST_STEPS, LOG_LINES = 10, 200
ENCODING_SHARE, FEWEST_CACHED = 0.25, 64


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Measured times of a training run, in seconds.

    Attributes:
        start: time before the first training step, without encoding.
        step: time of a training step.
        cpu_step: CPU time of a training step, of all threads together.
        preview: time of a preview with checkpoint and export.
        encode: time to encode a clip; 0 for a run that encodes nothing.
    """

    start: float
    step: float
    cpu_step: float
    preview: float
    encode: float = 0.0


def measure(run: AnyRun, folder: Path, callbacks: Callbacks, clips: int = 0) -> Speed:
    """Measure the speed of a run by a short run with the same settings.

    The first step, which is slower than others, is not counted.

    Args:
        run: config of the run.
        folder: folder for the short run, which is removed at the end.
        callbacks: of these ``encoding`` is called with the progress of encoding clips; the others
            are not called.
        clips: number of clips that the short run encodes, to measure that too; 0 for a run that
            encodes nothing. Their latents are removed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    run = _apart(run, folder, clips)
    try:
        speed = _trial(run, folder / "1", callbacks, FIRST_STEPS, clips)
        if speed.step * FIRST_STEPS >= LEAST_SECONDS:
            return speed
        steps = int(LEAST_SECONDS / max(speed.step, LEAST_SECONDS / MOST_STEPS))
        longer = _trial(run, folder / "2", callbacks, max(steps, FIRST_STEPS), clips)
        return replace(longer, start=speed.start, encode=speed.encode)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seconds_of_precisions(
    run: AnyRun, folder: Path, callbacks: Callbacks, clips: int = 0
) -> dict[str, float]:
    """Measure the CPU time of a training step, in seconds, in ``float32`` and in ``bfloat16``.

    It is the time of all threads of this process over a few steps, on which the load by other
    programs has little effect.

    Args:
        run: config of the run.
        folder: folder of the short runs, which is removed at the end.
        callbacks: of these ``encoding`` is called with the progress of encoding clips; the others
            are not called.
        clips: number of clips that the short runs encode; 0 for a run that encodes nothing.
    """
    shutil.rmtree(folder, ignore_errors=True)
    run, found = _apart(run, folder, clips), {}
    try:
        for name in PRECISIONS:
            tried = with_settings(run, {"training.precision": name, "validation": None})
            trial = _trial(tried, folder / name, callbacks, PRECISION_STEPS, clips, preview=False)
            found[name] = trial.cpu_step
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _apart(run: AnyRun, folder: Path, clips: int) -> AnyRun:
    """Config of a run with a latent cache of its own, of ``clips`` clips; unchanged for 0 clips."""
    if not clips:
        return run
    own = {"cache_folder": str(folder / "latents"), "cache.every": None, "cache.clips": clips}
    return with_settings(run, own)


def _trial(
    run: AnyRun,
    folder: Path,
    callbacks: Callbacks,
    steps: int,
    clips: int,
    *,
    preview: bool = True,
) -> Speed:
    """Measure a run in ``folder`` by its first ``steps`` steps, after ``clips`` clips are encoded.

    ``preview``: whether a preview is made, and timed, at the end.
    """
    loop = {"steps": steps, "log_every": 1, "save_every": steps}
    loop["sample_every"] = steps if preview else 0
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
    cpu_times: list[float] = []

    def follow(at: TrainingProgress) -> None:
        del at
        times.append(time.monotonic())
        cpu_times.append(time.process_time())

    def encoding(done: int, total: int) -> None:
        nonlocal encoded
        encoded = time.monotonic()
        callbacks.encoding(done, total)

    calls = Callbacks(training=follow, encoding=encoding)
    with _quiet():
        run_folder.start(run.model_copy(update={"training": training}), folder, Ranks(), calls)
    ended = time.monotonic()
    step = (times[-1] - times[0]) / (len(times) - 1)
    return Speed(
        start=max(times[0] - encoded - step, 0.0),
        step=step,
        cpu_step=(cpu_times[-1] - cpu_times[0]) / (len(times) - 1),
        preview=ended - times[-1],
        encode=(encoded - began) / clips if clips else 0.0,
    )


@contextmanager
def _quiet() -> Generator[None]:
    """Context manager without warnings, which the full run logs again if they hold for it."""
    level = LOGGER.level
    LOGGER.setLevel(logging.ERROR)
    try:
        yield
    finally:
        LOGGER.setLevel(level)


def fitted(run: AnyRun, speed: Speed, seconds: float, cooldown: float) -> Mapping[str, Any]:
    """Settings with which a run of measured ``speed`` takes about ``seconds``.

    They are those of ``scheduled`` and the steps between checkpoints, previews and exports, as
    values by name ``a.b``. ``cooldown`` is the share of the steps over which the learning rate
    falls to 0.
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


def clips_to_encode(clips: int, speed: Speed, seconds: float) -> tuple[Mapping[str, Any], float]:
    """Settings of a latent cache, as values by name, and the seconds that encoding it takes.

    The cache gets all ``clips`` of the footage, which start a third of a clip apart, or as many as
    can be encoded in a quarter of ``seconds``, but at least 64.
    """
    if not speed.encode:
        return {}, 0.0
    most = int(ENCODING_SHARE * seconds / speed.encode)
    if most >= clips:
        return {}, clips * speed.encode
    clips = max(min(FEWEST_CACHED, clips), most)
    return {"cache.clips": clips}, clips * speed.encode


def rescheduled(training: TrainingConfig, step: int, seconds: float, pace: float) -> Schedule:
    """New number of steps, and of cooldown steps, with which a run takes ``seconds`` more.

    At least one more step is made. The learning rate of the next step is what it would have been,
    or lower if it has to fall earlier than planned; once it falls it does not rise again.

    Args:
        training: settings of the run so far.
        step: number of steps done.
        seconds: seconds that are left.
        pace: seconds of a step.
    """
    left = max(int(seconds / pace), 1)
    cooldown = training.cooldown_steps
    falling = cooldown and (training.steps - step) / cooldown
    if cooldown and falling < 1:
        cooldown = round(left / max(falling, 1 / cooldown))
    elif cooldown:
        cooldown = min(round(cooldown * (step + left) / training.steps), left)
    return Schedule(steps=step + left, cooldown_steps=cooldown)


def scheduled(run: AnyRun, steps: int, cooldown: float) -> dict[str, Any]:
    """Settings of a run of ``steps`` steps: learning rate schedule, EMA, logging, checkpoints.

    They are values by name, as ``a.b``, also for previews. ``cooldown`` is the share of the steps
    over which the learning rate falls to 0.
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
    """Return a copy of a run with other settings: values by name, such as ``training.steps``.

    Raises:
        ConfigError: a value is not valid.
    """
    data = config.to_dict(run)
    for name, value in settings.items():
        *parents, last = name.split(".")
        node = data
        for part in parents:
            node = node[part]
        node[last] = value
    return config.parse(AnyRun, data)
