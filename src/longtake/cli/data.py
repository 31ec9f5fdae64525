"""Commands about data: index, check, contact sheet, preparation, export of synthetic data sets."""

import logging
import math
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from longtake.cli import arguments
from longtake.config import nearest, plural

if TYPE_CHECKING:
    from longtake.data.clips import ClipSource

app = typer.Typer(
    help="Inspect, check and prepare data; export synthetic data sets.", no_args_is_help=True
)

WORLDS = ("sky", "marbles", "doom")

Source = Annotated[
    str, Argument(help=f"a folder of videos, a video, or a synthetic data set: {', '.join(WORLDS)}")
]
Isolated = Annotated[
    bool, Option("--sandbox", help="decode in child processes with limits on memory and time")
]
Damaged = Annotated[
    Literal["refuse", "keep"],
    Option(help="with --sandbox: what to do with videos whose damage FFmpeg conceals"),
]
Layout = Annotated[
    str, Option(help="how a folder is laid out: folder, ucf101, sky_timelapse or taichi")
]


@app.command()
def index(source: Source, overrides: arguments.Overrides = None, layout: Layout = "folder") -> None:
    """Print what a source holds.

    Number, length, frame rates and sizes of its videos, and its clips and classes.
    """
    from longtake.data.cache_plan import CachePlan, PlannedClips

    opened = _open(source, layout, overrides)
    infos, plan = opened.infos(), opened.plan
    seconds = math.fsum(info.seconds for info in infos)
    rates = Counter(f"{float(info.fps):.5g}" for info in infos)
    sizes = Counter(f"{info.height}x{info.width}" for info in infos)
    print(f"{source}: {plural(len(opened), 'video')}, {_duration(seconds)}")
    print(f"frames/s: {_most(rates)}; {opened.fps:g} in a clip")
    print(f"height x width: {_most(sizes)}; {plan.height}x{plan.width} in a clip")
    if not opened.rendered:
        print(f"cuts: {_cuts(Path(source))}")
    cached = len(PlannedClips(opened, CachePlan()))
    print(f"clips: {cached} of {plural(plan.frames, 'frame')} in a latent cache by default")
    for what, videos in (("rejected", opened.rejected()), ("passed over", opened.passed_over())):
        if videos:
            print(f"{what}: {len(videos)}, such as {': '.join(videos[0])}")
    for number, name in enumerate(opened.classes):
        print(f"class {number}: {name}")


@app.command()
def check(
    source: Source,
    overrides: arguments.Overrides = None,
    layout: Layout = "folder",
    sandbox: Isolated = False,
    damaged: Damaged = "refuse",
) -> None:
    """Read every frame of every video; lists faults.

    The exit code is 1 if a video cannot be used. With --sandbox, child processes with limits open
    the videos, and damage that FFmpeg conceals and only logs counts too.
    """
    from longtake.cli.progress import frames as progress
    from longtake.data.scene_files import NEEDS_SANDBOX

    if damaged == "keep" and not sandbox:
        raise ValueError(NEEDS_SANDBOX)
    if sandbox:
        _check_isolated(Path(source), keep=damaged == "keep")
    opened = _open(source, layout, overrides)
    with _not_logged():  # below they are printed
        faults: list[object] = [*opened.rejected()]
    for path, reason in [*opened.rejected(), *opened.passed_over()]:
        print(f"{path}: {reason}")
    with progress("check", unit=" videos") as report:
        for number in range(len(opened)):
            try:
                _check(opened, number)
            except ValueError as error:
                faults.append(error)
                print(error)
            report(number + 1, len(opened))
    passed = f", {plural(n, 'file')} passed over" if (n := len(opened.passed_over())) else ""
    videos = plural(len(opened), "video")
    print(f"{source}: {videos}, {len(faults)} rejected{passed}", file=sys.stderr)
    raise typer.Exit(1 if faults else 0)


