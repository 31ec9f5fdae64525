"""Given frames come out as they are, and what follows continues from them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longtake import jobs
from longtake.denoisers import VolumeUNet
from longtake.diffusion.signals import label_signal
from longtake.generate import VideoStream
from longtake.given import (
    FilledVideo,
    Given,
    Placed,
    StartedVideo,
    read_given_image,
    read_given_video,
    wired,
)
from longtake.given.started import SOFTENED
from longtake.jobs import Job, write_videos
from longtake.model import VideoModel
from longtake.rollout import Change, OneClip, Request, Steering
from longtake.video import VideoWriter, open_video, write_image

STARTS = [1, 21]
SIZE = (16, 16)


def noise(frames: int, seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), np.uint8)


@pytest.fixture(params=["tiny_model", "tiny_triplane_model", "tiny_overlapping_model"])
def model(request: pytest.FixtureRequest) -> VideoModel:
    return request.getfixturevalue(request.param)


@pytest.fixture
def filled(tiny_model: VideoModel) -> Callable[[int], FilledVideo]:
    return lambda frames: FilledVideo(video=tiny_model.long_video(), frames=noise(frames))


def frames_of(video: VideoStream, request: Request, frames: int) -> np.ndarray:
    parts = [part.frames for part in video(request, frames, None, None)]
    return np.concatenate(parts, 1)[:, :frames]


@pytest.mark.parametrize("given", STARTS)
def test_a_video_begins_with_the_given_frames(model: VideoModel, given: int):
    video = StartedVideo(video=model.long_video(), frames=noise(given))
    made = frames_of(video, model.request([3, 4]), given + 9)
    assert made.shape[1] == given + 9
    assert all(np.array_equal(own[:given], noise(given)) for own in made)
    assert not np.array_equal(made[0, given:], made[1, given:])


def test_what_follows_depends_on_the_given_frames(model: VideoModel):
    request = model.request([3])
    pictures = [noise(8), noise(8, seed=1)]
    videos = [StartedVideo(video=model.long_video(), frames=frames) for frames in pictures]
    one, two = (frames_of(video, request, 12)[0, 8:] for video in videos)
    assert not np.array_equal(one, two)


def test_the_step_at_the_join_is_a_part_of_the_decoded_one(model: VideoModel):
    """What the first new frame adds to the last given one, the decoder adds, but for the fade."""
    video = StartedVideo(video=model.long_video(), frames=noise(8))
    start, request = video._start, model.request([3])
    signals = {**request.signals, **start.signals}
    parts = video._joined(replace(request, signals=signals), start.shared + 9)
    decoded = torch.cat([part.pixels for part in parts], 2)
    copy = decoded[:, :, start.shared - 1] if start.copy is None else start.copy
    made = torch.cat([part.pixels for part in video(request, 17)], 2)[:, :, 7:9]
    difference = made[:, :, 0] - copy
    step = decoded[:, :, start.shared] - copy
    step = step - 8 / 9 * SOFTENED * step - difference / 9
    torch.testing.assert_close(made[:, :, 1] - made[:, :, 0], step, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("given", "stopped"), [(1, 0), (70, 1)])
def test_a_started_video_continues_from_the_state_of_a_part(
    model: VideoModel, given: int, stopped: int
):
    video, request = StartedVideo(video=model.long_video(), frames=noise(given)), model.request([3])
    parts = list(video(request, given + 9))
    rest = [part.frames for part in video(request, given + 9, parts[stopped].state)]
    expected = [part.frames for part in parts[stopped + 1 :]]
    assert np.array_equal(np.concatenate(rest, 1), np.concatenate(expected, 1))


def test_a_stopped_job_with_given_frames_continues(
    model: VideoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jobs, "SEGMENT_FRAMES", 6)
    video = StartedVideo(video=model.long_video(), frames=noise(5))
    request = model.request([3])
    paths = [tmp_path / "a.mkv"]
    job = Job(request=request, paths=paths, frames=24, fps=8.0, identity={"given": "digest"})

    def stop(done: int, total: int) -> None:
        if done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_videos(video, job, report=stop)
    assert write_videos(video, job) < 24
    assert np.array_equal(open_video(paths[0])[0], frames_of(video, request, 24)[0])


def test_frames_of_another_size_or_no_more_than_given_are_refused(model: VideoModel):
    with pytest.raises(ValueError, match=r"are 8x16 pixels, expected 16x16 \(height x width\)"):
        StartedVideo(video=model.long_video(), frames=noise(2, size=(8, 16)))
    video = StartedVideo(video=model.long_video(), frames=noise(9))
    with pytest.raises(ValueError, match="frames=9 must be more than the 9 given frames"):
        next(video(model.request([0]), 9))


def test_a_model_that_reads_no_frames_cannot_begin_with_one(tiny_model: VideoModel):
    network = tiny_model.denoisers["first"]
    assert isinstance(network, VolumeUNet)
    blind = network.config.model_copy(update={"mask_channel": False, "noise_classes": None}).build()
    index = tiny_model.index.model_copy(
        update={"sampling": tiny_model.index.sampling.model_copy(update={"rollout": OneClip()})}
    )
    model = replace(tiny_model, index=index, denoisers={"first": blind})
    with pytest.raises(ValueError, match="begins every video from noise"):
        StartedVideo(video=model.long_video(), frames=noise(1))


@pytest.mark.parametrize("given", [2, 4])
def test_frames_are_filled_in_between_the_given_ones(filled, tiny_model: VideoModel, given: int):
    video = filled(given)
    assert video.factor == 3
    made = frames_of(video, tiny_model.request([3, 4]), video.length)
    assert made.shape[1] == 3 * (given - 1) + 1
    assert all(np.array_equal(own[::3], noise(given)) for own in made)
    assert not np.array_equal(made[0], made[1])


def test_a_filled_video_continues_from_any_part_and_keeps_its_changes(
    filled, tiny_model: VideoModel
):
    video, request = filled(4), tiny_model.request([3], "calm")
    changes = {1: Change(label_signal([2]))}
    parts = list(video(request, video.length, steering=Steering(change=changes.get)))
    assert [dict(part.changes) for part in parts] == [{}, changes, {}]
    plain = list(video(request, video.length))
    assert np.array_equal(parts[0].frames, plain[0].frames)
    assert not np.array_equal(parts[2].frames, plain[2].frames)
    rest = list(video(request, video.length, parts[1].state))
    assert np.array_equal(rest[0].frames, parts[2].frames)


def test_a_video_that_cannot_be_filled_is_refused(filled, tiny_triplane_model: VideoModel):
    with pytest.raises(
        ValueError, match=r"no network that fills in .* choose a model that has one"
    ):
        FilledVideo(video=tiny_triplane_model.long_video(), frames=noise(2))
    with pytest.raises(ValueError, match="one frame is given, expected two or more"):
        filled(1)
    with pytest.raises(ValueError, match="frames=5 must be at most 4: 2 given frames, 3 apart"):
        next(filled(2)(Request(seeds=(0,)), 5))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """24 frames at 24 per second, of 32 x 48 pixels, frame i of level 10 i."""
    path = tmp_path / "film.mkv"
    levels = (np.arange(24, dtype=np.uint8) * 10)[:, None, None, None]
    with VideoWriter(path, 24) as writer:
        writer.write(np.broadcast_to(levels, (24, 32, 48, 3)))
    return path


def test_a_video_of_the_models_size_and_rate_is_read_as_it_is(film: Path):
    given = read_given_video(film, (32, 48), 24.0)
    assert np.array_equal(given.frames, open_video(film)[0])
    assert given.note == f"{film}: 32x48 (height x width), 24 fps, 24 frames -> 24"


def test_a_folder_of_images_is_taken_at_the_models_rate_and_the_note_says_so(tmp_path: Path):
    (tmp_path / "images").mkdir()
    for number in range(3):
        write_image(tmp_path / "images" / f"{number}.png", noise(1)[0])
    given = read_given_video(tmp_path / "images", SIZE, 8.0)
    assert (len(given.frames), given.fps) == (3, 8.0)
    assert given.note.endswith("(height x width), no frame rate, taken as 8 fps, 3 frames -> 3")


@pytest.mark.parametrize("fps", [8.0, 12.0, 48.0])
def test_a_video_is_brought_to_a_rate_and_a_size_and_keeps_its_last_frame(film: Path, fps: float):
    given = read_given_video(film, SIZE, fps)
    expected = 23 - np.arange(int(23 / 24 * fps) + 1)[::-1] * 24 / fps
    assert given.frames.shape[1:3] == SIZE
    assert np.abs(given.frames[:, 0, 0, 0] / 10 - expected).max() <= 0.5
    assert given.frames[-1, 0, 0, 0] == 230
    assert f"32x48 -> 16x16 (height x width), 24 fps -> {fps:g} fps" in given.note


def test_all_frames_of_a_video_are_read_where_no_rate_is_asked(film: Path):
    given = read_given_video(film, SIZE, None)
    assert (len(given.frames), given.fps) == (24, 24)


def test_an_image_is_one_frame_and_nothing_else_is_an_image(film: Path, tmp_path: Path):
    picture = tmp_path / "a.png"
    write_image(picture, noise(1)[0])
    given = read_given_image(picture, SIZE, 8.0)
    assert np.array_equal(given.frames, noise(1))
    assert given.digest != read_given_image(picture, (8, 8), 8.0).digest
    with pytest.raises(ValueError, match=r"film\.mkv: not an image; expected a file that ends in"):
        read_given_image(film, SIZE, 8.0)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"start_image": Path("a.png"), "continued": Path("b.mp4")}, "start_image and continued "),
        ({"start_image": Path("a"), "end_image": Path("b")}, "start_image and end_image cannot"),
        ({"end_image": Path("a.png"), "loop": True}, "end_image and loop cannot be combined"),
        ({"placed": (Placed(path=Path("a"), first=0),), "loop": True}, "placed and loop cannot"),
        ({"between": (Path("a.png"), Path("b.png")), "loop": True}, "between and loop cannot "),
        ({"interpolate": Path("a.mp4"), "loop": True}, "interpolate and loop cannot be combined"),
        ({"between": (Path("a.png"), Path("b.png")), "factor": 5}, "factor=5 belongs to inter"),
    ],
)
def test_given_frames_that_would_be_ignored_are_refused(given: dict[str, Any], fault: str):
    with pytest.raises(ValueError, match=fault):
        Given(**given)


def test_new_frames_between_those_of_a_video_keep_its_speed(tiny_model: VideoModel, tmp_path: Path):
    with VideoWriter(tmp_path / "given.mkv", 4) as writer:
        writer.write(noise(3))
    made = wired(tiny_model.long_video(), Given(interpolate=tmp_path / "given.mkv"), None, 8)
    factor = (made.frames - 1) // 2
    assert (made.frames, made.fps) == (2 * factor + 1, 4 * factor)
