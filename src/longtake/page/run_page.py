"""The page of a training run: progress, charts of its log, previews, settings."""

import logging
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from longtake import config
from longtake.checkpoint import CheckpointError
from longtake.documents import DocumentError, parse_json, read_text
from longtake.page.charts import line_chart
from longtake.page.document import PAGE, bar, duration, write_document
from longtake.training.config import Schedule
from longtake.training.log import LOG, read_log
from longtake.training.trainer import TrainingProgress

LOGGER = logging.getLogger("longtake")
LARGEST = 1e38  # of a number that is drawn: about the largest float32
SECONDS_BETWEEN, SHARE_OF_TIME = 5.0, 0.03
FIRST = (
    "loss",
    "validation_loss",
    "psnr",
    "ssim",
    "lpips",
    "efficientnet",
    "rfvd",
    "fvd",
    "kvd",
    "random_features_rfd",
    "random_features_fd",
    "random_features_kd",
)
"""Names of logged values whose charts come first on a run's page; other charts are folded away."""

TITLES = {
    "loss": "training loss",
    "validation_loss": "validation loss",
    "psnr": "PSNR of reconstructions, dB",
    "ssim": "SSIM of reconstructions",
    "lpips": "LPIPS of reconstructions",
    "efficientnet": "perceptual distance of reconstructions",
    "rfvd": "FVD of reconstructions",
    "fvd": "FVD of samples",
    "kvd": "KVD of samples",
    "random_features_rfd": "Fréchet distance of random features of reconstructions (not FVD)",
    "random_features_fd": "Fréchet distance of random features (not FVD)",
    "random_features_kd": "kernel distance of random features (not KVD)",
    "lr": "learning rate",
    "samples_per_second": "samples per second",
}
BY_PROTOCOL = FIRST[FIRST.index("rfvd") :]
"""Names of logged values that depend on the evaluation protocol of the log, so on its clips."""

EARLIER_SHOWN = 6
RATE_LINES = 5  # logging steps over which the rate for the time left is measured


@dataclass(frozen=True)
class RunFiles:
    """Reads the files in a training run's folder; a missing or damaged file counts as empty."""

    folder: Path

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The run's config, as JSON data."""
        with suppress(ValueError):
            return config.read(self.folder / "config.yaml")
        return {}

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        """Lines of the run's log as JSON data, oldest first; empty if there is no log.

        Lines that are broken, or have no numbers as step and time, are left out.
        """
        path, found = self.folder / LOG, []
        for line in read_log(path) if path.exists() else ():
            with suppress(DocumentError):
                found.append(parse_json(line))
        return [line for line in found if isinstance(line, dict) and _is_placed(line)]

    @property
    def steps(self) -> int:
        """Number of training steps of the whole run; 0 if unknown."""
        return int((self.settings.get("training") or {}).get("steps", 0))

    @property
    def step(self) -> int:
        """Number of the last logged training step; 0 if none is logged."""
        return self.lines[-1]["step"] if self.lines else 0

    @property
    def protocol(self) -> str:
        """Evaluation protocol that is logged last: name, number of clips, hash; empty if none."""
        logged = (line.get("protocol") for line in reversed(self.lines))
        return next((found for found in logged if isinstance(found, str)), "")

    @property
    def seconds(self) -> float:
        """Time that the run has trained, in seconds; 0 if the log has no times."""
        return max((line.get("seconds", 0.0) for line in self.lines), default=0.0)

    @property
    def seconds_left(self) -> float | None:
        """Time to the last step, in seconds, at the latest logged speed; None if unknown."""
        timed = [line for line in self.lines if "samples_per_second" in line and "seconds" in line]
        if len(timed) < 2:
            return None
        first, last = timed[-min(len(timed), RATE_LINES)], timed[-1]
        each = (last["seconds"] - first["seconds"]) / max(last["step"] - first["step"], 1)
        return max(0.0, each * (self.steps - self.step))

    def series(self) -> dict[str, tuple[list[float], list[float]]]:
        """Logged values over time, by name: positions, then finite values.

        Positions are times in minutes; if the log has no times, they are steps.
        """
        found: dict[str, tuple[list[float], list[float]]] = {}
        timed = self.seconds > 0
        for line in self.lines:
            at = line.get("seconds", 0.0) / 60 if timed else line["step"]
            for name, value in line.items():
                if _is_number(value) and name not in ("step", "seconds"):
                    xs, ys = found.setdefault(name, ([], []))
                    xs.append(float(at))
                    ys.append(float(value))
        return found

    def previews(self) -> list[Path]:
        """Folders of previews, the earliest step first."""
        return sorted(path.parent for path in self.folder.glob("samples/step_*/sheet.png"))


def _is_placed(line: Mapping[str, Any]) -> bool:
    """Whether a line of a log has a whole step, and no time or a number of seconds."""
    return isinstance(line.get("step"), int) and _is_number(line.get("seconds", 0.0))


