"""Students beside their teachers: one model folder, sampled by the students if asked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longtake.checkpoint import weights_hash
from longtake.config import parse
from longtake.diffusion import DDIM
from longtake.hub import INDEX
from longtake.model import ModelIndex, RoleSampling, VideoModel, sampling_with
from longtake.model.students import save_with_students
from longtake.rollout import Role
from longtake.text import Prompt


def student_of(model: VideoModel, role: Role, folder: Path, steps: int = 1) -> Path:
    """A run's model: the teacher with another network in one role."""
    own = model.denoisers.get(role, model.denoisers["first"])
    network = own.config.build().eval()  # type: ignore[operator]
    network.load_state_dict({k: v + 0.01 for k, v in own.state_dict().items()})
    sampling = model.index.sampling.in_role(role, RoleSampling(sampler=DDIM(steps=steps)))
    index = model.index.model_copy(update={"sampling": sampling})
    replace(model, index=index, denoisers={**model.denoisers, role: network}).save_pretrained(
        folder
    )
    return folder


@pytest.fixture
def both(tmp_path: Path, tiny_model: VideoModel) -> Path:
    tiny_model.save_pretrained(tmp_path / "teacher")
    roles: tuple[Role, ...] = ("next", "interpolator")
    students = [student_of(tiny_model, role, tmp_path / role) for role in roles]
    save_with_students(tmp_path / "teacher", students, tmp_path / "both")
    return tmp_path / "both"


def test_a_model_with_students_has_them_in_their_roles(both: Path, tiny_model: VideoModel):
    model = VideoModel.from_pretrained(both, students=True)
    assert weights_hash(model.denoisers["first"]) == weights_hash(tiny_model.denoisers["first"])
    for role in ("next", "interpolator"):
        assert weights_hash(model.denoisers[role]) == weights_hash(
            VideoModel.from_pretrained(both.parent / role).denoisers[role]
        )
        assert model.index.sampling.of(role).sampler == DDIM(steps=1)
    assert model.index.sampling.of("first") == tiny_model.index.sampling.of("first")


def test_the_teacher_of_a_model_with_students_is_the_model_it_was(
    both: Path, tiny_model: VideoModel
):
    teacher = VideoModel.from_pretrained(both)
    before = VideoModel.from_pretrained(both.parent / "teacher")
    assert teacher.index == before.index
    videos = [next(model.long_video()(model.request([3]), 8)).frames for model in (teacher, before)]
    assert (videos[0] == videos[1]).all()


def test_a_model_with_students_is_saved_as_what_it_samples(both: Path, tmp_path: Path):
    model = VideoModel.from_pretrained(both, students=True)
    model.save_pretrained(tmp_path / "again")
    again = VideoModel.from_pretrained(tmp_path / "again")
    assert again.index.sampling == model.index.sampling
    assert again.index.weights.keys() == {"autoencoder", "denoiser", "next", "interpolator"}


def test_networks_that_are_not_used_are_not_read(both: Path, tiny_model: VideoModel):
    (both / "interpolator" / "model.safetensors").write_bytes(b"damaged")
    VideoModel.from_pretrained(both, students=True)


def test_a_student_of_first_clips_samples_the_next_ones_too(
    tmp_path: Path, tiny_triplane_model: VideoModel
):
    tiny_triplane_model.save_pretrained(tmp_path / "teacher")
    student = student_of(tiny_triplane_model, "first", tmp_path / "student")
    save_with_students(tmp_path / "teacher", [student], tmp_path / "both", dtype=torch.float16)
    index = parse(ModelIndex, json.loads((tmp_path / "both" / INDEX).read_text()))
    assert {x.network for x in index.students.values()} == {"student_first"}
    model = VideoModel.from_pretrained(tmp_path / "both", students=True)
    for role in ("first", "next"):
        assert model.index.sampling.of(role).sampler == DDIM(steps=1)
    assert model.denoisers["next"] is model.denoisers["first"]


def test_a_model_without_a_student_is_refused(tmp_path: Path, tiny_model: VideoModel):
    tiny_model.save_pretrained(tmp_path / "teacher")
    with pytest.raises(ValueError, match="has the teacher's networks only"):
        save_with_students(tmp_path / "teacher", [tmp_path / "teacher"], tmp_path / "both")
    with pytest.raises(ValueError, match="has no students; leave it out"):
        VideoModel.from_pretrained(tmp_path / "teacher", students=True)


def test_a_prompt_for_students_that_read_no_text_says_the_remedy():
    students = VideoModel.from_pretrained("lvdm-sky", students=True)
    message = (
        r"reads no text, .*; leave out students=True, or give a class, as label='night, clear,"
    )
    with pytest.raises(ValueError, match=message):
        students.request([0], prompt=Prompt("night"))
    VideoModel.from_pretrained("lvdm-sky").request([0], prompt=Prompt("night"))


def test_another_rollout_leaves_out_the_settings_of_roles_that_it_does_not_sample(both: Path):
    sampling = VideoModel.from_pretrained(both, students=True).index.sampling
    changed = sampling_with(sampling, ["rollout.kind=one_clip"])
    assert (changed.next, changed.interpolator) == (None, None)
    changed = sampling_with(sampling, ["rollout.kind=autoregressive"])
    assert changed.next is not None
    with pytest.raises(ValueError, match="never samples clips in that role"):
        sampling_with(sampling, ["rollout.kind=one_clip", "next.sampler.steps=3"])
