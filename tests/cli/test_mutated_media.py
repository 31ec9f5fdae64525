"""Broken videos, arrays and official weights, drawn from a seed: refused, or valid."""

import io
import json
import random
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from convert import official_lvdm, official_pvdm
from mutations import COUNT, Tally, changed, torn
from safetensors.numpy import save

from longtake.checkpoint import is_finite, read_tensors
from longtake.convert.from_c3d import convert_c3d
from longtake.convert.from_i3d import convert_i3d
from longtake.convert.from_lvdm import read_lvdm
from longtake.convert.from_pvdm import read_pvdm
from longtake.data.captions import CaptionBeside
from longtake.data.clips import ClipPlan
from longtake.data.folders import VideoFolder
from longtake.evaluation.opening import open_videos
from longtake.features.c3d import C3D, MEAN, C3DConfig
from longtake.model import VideoModel
from longtake.video import VideoWriter, open_video, stream_video

FRAMES = np.random.default_rng(0).integers(256, size=(6, 16, 20, 3), dtype=np.uint8)
ARRAY = FRAMES[None].repeat(2, 0)
MOST_VALUES = 1 << 24
LOSSLESS = (".mkv", ".png")
CAPTION = "a calm sea"
NAMES = [
    "a.mkv",
    "day/sea.mkv",
    "day",
    "day/",
    "../a.mkv",
    "/etc/a.mkv",
    "a/../../b.mkv",
    ".",
    "",
    "./",
    ".hidden/a.mkv",
    "a\nb.mkv",
    "a.tar/b.mkv",
    "a\\..\\b.mkv",
    "\udcff.mkv",
    "x" * 300 + ".mkv",
    "x/" * 3000 + "a.mkv",
    "\u2028.mkv",
    "night/b.9.png",
    "night/b.x9.png",
    "day/sea.json",
    "a.png",
]
KINDS = [bytes([kind]) for kind in b"0123456789xgLKSVDMNA\0\xff"]


def written(path: Path) -> Path:
    with VideoWriter(path, 8.0) as writer:
        writer.write(FRAMES)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".gif", ".png"])