def _is_number(value: Any) -> bool:
    """Whether a logged value is a number that can be drawn."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= LARGEST


def write_run_page(folder: Path, running: bool) -> None:
    """Write ``index.html`` of a run's folder from the files in it.

    While the run is ``running``, browsers reload it.

    Raises:
        CheckpointError: the file cannot be written.
    """
    run = RunFiles(folder)
    name = escape(folder.resolve().name)
    body = f"<h1>{name}</h1>{progress(run, running=running)}{details(run, '')}"
    write_document(folder / PAGE, folder.resolve().name, body, running=running)


def progress(run: RunFiles, *, running: bool) -> str:
    """HTML of the run's step, speed and time trained, a bar, and time left if it is ``running``."""
    steps = run.steps
    parts = [f"step {run.step:,} of {steps:,}" if steps else f"step {run.step:,}"]
    logged = (line.get("samples_per_second") for line in run.lines)
    rates = [rate for rate in logged if _is_number(rate)]
    if rates:
        parts.append(f"{rates[-1]:.3g} samples/s")
    parts.append(f"{duration(run.seconds)} trained")
    left = run.seconds_left
    if not running:
        parts.append("finished" if run.step >= steps else "stopped; the same command continues")
    elif left is not None:
        parts.append(f"about {duration(left)} left")
    share = run.step / steps if steps else 0.0
    return f"<p>{' · '.join(parts)}</p>{bar(share)}"


def details(run: RunFiles, prefix: str) -> str:
    """Charts, previews and settings of a run as HTML.

    ``prefix`` leads from the page to the run's folder, such as ``runs/denoiser/``.
    """
    return _charts(run) + _previews(run, prefix) + _settings(run)


@contextmanager
def followed(
    write: Callable[[bool], None], report: Callable[[TrainingProgress], Schedule | None]
) -> Generator[Callable[[TrainingProgress], Schedule | None]]:
    """Context manager that keeps a run's HTML page up to date while it trains.

    Yields a callback for each logging step, which calls ``report``, returns its result (a new end
    of the run, or None), and rewrites the page by ``write(True)`` in at most 3 % of the time. In
    the end the page is written by ``write(False)``.
    """
    due = 0.0

    def write_timed(running: bool) -> None:
        nonlocal due
        began = time.monotonic()
        try:
            write(running)
        except (OSError, CheckpointError, DocumentError) as error:
            LOGGER.warning("the run's HTML page cannot be written, training continues: %s", error)
        ended = time.monotonic()
        due = ended + max(SECONDS_BETWEEN, (ended - began) / SHARE_OF_TIME)

    def follow(at: TrainingProgress) -> Schedule | None:
        end = report(at)
        if time.monotonic() >= due:
            write_timed(True)
        return end

    try:
        yield follow
    finally:
        write_timed(False)


def _charts(run: RunFiles) -> str:
    unit = "minutes" if run.seconds else "steps"
    series = {name: pair for name, pair in run.series().items() if len(pair[1]) > 1}

    def title(name: str) -> str:
        by = f"; {run.protocol}" if name in BY_PROTOCOL and run.protocol else ""
        return f"{TITLES.get(name, name)}{by}"

    def drawn(names: list[str]) -> str:
        charts = (line_chart(title(name), *series[name], unit) for name in names)
        return f'<div class="charts">{"".join(charts)}</div>' if names else ""

    first = [name for name in FIRST if name in series]
    others = [name for name in series if name not in first]
    folded = f"<details><summary>More charts</summary>{drawn(others)}</details>" if others else ""
    return drawn(first) + folded


def _previews(run: RunFiles, prefix: str) -> str:
    found = run.previews()
    if not found:
        return ""
    *earlier, last = found
    spread = earlier[:: -(-len(earlier) // EARLIER_SHOWN)] if earlier else []
    sheets = "".join(f"<figure>{_sheet(run, x, prefix)}</figure>" for x in reversed(spread))
    older = f'<h3>Earlier</h3><div class="steps">{sheets}</div>' if sheets else ""
    return f"<h3>Previews</h3>{_videos(run, last, prefix)}{_sheet(run, last, prefix)}{older}"


def _videos(run: RunFiles, folder: Path, prefix: str) -> str:
    names = [link(prefix, path.relative_to(run.folder)) for path in sorted(folder.glob("*.mp4"))]
    return videos(names[:4])


def videos(links: list[str], *, wide: bool = False) -> str:
    """Videos of some URLs side by side as HTML, played in a loop; ``wide`` ones have controls."""
    controls, style = (" controls", " wide") if wide else ("", "")
    shown = (f'<video src="{src}" autoplay loop muted{controls}></video>' for src in links)
    return f'<div class="videos{style}">{"".join(shown)}</div>'


def link(prefix: str, path: Path) -> str:
    """URL of ``path`` in a run's folder, to which ``prefix`` leads from the page."""
    return quote(f"{prefix}{path.as_posix()}")


def _sheet(run: RunFiles, folder: Path, prefix: str) -> str:
    step = int(folder.name.removeprefix("step_"))
    src = link(prefix, folder.relative_to(run.folder) / "sheet.png")
    return f'<figcaption>step {step:,}</figcaption><img src="{src}" alt="previews, step {step}">'


def _settings(run: RunFiles) -> str:
    path = run.folder / "config.yaml"
    if not path.exists():
        return ""
    text = escape(read_text(path))
    return f"<details><summary>Settings</summary><pre>{text}</pre></details>"
