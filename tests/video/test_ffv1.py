"""Damage of our lossless files is found by their checksums."""

import random
from pathlib import Path

import av
import pytest
from films import encode, film

from longtake.video import VideoError, open_video
from longtake.video.ffv1 import is_damaged


def packets(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("checksums", ["0", "1"])
def test_whole_frames_are_not_damaged(tmp_path: Path, checksums: str):
    path = tmp_path / "film.mkv"
    encode(path, film(3, 48, 64), "ffv1", "bgr0", options={"level": "3", "slicecrc": checksums})
    assert not any(map(is_damaged, packets(path)))
    open_video(path)


def test_every_changed_bit_of_a_frame_is_found(tmp_path: Path):
    path, draw = tmp_path / "film.mkv", random.Random(0)
    encode(path, film(3, 48, 64), "ffv1", "bgr0", options={"level": "3", "slicecrc": "1"})
    whole = path.read_bytes()
    for packet in packets(path):
        start, damaged = whole.index(packet), bytearray()
        for _ in range(20):
            bit = draw.randrange(8 * len(packet))
            damaged = bytearray(packet)
            damaged[bit // 8] ^= 1 << bit % 8
            assert is_damaged(bytes(damaged))
        path.write_bytes(whole[:start] + damaged + whole[start + len(packet) :])
        with pytest.raises(VideoError, match="broken"):
            open_video(path)