@app.command()
def sheet(
    source: Source,
    overrides: arguments.Overrides = None,
    layout: Layout = "folder",
    out: Annotated[Path, Option("--out", "-o", help="PNG to write")] = Path("sheet.png"),
    rows: Annotated[int, Option(min=1, help="number of videos")] = 8,
    columns: Annotated[int, Option(min=1, help="most frames shown of a video's clip")] = 8,
    overwrite: arguments.Overwrite = False,
) -> None:
    """Write a contact sheet: a row for each of some videos, frames of one training clip of it."""
    from longtake.noise import generator
    from longtake.video import contact_sheet, write_image

    opened = _open(source, layout, overrides)
    count = min(rows, len(opened))
    shown = [number * len(opened) // count for number in range(count)]
    clips = [opened.clip(number, generator(0, "sheet", number)) for number in shown]
    image = contact_sheet([clip.frames for clip in clips], frames_per_row=columns)
    write_image(out, image, overwrite=overwrite)
    for clip in clips:
        print(f"{clip.path}: {clip.caption or ''}")
    print(out)


@app.command()
def prepare(  # noqa: PLR0913
    footage: Annotated[Path, Argument(help="a folder of videos, or one video")],
    out: arguments.FolderOut,
    size: Annotated[int, Option(min=2, help="shorter side of frames in pixels")] = 256,
    kind: Annotated[str, Option("--format", help="mp4, or lossless mkv")] = "mp4",
    cuts: Annotated[bool, Option(help="begin a new file where the scene changes")] = True,
    shortest: Annotated[int, Option(min=1, help="fewest frames of a scene")] = 16,
    processes: Annotated[int | None, Option(min=1, help="processes; default: one per core")] = None,
    sandbox: Isolated = False,
    damaged: Damaged = "refuse",
    overwrite: arguments.Overwrite = False,
) -> None:
    """Write footage as small files, which are read fast.

    There is one file per scene. After a stop the same command continues. OUT is used like any
    footage; OUT/manifest.jsonl lists the source of each file.
    """
    from longtake import config
    from longtake.cli.progress import frames as progress
    from longtake.data.prepare import PrepareSettings, prepare

    given = {"size": size, "format": kind, "cuts": cuts, "shortest": shortest}
    given |= {"sandbox": sandbox, "damaged": damaged}
    settings = config.parse(PrepareSettings, given)
    with progress("prepare", unit=" videos") as report:
        videos = prepare(
            footage, out, settings, processes=processes, overwrite=overwrite, report=report
        )
    for video in videos:
        if video.fault:
            print(f"{video.source}: {video.fault}")
    scenes = [scene for video in videos for scene in video.scenes]
    if not scenes:
        raise ValueError(
            f"{out}: no scene was written; expected a readable video with a scene of {shortest} "
            "frames or more"
        )
    faulty = sum(bool(video.fault) for video in videos)
    dropped = sum(video.dropped for video in videos)
    frames = plural(sum(scene.frames for scene in scenes), "frame")
    print(
        f"{out}: {plural(len(scenes), 'scene')}, {frames} of {plural(len(videos), 'video')}; "
        f"{faulty} damaged, {plural(dropped, 'frame')} in shorter scenes left out"
    )


@app.command()
def export(
    world: Annotated[str, Argument(help=f"one of {', '.join(WORLDS)}")],
    out: arguments.FolderOut,
    videos: Annotated[int, Option(min=1, help="number of videos")] = 100,
    frames: Annotated[int, Option(min=1, help="length of each video")] = 256,
    size: Annotated[str, Option(help="size of frames in pixels, 64 or HEIGHTxWIDTH")] = "64",
    split: Annotated[str, Option(help="train or test")] = "train",
    overwrite: arguments.Overwrite = False,
) -> None:
    """Write videos of a synthetic data set, with captions.

    They are read like real footage.
    """
    from longtake.cli.progress import frames as progress
    from longtake.data.export import export_world
    from longtake.data.synthetic import SyntheticSource

    if world not in WORLDS:
        raise ValueError(f"there is no synthetic data set {world!r}; {nearest(world, WORLDS)}")
    height, width = arguments.size(size)
    settings = [f"plan.height={height}", f"plan.width={width}", f"split={split}"]
    opened = _open(world, "folder", settings)
    assert isinstance(opened, SyntheticSource)
    with progress(world) as report:
        export_world(opened, out, videos=videos, frames=frames, overwrite=overwrite, report=report)
    print(f"{out}: {plural(videos, 'video')} of {plural(frames, 'frame')}")


@contextmanager
def _not_logged() -> Generator[None]:
    """Context manager in which no warnings are logged."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _cuts(place: Path) -> str:
    """Number of scenes, if ``data prepare`` made the folder; otherwise how they are found."""
    from longtake.data.prepare import read_manifest

    videos = read_manifest(place) if place.is_dir() else []
    if not videos:
        return "not searched for; longtake data prepare finds them, and writes a file per scene"
    scenes = sum(len(video.scenes) for video in videos)
    return f"{plural(scenes, 'scene')} of {plural(len(videos), 'video')}"


def _check_isolated(folder: Path, *, keep: bool) -> None:
    """Decode the videos of a folder in a sandbox, print their faults and end the command.

    With ``keep``, damage that FFmpeg conceals does not count as a fault.
    """
    from longtake.cli.progress import frames as progress
    from longtake.data.index import videos_below
    from longtake.video.sandbox import Sandbox

    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; --sandbox checks folders of videos")
    videos, faults, repaired = videos_below(folder), 0, 0
    with progress("check", unit=" videos") as report, Sandbox() as sandbox:
        for number, path in enumerate(videos):
            try:
                for _ in sandbox.frames(path):
                    pass
                fault = f"{path}: damaged ({sandbox.damage[0]})" if sandbox.damage else ""
            except ValueError as error:
                fault = str(error)
                faults += 1
            else:
                repaired += bool(fault)
            if fault:
                print(fault)
            report(number + 1, len(videos))
    found = plural(len(videos), "video")
    print(f"{folder}: {found}, {faults} rejected, {repaired} damaged", file=sys.stderr)
    raise typer.Exit(1 if faults or (repaired and not keep) else 0)


def _check(source: "ClipSource", number: int) -> None:
    """Read all frames of a video, or a clip of a rendered one; a VideoError if some are missing."""
    from longtake.noise import generator
    from longtake.video import VideoError, probe, stream_video

    if source.rendered:
        source.clip(number, generator(0, "check", number))
        return
    path = source.info(number).path
    there, stated = sum(len(chunk) for chunk in stream_video(path)), probe(path).frames
    if there != stated:
        raise VideoError(
            f"{path}: has {plural(there, 'frame')}, its headers say {stated}; repair or remove it"
        )


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.2f} hours" if seconds >= 360 else f"{seconds:.1f} seconds"


def _most(counts: Counter[str]) -> str:
    """The three most frequent values, with their numbers of videos, as text."""
    most = counts.most_common(3)
    shown = ", ".join(f"{value} ({plural(videos, 'video')})" for value, videos in most)
    others = len(counts) - 3
    return f"{shown} and {plural(others, 'other')}" if others > 0 else shown


def _open(source: str, layout: str, overrides: list[str] | None) -> "ClipSource":
    from longtake import config
    from longtake.run_registry import AnySource

    start = {"kind": source} if source in WORLDS else {"kind": layout, "path": source}
    return config.parse(AnySource, config.override(AnySource, start, overrides or []))
