"""Videos of any length in files: stopped and resumed, in batches, in every format."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake import jobs
from longtake.autoencoders.streaming import crossfade
from longtake.checkpoint import CheckpointError, read_metadata, read_tensors, write_tensors
from longtake.diffusion.signals import rows as select_rows
from longtake.generate import LongVideo
from longtake.jobs import Job, open_jobs, write_job, write_videos
from longtake.model import VideoModel
from longtake.progress import no_progress
from longtake.video import read_clip, stream_video

SEGMENT = 12


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SEGMENT_FRAMES", SEGMENT)


@pytest.fixture(params=["tiny_model", "tiny_triplane_model", "tiny_overlapping_model"])
def model(request: pytest.FixtureRequest) -> VideoModel:
    return request.getfixturevalue(request.param)


@pytest.fixture
def video(model: VideoModel) -> LongVideo:
    return model.long_video()


@pytest.fixture
def job(model: VideoModel, tmp_path: Path) -> Callable[..., Job]:
    def make(
        name: str = "a.mkv", frames: int = 16, seeds: Sequence[int] = (3,), tag: str = ""
    ) -> Job:
        stem, suffix = name.rsplit(".", 1)
        many = len(seeds) > 1
        names = [f"{stem}{seed}.{suffix}" for seed in seeds] if many else [name]
        return Job(
            request=model.request(seeds),
            paths=[tmp_path / name for name in names],
            frames=frames,
            fps=8.0,
            identity={"tag": tag},
        )

    return make


def frames_of(path: Path) -> np.ndarray:
    return np.concatenate(list(stream_video(path)))


def streamed(video: LongVideo, job: Job) -> np.ndarray:
    parts = [part.frames for part in video(job.request, job.frames)]
    return np.concatenate(parts, 1)[:, : job.frames]


def stop_at(wanted: int) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        if done >= wanted:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("frames", [1, 8, 16, 29])
def test_a_video_has_the_frames_that_were_asked_for(video: LongVideo, job, frames: int):
    wanted = job(frames=frames)
    write_videos(video, wanted)
    assert np.array_equal(frames_of(wanted.paths[0]), streamed(video, wanted)[0])
    assert len(frames_of(wanted.paths[0])) == frames


def test_a_longer_video_begins_as_the_shorter_one(video: LongVideo, job):
    short, long = (streamed(video, job(frames=frames))[0] for frames in (16, 40))
    held_back = 4
    assert np.array_equal(short[: 16 - held_back], long[: 16 - held_back])


def test_a_video_of_a_batch_is_the_one_that_is_made_alone(video: LongVideo, job):
    batch = job(seeds=(3, 4, 5))
    together = streamed(video, batch)
    for row in range(3):
        signals = select_rows(batch.request.signals, torch.tensor([row]))
        request = replace(batch.request, seeds=(batch.request.seeds[row],), signals=signals)
        parts = [part.frames for part in video(request, 16)]
        alone = np.concatenate(parts, 1)[0, :16].astype(int)
        assert np.abs(alone - together[row]).max() <= 1
    assert not np.array_equal(together[0], together[1])


def test_a_stream_continues_from_the_state_of_any_part(video: LongVideo, job):
    request = job().request
    parts = list(video(request, 40))
    rest = list(video(request, 40, parts[1].state))
    assert [np.array_equal(a.frames, b.frames) for a, b in zip(rest, parts[2:], strict=True)] == (
        [True] * len(rest)
    )


@pytest.mark.parametrize("stopped_at", [1, 25, 40])
def test_a_stopped_job_continues_as_if_it_had_not_been_stopped(
    video: LongVideo, job, tmp_path: Path, stopped_at: int
):
    wanted = job(frames=48, seeds=(3, 4))
    with pytest.raises(KeyboardInterrupt):
        write_videos(video, wanted, report=stop_at(stopped_at))
    assert not any(path.exists() for path in wanted.paths)
    reported: list[int] = []
    made = write_videos(video, wanted, report=lambda done, total: reported.append(done))
    expected = streamed(video, wanted)
    for path, own in zip(wanted.paths, expected, strict=True):
        assert np.array_equal(frames_of(path), own)
    assert (reported[0] > SEGMENT) == (stopped_at > SEGMENT)
    assert (made < 48) == (stopped_at > SEGMENT)
    assert sorted(tmp_path.iterdir()) == sorted(wanted.paths)


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
@pytest.mark.parametrize("stopped_after", [0, 1, 2])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_job_that_was_stopped_while_joining_continues(
    video: LongVideo, job, tmp_path: Path, monkeypatch, stopped_after: int, overwrite: bool
):
    wanted = job(seeds=(3, 4))
    for path in wanted.paths if overwrite else ():
        path.write_text("of before")
    joined: list[Path] = []

    def join(segments: Sequence[Path], path: Path, own: Job) -> None:
        if stopped_after:
            whole(segments, path, own)
            joined.append(path)
        if len(joined) == stopped_after:
            raise KeyboardInterrupt

    whole = jobs._join
    monkeypatch.setattr(jobs, "_join", join)
    with pytest.raises(KeyboardInterrupt):
        write_videos(video, wanted, overwrite=overwrite)
    monkeypatch.setattr(jobs, "_join", whole)
    write_videos(video, wanted, overwrite=overwrite, report=stop_at(0))
    for path, own in zip(wanted.paths, streamed(video, wanted), strict=True):
        assert np.array_equal(frames_of(path), own)
    assert sorted(tmp_path.iterdir()) == sorted(wanted.paths)


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
def test_what_was_made_before_a_stop_can_be_watched(video: LongVideo, job, tmp_path: Path):
    wanted = job(frames=48)
    with pytest.raises(KeyboardInterrupt):
        write_videos(video, wanted, report=stop_at(25))
    made = np.concatenate([frames_of(path) for path in sorted(tmp_path.rglob("*.mkv"))])
    assert np.array_equal(made, streamed(video, wanted)[0][: len(made)])
    assert len(made) > SEGMENT


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
def test_an_unfinished_job_is_continued_by_the_same_alone(video: LongVideo, job, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        write_videos(video, job(frames=48, tag="one"), report=stop_at(25))
    other = job(frames=48, tag="two")
    with pytest.raises(
        ValueError,
        match=r"files of another request, in which tag was one and is two now; repeat that",
    ):
        write_videos(video, other)
    reported: list[int] = []
    write_videos(video, other, overwrite=True, report=lambda done, _: reported.append(done))
    assert reported[0] < SEGMENT
    assert list(tmp_path.iterdir()) == other.paths


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
def test_a_job_that_has_made_nothing_yet_hinders_no_other(video: LongVideo, job, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        write_videos(video, job(tag="one"), report=stop_at(0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
def test_jobs_of_a_stopped_command_that_are_done_are_not_made_again(
    video: LongVideo, job, tmp_path: Path
):
    def make(*, report: Callable[[int, int], None] = no_progress) -> list[int]:
        with open_jobs(wanted, tmp_path) as outputs:
            return [write_job(video, each, outputs, report=report) for each in wanted]

    def stop_in_second(done: int, total: int) -> None:
        if wanted[0].paths[0].exists():
            raise KeyboardInterrupt

    wanted = [replace(job(f"{seed}.mkv", seeds=(seed,)), sheets=True) for seed in range(3)]
    with pytest.raises(KeyboardInterrupt):
        make(report=stop_in_second)
    made = wanted[0].paths[0].stat().st_mtime_ns
    assert make() == [0, 16, 16]
    assert wanted[0].paths[0].stat().st_mtime_ns == made
    names = [f"{seed}{end}" for seed in range(3) for end in (".mkv", "_sheet.png")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
@pytest.mark.parametrize("damage", ["removed", "cut", "state", "flipped state"])
def test_a_lost_or_damaged_segment_is_made_again(
    video: LongVideo, job, tmp_path: Path, damage: str
):
    wanted = job(frames=48)
    with pytest.raises(KeyboardInterrupt):
        write_videos(video, wanted, report=stop_at(40))
    second = sorted(tmp_path.rglob("*.safetensors" if "state" in damage else "*.mkv"))[1]
    if damage == "removed":
        second.unlink()
    elif damage == "flipped state":
        data = bytearray(second.read_bytes())
        data[-1] ^= 1
        second.write_bytes(data)
    else:
        second.write_bytes(second.read_bytes()[:-9])
    reported: list[int] = []
    write_videos(video, wanted, report=lambda done, _: reported.append(done))
    assert reported[0] < 30
    assert np.array_equal(frames_of(wanted.paths[0]), streamed(video, wanted)[0])


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
@pytest.mark.parametrize(
    ("lacking", "message"),
    [("latents.", r"0\.safetensors: lacks 'latents"), (None, r"0\.safetensors: start: is missing")],
)
def test_a_state_that_lacks_something_is_refused_by_name(
    video: LongVideo, job, tmp_path: Path, lacking: str | None, message: str
):
    wanted = job(frames=48)
    with pytest.raises(KeyboardInterrupt):
        write_videos(video, wanted, report=stop_at(40))
    path = sorted(tmp_path.rglob("*.safetensors"))[0]
    state = {k: v for k, v in read_tensors(path).items() if not (lacking and k.startswith(lacking))}
    write_tensors(path, state, read_metadata(path) if lacking else None)
    with pytest.raises(CheckpointError, match=message):
        write_videos(video, wanted)


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
def test_a_stream_does_not_continue_from_half_a_state(video: LongVideo, job):
    request = job().request
    state = dict(next(iter(video(request, 40))).state)
    del state["guidance"]
    with pytest.raises(CheckpointError, match="the state of the video lacks 'guidance'"):
        next(video(request, 40, state))


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
def test_an_existing_video_is_kept_unless_asked_otherwise(video: LongVideo, job):
    write_videos(video, job())
    before = job().paths[0].read_bytes()
    with pytest.raises(
        ValueError, match=r"a\.mkv exists; choose another path or set overwrite=True"
    ):
        write_videos(video, job(seeds=(4,)))
    assert job().paths[0].read_bytes() == before
    write_videos(video, job(seeds=(4,)), overwrite=True)
    assert job().paths[0].read_bytes() != before


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
def test_an_existing_video_is_refused_before_anything_is_made(video: LongVideo, job):
    wanted = job(seeds=(3, 4))
    wanted.paths[1].write_text("precious")
    with pytest.raises(ValueError, match=r"a4\.mkv exists"):
        write_videos(video, wanted, report=stop_at(0))
    assert not wanted.paths[0].exists()


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "gif", "png"])
def test_every_format_holds_the_video(video: LongVideo, job, suffix: str, tmp_path: Path):
    wanted = job(f"a.{suffix}", frames=29)
    write_videos(video, wanted)
    got, made = read_clip(wanted.paths[0], 0, 29), streamed(video, wanted)[0]
    brightness, expected = (frames.astype(float).mean((1, 2, 3)) for frames in (got, made))
    assert np.abs(brightness - expected).max() < 4
    if suffix in ("mkv", "png"):
        assert np.array_equal(got, made)
    assert list(tmp_path.iterdir()) == wanted.paths


@pytest.mark.parametrize("model", ["tiny_model"], indirect=True)
def test_an_unknown_format_is_refused(video: LongVideo, job):
    with pytest.raises(ValueError, match=r"unknown format '\.avi'; valid are \.mp4"):
        write_videos(video, job("a.avi"))


def test_the_state_of_a_long_video_does_not_grow(video: LongVideo, job):
    sizes = [
        sum(tensor.numel() for tensor in part.state.values()) for part in video(job().request, 120)
    ]
    assert max(sizes[:-1]) == sizes[1]


def test_clips_that_overlap_give_their_frames_once(tiny_overlapping_model: VideoModel):
    clip = 8
    overlap = tiny_overlapping_model.denoisers["first"].spec.clip_overlap_frames
    video, request = tiny_overlapping_model.long_video(), tiny_overlapping_model.request([3])
    for clips in (1, 2, 4):
        frames = clips * (clip - overlap) + overlap
        for wanted in (frames, frames - (clip - overlap) + 1):
            parts = [part.frames.shape[1] for part in video(request, wanted)]
            assert len(parts) == clips
            assert sum(parts) == frames


def test_clips_that_overlap_are_the_same_ones_faded(
    tiny_triplane_model: VideoModel, tiny_overlapping_model: VideoModel
):
    request = tiny_triplane_model.request([3])
    apart, joined = (
        torch.cat([part.pixels for part in model.long_video()(request, 13)], 2)
        for model in (tiny_triplane_model, tiny_overlapping_model)
    )
    assert torch.equal(joined[:, :, :5], apart[:, :, :5])
    assert torch.equal(joined[:, :, 8:], apart[:, :, 8 + 3 :])
    assert torch.equal(joined[:, :, 5:8], crossfade(apart[:, :, 5:8], apart[:, :, 8:11]))


def test_volumes_are_not_made_to_overlap(tiny_model: VideoModel):
    with pytest.raises(ValueError, match="overlap=2 must be 0 for latents with a time axis"):
        tiny_model.autoencoder.stream_decoder(clip_overlap=2)


def test_a_video_needs_a_denoiser(tiny_autoencoder_folder: Path):
    with pytest.raises(ValueError, match="no network that samples clips"):
        VideoModel.from_pretrained(tiny_autoencoder_folder).long_video()


def test_a_saved_model_makes_the_same_video(
    model: VideoModel, video: LongVideo, job, tmp_path: Path
):
    model.save_pretrained(tmp_path / "model")
    again = VideoModel.from_pretrained(tmp_path / "model").long_video()
    assert np.array_equal(streamed(again, job()), streamed(video, job()))
    assert torch.equal(*(next(v.autoencoder.parameters()) for v in (again, video)))
