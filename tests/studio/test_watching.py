"""Frames and events for viewers."""

import asyncio
import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.websockets import WebSocketDisconnect
from studio.conftest import ADDRESS, Page

from longtake.studio.frames import Broadcast, Clip, Viewer, encode_clip

KEPT = {"label": "calm", "prompt": None, "made": 1.5}


def received(socket: Any, count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """At least ``count`` frames' facts, with their pictures, and the events between them."""
    frames, events = [], []
    while len(frames) < count:
        message = socket.receive()
        if message.get("bytes") is None:
            events.append(json.loads(message["text"]))
            continue
        data = message["bytes"]
        (length,) = struct.unpack(">I", data[:4])
        facts = json.loads(data[4 : 4 + length])
        frames.append({**facts, "size": Image.open(io.BytesIO(data[4 + length :])).size})
    return frames, events


def test_several_viewers_see_the_frames_of_a_job_in_order(page: Page):
    job = page.submit("live", model="planes", seed=1, label="calm")
    with (
        page.watch(job) as one,
        page.watch(job) as two,
    ):
        for socket in (one, two):
            frames, events = received(socket, 20)
            indices = [frame["index"] for frame in frames]
            assert indices == sorted(set(indices))
            assert {frame["size"] for frame in frames} == {(16, 16)}
            assert {frame["label"] for frame in frames} == {"calm"}
            assert frames[0]["drift"] == 0 or frames[0]["index"] > 0
            assert set(frames[-1]["measures"]) > {"colour", "contrast", "sharpness", "motion"}
            assert "status" in {event["event"] for event in events}
        assert page.studio.queue.viewers == 2
        page.post(f"jobs/{job}/stop")
        end = next(m for m in iter(one.receive, None) if '"end"' in (m.get("text") or ""))
        assert json.loads(end["text"])["status"] == "stopped"


def test_a_late_viewer_gets_the_last_clip_alone_or_what_it_has_not_seen():
    broadcast = Broadcast()
    for start in (0, 8, 16):
        broadcast.show(Clip(start, [bytes([start + i]) for i in range(8)]))
    assert asyncio.run(broadcast.join(None).next()) == Clip(16, [bytes([i]) for i in range(16, 24)])
    assert asyncio.run(broadcast.join(20).next()) == Clip(21, [bytes([i]) for i in range(21, 24)])
    viewer = broadcast.join(23)
    viewer.add_event({"event": "end"})
    assert asyncio.run(viewer.next()) == {"event": "end"}


def test_a_slow_viewer_loses_the_oldest_clip_and_keeps_the_newest_of_each_event():
    viewer = Viewer()
    for number in range(5):
        viewer.add_clip(Clip(number, [b""]))
        viewer.add_event({"event": "progress", "done": number})
    items = [asyncio.run(viewer.next()) for _ in range(3)]
    assert items == [Clip(3, [b""]), Clip(4, [b""]), {"event": "progress", "done": 4}]
    assert viewer.dropped == 3


def test_a_frame_is_encoded_with_its_facts():
    pixels = np.full((2, 4, 6, 3), 200, np.uint8)
    header = {"shape": list(pixels.shape), "start": 7, "drift": {"drift": 0.5}, **KEPT}
    clip = encode_clip(header, pixels.tobytes())
    (length,) = struct.unpack(">I", clip.messages[1][:4])
    facts = json.loads(clip.messages[1][4 : 4 + length])
    assert facts == {"index": 8, "drift": 0.5, "measures": {"drift": 0.5}, **KEPT}
    picture = np.asarray(Image.open(io.BytesIO(clip.messages[1][4 + length :])))
    assert abs(picture.astype(int) - 200).max() <= 2


def test_a_viewer_of_no_job_or_from_another_site_is_refused(page: Page):
    with (
        pytest.raises(WebSocketDisconnect),
        page.watch("aaaaaaaaaaaa"),
    ):
        pass
    job = page.submit("make", model="planes", frames=8)
    with pytest.raises(WebSocketDisconnect), page.watch(job, origin="http://evil.example"):
        pass
    page.ended(job)
    with page.watch(job, origin=ADDRESS) as socket:
        events = [json.loads(socket.receive()["text"]) for _ in range(2)]
        assert [event["event"] for event in events] == ["status", "end"]