def test_videos_with_broken_bytes_are_refused(suffix: str, tmp_path: Path, tally: Tally):
    """Frames of an accepted lossless file are a beginning of those that were written."""
    draw, path = random.Random(4), written(tmp_path / f"film{suffix}")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    whole = [file.read_bytes() for file in files]
    for _ in range(COUNT // 2):
        number = draw.randrange(len(files))
        files[number].write_bytes(torn(whole[number], draw))

        def read() -> np.ndarray:
            info = VideoFolder(path=path, plan=ClipPlan(frames=1)).infos()[0]
            chunks = [*stream_video(path)]
            assert {chunk.shape[1:] for chunk in chunks} == {(info.height, info.width, 3)}
            return np.concatenate(chunks)

        if (frames := tally(read)) is not None:
            assert frames.dtype == np.uint8
            assert 0 < frames.size < MOST_VALUES
            if suffix == ".mkv":
                assert np.array_equal(frames, FRAMES[: len(frames)])
        files[number].write_bytes(whole[number])
    assert np.array_equal(open_video(path)[0], FRAMES) or suffix not in LOSSLESS


def array_bytes(suffix: str, compressed: bool, draw: random.Random) -> bytes:
    """An array file with broken bytes, or with a header of other values."""
    file = io.BytesIO()
    if suffix == ".safetensors":
        data = save({"videos": ARRAY})
        (length,) = struct.unpack("<Q", data[:8])
        if draw.randrange(2):
            header = json.dumps(changed(json.loads(data[8 : 8 + length]), draw)).encode()
            return struct.pack("<Q", len(header)) + header + data[8 + length :]
        return torn(data, draw)
    if suffix == ".npz":
        (np.savez_compressed if compressed else np.savez)(file, videos=ARRAY)
        return torn(file.getvalue(), draw)
    np.save(file, ARRAY)
    data = file.getvalue()
    if draw.randrange(2):
        end = data.index(b"\n") + 1
        about = {"descr": "|u1", "fortran_order": False, "shape": list(ARRAY.shape)}
        header = repr(changed(about, draw)).replace("[", "(").replace("]", ")").encode()
        if len(header) < end - 11:
            return data[:10] + header.ljust(end - 11) + b"\n" + data[end:]
    return torn(data, draw)


@pytest.mark.parametrize(
    ("suffix", "compressed"),
    [(".npy", False), (".npz", False), (".npz", True), (".safetensors", False)],
)
def test_arrays_with_broken_files_are_refused(
    suffix: str, compressed: bool, tmp_path: Path, tally: Tally
):
    """Pixels of an accepted file that is not compressed stand in it, one after another."""
    draw, path = random.Random(5), tmp_path / f"videos{suffix}"
    for _ in range(COUNT // 2):
        path.write_bytes(data := array_bytes(suffix, compressed, draw))

        def read() -> np.ndarray:
            source = open_videos(str(path))
            assert source is not None
            return np.stack([source.read(n, 0, source.info(n).frames) for n in range(len(source))])

        if (videos := tally(read)) is not None:
            assert videos.ndim == 5
            assert videos.dtype == np.uint8
            assert videos.shape[-1] == 3
            assert compressed or videos.tobytes() in data


def header(draw: random.Random, name: str, size: int) -> bytes:
    """Header of a tar entry whose fields have been changed, mostly with a right checksum."""
    info = tarfile.TarInfo(draw.choice(NAMES) if draw.randrange(2) else name)
    info.size = draw.choice([size, size, 0, 1, 511, 1 << 20, 1 << 33, 1 << 62])
    info.type = draw.choice([tarfile.REGTYPE, tarfile.REGTYPE, *KINDS])
    info.linkname = draw.choice(["", "", *NAMES])
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    if not draw.randrange(3):
        start, end = draw.choice(
            [(0, 100), (124, 136), (148, 157), (157, 257), (257, 265), (345, 500)]
        )
        block[-512 + start : end - 512 or None] = draw.choice(
            [bytes(end - start), b"\xff" * (end - start), draw.randbytes(end - start)]
        )
        if draw.randrange(3):
            block[-364:-356] = b" " * 8
            block[-364:-356] = b"%06o\0 " % sum(block[-512:])
    return bytes(block)


def extended(draw: random.Random) -> bytes:
    """An extended header whose records set names and sizes, or are not valid."""
    keys, values = ["path", "linkpath", "size", "x", "GNU.sparse.size", ""], [*NAMES, "9", "-1"]
    records = b""
    for _ in range(draw.randint(1, 3)):
        record = f" {draw.choice(keys)}={draw.choice(values)}\n".encode("utf-8", "surrogateescape")
        size = len(record) + draw.choice([1, 2, 2, 2, 3, 9])
        records += str(size).encode() + record
    info = tarfile.TarInfo("x")
    info.type = draw.choice([tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
    info.size = draw.choice([len(records), len(records), len(records) - 1, 1 << 40])
    return info.tobuf(tarfile.GNU_FORMAT) + records.ljust(-len(records) % 512 + len(records), b"\0")


def shard(members: dict[str, bytes], draw: random.Random) -> bytes:
    """A tar file with broken bytes, or in which entries are changed, lost, doubled or exchanged."""
    entries, broken = [*members.items()], draw.randrange(len(members))
    if draw.randrange(2):
        entries[broken] = draw.choice(entries)
    if not draw.randrange(3):
        draw.shuffle(entries)
    parts = []
    for number, (name, data) in enumerate(entries):
        about = tarfile.TarInfo(name)
        about.size = len(data)
        head = about.tobuf(tarfile.PAX_FORMAT)
        if number == broken:
            head = extended(draw) * draw.randrange(2) + header(draw, name, len(data))
        parts.append(head + data.ljust(-len(data) % 512 + len(data), b"\0"))
    data = b"".join([*parts, bytes(1024)])
    return data if draw.randrange(3) else torn(data, draw)


def test_tar_files_with_broken_bytes_are_refused(tmp_path: Path, tally: Tally):
    """What is read of an accepted one stands in it: lossless frames, or captions."""
    draw, film = random.Random(8), written(tmp_path / "film.mkv").read_bytes()
    pictures = sorted(written(tmp_path / "film.png").iterdir())
    members = {"day/sea.mkv": film, "day/sea.txt": CAPTION.encode()}
    members |= {f"night/b.{n:04d}.png": p.read_bytes() for n, p in enumerate(pictures)}
    members |= {"night/b.json": json.dumps({"caption": CAPTION}).encode()}
    place = tmp_path / "shards"
    place.mkdir()
    path = place / "000.tar"
    for _ in range(COUNT):
        path.write_bytes(data := shard(members, draw))

        def read() -> list[tuple[Path, np.ndarray, str | None]]:
            captions = draw.choice([None, CaptionBeside()])
            source = VideoFolder(path=place, plan=ClipPlan(frames=1), captions=captions)
            assert source.identity()
            infos = source.infos()
            return [
                (info.path, source.read(n, 0, info.frames), source.caption(n))
                for n, info in enumerate(infos)
            ]

        for video, frames, caption in tally(read) or ():
            assert ".." not in video.relative_to(path).parts
            assert caption is None or " ".join(caption.split()).encode() in data
            assert any(np.array_equal(frame, frames[0]) for frame in FRAMES)
            if video.suffix == ".mkv":
                assert np.array_equal(frames, FRAMES[: len(frames)])
        assert [*place.iterdir()] == [path]


def broken_state(state: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A state dict that lacks a tensor, or in which one has another name, shape, type or values."""
    name = draw.choice(sorted(state))
    value = state.pop(name)
    match draw.randrange(7):
        case 0:
            pass
        case 1:
            state[draw.choice([f"{name}x", "x", "", name[1:]])] = value
        case 2:
            state[name] = torch.zeros(draw.choice([(), (0,), (3,), (2, 3), (1, 1, 1, 1, 1, 1)]))
        case 3:
            state[name] = value.to(draw.choice([torch.float16, torch.int64, torch.bool]))
        case 4:
            state[name] = value.clone().fill_(draw.choice([float("nan"), float("inf"), 1e38]))
        case 5:
            state[name] = draw.choice([None, 3, "x", [value], {"x": value}])
        case _:
            state[name] = value.flatten()[:1].expand(draw.choice([1, 5, 1 << 40]))
    return state


def check_weights(model: VideoModel) -> None:
    weights = [x for part in model.components.values() for x in part.state_dict().values()]
    assert all(map(is_finite, weights))


def test_official_weights_with_broken_tensors_are_refused(tmp_path: Path, tally: Tally):
    draw, path = random.Random(6), tmp_path / "model_last.pth"
    yaml = tmp_path / "model.yaml"
    yaml.write_text(json.dumps(official_lvdm.config("short")))
    readers: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
        (official_pvdm.autoencoder, lambda: read_pvdm(autoencoder=path)),
        (lambda: official_lvdm.state("short"), lambda: read_lvdm(path, yaml)),
    ]
    for number in range(COUNT // 4):
        state, read = readers[number % 2]
        torch.save(broken_state(state(), draw), path)
        if (model := tally(read)) is not None:
            check_weights(model)


def test_official_weights_of_metrics_with_broken_bytes_are_refused(tmp_path: Path, tally: Tally):
    draw, source, mean = random.Random(7), tmp_path / "c3d.npz", tmp_path / "mean.npy"
    config = C3DConfig(width=1, hidden=3, classes=4)
    state = {name: x.numpy() for name, x in C3D(config).state_dict().items() if name != "mean"}
    np.savez(source, **state)
    np.save(mean, np.full(MEAN, 100, np.float32))
    whole = source.read_bytes()
    for number in range(COUNT // 4):
        out = tmp_path / f"{number}.safetensors"
        if number % 2:
            source.write_bytes(torn(whole, draw))
        else:
            broken = broken_state({k: torch.from_numpy(x) for k, x in state.items()}, draw)
            file = io.BytesIO()
            torch.save(broken, file)
            source.with_suffix(".pth").write_bytes(file.getvalue())
        given = source if number % 2 else source.with_suffix(".pth")
        if tally(lambda g=given, o=out: convert_c3d(g, mean, o, config=config)) is not None:
            assert all(map(is_finite, read_tensors(out).values()))
        assert out.exists() or not [*tmp_path.glob(".*")]
        tally(lambda g=given, o=out: convert_i3d(g, o.with_name("i3d.safetensors")))
