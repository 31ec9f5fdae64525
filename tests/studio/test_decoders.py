"""Videos of a model's other decoders and of its students, with the shipped model that has both."""

from pathlib import Path

import pytest

from longtake.cli import serve
from longtake.hub import shipped_models
from longtake.studio.checks import Description, check_video
from longtake.studio.kinds import MakeJob
from longtake.studio.loaded import Loaded, request_of
from longtake.studio.memory import RESET, estimated_mb, peak_mb
from longtake.studio.settings import Limits, VideoSettings

FULL, LARGE = [64, 64], [128, 128]


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    made = Loaded()
    made.places = {name: str(folder) for name, folder in shipped_models().items()}
    return made


@pytest.fixture(scope="module")
def known(loaded: Loaded) -> dict[str, Description]:
    return {name: loaded.describe(name) for name in ("lvdm-sky", "lvdm-general")}


def settings(**changes) -> VideoSettings:
    return VideoSettings(**{"model": "lvdm-sky", "steps": 1, "frames": 8, **changes})


def test_a_model_names_its_decoders_with_their_sizes_and_its_students(known):
    assert known["lvdm-sky"]["sizes"] == {"full": FULL, "large": LARGE, "light": LARGE}
    assert known["lvdm-sky"]["students"]
    assert known["lvdm-general"]["sizes"] == {"full": FULL}
    assert not known["lvdm-general"]["students"]


def test_a_video_has_the_size_of_its_decoder(loaded):
    asked = settings(decoder="large", students=True)
    opened = loaded.open(asked)
    part = next(iter(opened.video(request_of(opened.model, asked), asked.frames)))
    assert part.frames.shape[2:] == (128, 128, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": "lage"}, "lvdm-sky has no decoder 'lage'; did you mean 'large'"),
        ({"decoder": "large", "frames": 100}, "128 x 128 pixels in 1 step "),
    ],
)
def test_what_a_decoder_cannot_is_refused_before_a_job_starts(known, changes, message):
    limits = Limits(pixel_steps=100 * 64 * 64)
    check_video(settings(frames=100), known, limits, Path())
    with pytest.raises(ValueError, match=message):
        check_video(settings(**changes), known, limits, Path())


def test_students_that_a_model_lacks_are_refused(known):
    lacking = {"lvdm-sky": {**known["lvdm-sky"], "students": False}}
    with pytest.raises(ValueError, match="lvdm-sky has no students; leave them out"):
        check_video(settings(students=True), lacking, Limits(), Path())


def test_the_command_that_repeats_a_video_names_both(tmp_path: Path):
    job = MakeJob(settings=settings(decoder="light", students=True))
    words = serve.repeat(job, 0, tmp_path, {}).split()
    assert words[-3:] == ["--decoder", "light", "--students"]


def estimate(known: dict[str, Description], **changes) -> float:
    asked, model = settings(**changes), known["lvdm-sky"]
    found = estimated_mb(model["memory"], asked, asked.frames or 0, model["grain"])
    assert found is not None
    return found


@pytest.mark.skipif(not RESET.exists(), reason="the peak of memory is known on Linux alone")
def test_the_estimated_memory_of_a_video_is_near_its_measured_peak(loaded, known):
    loaded.describe("lvdm-general")  # another model, whose memory is not part of it
    asked = settings(decoder="large", frames=24)
    opened = loaded.open(asked)
    for _ in opened.video(request_of(opened.model, asked), 24):
        pass
    found, peak = estimate(known, decoder="large", frames=24), peak_mb()
    assert peak is not None
    own = found - known["lvdm-sky"]["memory"]["worker"]
    assert own > 50
    assert abs(peak - found) < 0.4 * own, (peak, found, own)


@pytest.mark.skipif(not RESET.exists(), reason="the peak of memory is known on Linux alone")
def test_the_estimated_memory_depends_on_decoder_frames_students_and_backend(known):
    usual = estimate(known, frames=64)
    assert estimate(known, frames=64, decoder="light") < usual
    assert estimate(known, frames=8) < usual == estimate(known, frames=1000)
    assert estimate(known, frames=64, students=True) > usual + 10  # their networks are larger
    assert estimate(known, frames=64, backend="openvino") > usual + 100
    assert known["lvdm-general"]["memory"] is None  # it makes no videos
