"""Tar files are read like folders: videos and frames in place, and nothing that leads out."""

import io
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtake.data.captions import CaptionBeside
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.data.index import search
from longtake.data.prepare import PrepareSettings, prepare
from longtake.evaluation.opening import open_videos
from longtake.noise import generator
from longtake.video import VideoError, VideoWriter, archive, open_video, probe, read_clip

PLAN = ClipPlan(frames=4, height=16, width=16)
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def picture(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (level, 0, 255 - level)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    random = np.random.default_rng(0)
    with VideoWriter(path, 8.0, key_frames=4) as writer:
        writer.write(random.integers(255, size=(20, 16, 16, 3), dtype=np.uint8))
    return path.read_bytes()


def write_tar(path: Path, members: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def shards(tmp_path: Path, film: bytes) -> Path:
    frames = {f"day/still.{n:04d}.png": picture(10 * n) for n in range(6)}
    inside = {f"night/run/{n}.png": picture(20 * n) for n in range(5)}
    first = {"day/sea.mp4": film, "day/sea.txt": b"a calm  sea\n", **frames}
    second = {**inside, "night/b.mp4": film, "night/b.json": b'{"caption": "a storm", "n": 1}'}
    second |= {"night/run.json": b'{"n": 2}'}
    write_tar(tmp_path / "data" / "000.tar", first)
    write_tar(tmp_path / "data" / "sub,,x:y" / "001.tar", second)
    return tmp_path / "data"


def unpacked(shards: Path, to: Path) -> Path:
    for path in sorted(shards.rglob("*.tar")):
        with tarfile.open(path) as tar:
            tar.extractall(to / path.relative_to(shards), filter="data")
    stills = to / "000.tar" / "day" / "still"
    stills.mkdir()
    for path in [*stills.parent.glob("still.*.png")]:
        path.rename(stills / path.name.removeprefix("still."))
    return to


def test_a_shard_is_read_as_its_unpacked_members_are(shards: Path, tmp_path: Path):
    folder = unpacked(shards, tmp_path / "folder")
    packed, plain = (VideoFolder(path=p, plan=PLAN, labels="folder") for p in (shards, folder))
    names = [info.path.relative_to(shards).as_posix() for info in packed.infos()]
    assert names[:2] == ["000.tar/day/sea.mp4", "000.tar/day/still"]
    assert names[2:] == ["sub,,x:y/001.tar/night/b.mp4", "sub,,x:y/001.tar/night/run"]
    assert packed.contents() == plain.contents()
    assert packed.classes == plain.classes == ("day", "sub,,x:y")
    for index, info in enumerate(packed.infos()):
        other = folder / names[index]
        assert info.frames == probe(other).frames
        assert np.array_equal(packed.read(index, 1, 2, 2), read_clip(other, 1, 2, 2))
        assert packed.clip(index, generator(0, "x")).frames.shape == (4, 16, 16, 3)
    assert np.array_equal(open_video(packed.info(0).path)[0], open_video(folder / names[0])[0])


def test_captions_are_members_beside_the_videos(shards: Path):
    source = VideoFolder(path=shards, plan=PLAN, captions=CaptionBeside())
    found = {info.path.name: source.caption(n) for n, info in enumerate(source.infos())}
    assert found == {"sea.mp4": "a calm sea", "b.mp4": "a storm"}


def test_one_shard_is_a_source_and_can_be_split_and_prepared(shards: Path, tmp_path: Path):
    shard = shards / "000.tar"
    halves = [VideoFolder(path=shard, plan=PLAN, split=s) for s in ("train", "validation")]
    assert sum(info.frames for half in halves for info in half.infos()) >= 20
    opened = open_videos(str(shard))
    assert opened is not None
    assert len(opened) == 2
    videos = prepare(shard, tmp_path / "out", PrepareSettings(size=16, shortest=4), processes=1)
    assert [video.source for video in videos] == ["000.tar/day/sea.mp4", "000.tar/day/still"]
    captions = [path.read_text() for path in (tmp_path / "out").rglob("*.txt")]
    assert captions == ["a calm sea\n"] * len(videos[0].scenes)
    assert len(VideoFolder(path=tmp_path / "out", plan=PLAN)) >= 2


@pytest.mark.parametrize("form", FORMATS)
def test_long_names_are_read(tmp_path: Path, film: bytes, form: int):
    long = "x" * (90 if form == tarfile.USTAR_FORMAT else 150)
    name = f"{long}/\u00e9.mp4"
    path = write_tar(tmp_path / "a.tar", {name: film, "b.mp4": film}, form)
    assert [*archive.contents(path).files] == [name, "b.mp4"]
    assert probe(path / name).frames == 20


def hostile(path: Path, film: bytes) -> None:
    entries = {
        "../out.mp4": {},
        "/etc/out.mp4": {},
        "link.mp4": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        "hard.mp4": {"type": tarfile.LNKTYPE, "linkname": "good.mp4"},
        "pipe.mp4": {"type": tarfile.FIFOTYPE},
        "good.mp4": {},
    }
    with tarfile.open(path, "w") as tar:
        for name, fields in entries.items():
            info = tarfile.TarInfo(name)
            for field, value in fields.items():
                setattr(info, field, value)
            info.size = 0 if fields else len(film)
            tar.addfile(info, None if fields else io.BytesIO(film))


def test_what_leads_out_of_a_tar_file_is_passed_over(tmp_path: Path, film: bytes):
    hostile(tmp_path / "a.tar", film)
    found = search(tmp_path)
    assert [path.name for path in found.videos] == ["good.mp4"]
    reasons = dict(found.passed_over)
    assert len(reasons) == 5
    assert set(reasons.values()) == {"its name leads out of the tar file", "not a regular file"}
    with pytest.raises(VideoError, match="no such"):
        probe(tmp_path / "a.tar" / "link.mp4")


def long_header(data: bytes) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    return info.tobuf(tarfile.GNU_FORMAT) + data


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:2000], "cut off"),
        (long_header, "has a header of 1073741824 bytes"),
        (lambda data: b"\x1f\x8b" + data, "not a tar file, or a compressed one"),
        (lambda data: b"", "not a tar file"),
    ],
)
def test_a_broken_tar_file_is_named_and_the_others_are_read(
    shards: Path, damage: Callable[[bytes], bytes], said: str
):
    shutil.copy(shards / "000.tar", shards / "good.tar")
    (shards / "000.tar").write_bytes(damage((shards / "good.tar").read_bytes()))
    found = search(shards)
    assert len(found.videos) == 4
    assert any(said in reason for _, reason in found.passed_over)


def test_a_tar_file_that_is_written_again_is_read_again(tmp_path: Path, film: bytes):
    path = write_tar(tmp_path / "a.tar", {"a.mp4": film})
    assert len(search(tmp_path).videos) == 1
    write_tar(path, {"a.mp4": film, "b.mp4": film})
    assert len(search(tmp_path).videos) == 2
