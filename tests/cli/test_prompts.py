"""Prompts and labels on the command line, of whole videos and along time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.cli.conditions import Conditions, Videos, along_time, conditioned
from longtake.data.source import ClipPosition
from longtake.distributed import Ranks
from longtake.evaluation.opening import SamplingSettings, open_source
from longtake.evaluation.protocols import protocol
from longtake.model import VideoModel
from longtake.studio.live import rollout_change
from longtake.studio.settings import Change
from longtake.video import open_video


@pytest.fixture
def folder(tiny_text_folder: Path) -> Path:
    return tiny_text_folder


def video(longtake, folder: Path, out: Path, *options: object) -> np.ndarray:
    length = () if "--frames" in options else ("--frames", 8)
    common = ("generate", folder, *length, "--label", "calm", "-o", out)
    called = longtake(*common, *options)
    assert called.code == 0, called.err
    return open_video(out)[0]


def test_a_model_of_single_clips_makes_one_by_default(longtake, folder: Path, tmp_path: Path):
    asked = ("--prompt", "calm sea", "rollout.kind=one_clip", "-o", tmp_path / "a.mkv")
    called = longtake("generate", folder, *asked)
    assert called.code == 0, called.err
    assert len(open_video(tmp_path / "a.mkv")[0]) == 8


def test_videos_follow_their_prompts(longtake, folder: Path, tmp_path: Path):
    guided = ("guidance.kind=classifier_free", "guidance.scale=4")
    calm = video(longtake, folder, tmp_path / "a.mkv", "--prompt", "calm sea", *guided)
    assert np.array_equal(
        video(longtake, folder, tmp_path / "b.mkv", "--prompt", "Calm sea!", *guided), calm
    )
    storm = video(longtake, folder, tmp_path / "c.mkv", "--prompt", "storm", *guided)
    negative = ("--prompt", "calm sea", "--negative", "rain", *guided)
    assert not np.array_equal(storm, calm)
    assert not np.array_equal(video(longtake, folder, tmp_path / "d.mkv", *negative), calm)


@pytest.mark.parametrize("option", ["--prompt", "--label"])
def test_a_video_changes_along_time(longtake, folder: Path, tmp_path: Path, option: str):
    one, two = ("calm sea", "storm") if option == "--prompt" else ("calm", "left")
    fixed = ("--prompt", "calm sea") if option == "--label" else ()
    long = (*fixed, "--frames", 26)
    before = video(longtake, folder, tmp_path / "a.mkv", *long, option, one)
    both = video(longtake, folder, tmp_path / "b.mkv", *long, option, f"0: {one}; 12: {two}")
    same = (before == both).all((1, 2, 3))
    assert same[:8].all()
    assert not same[-6:].any()


@pytest.mark.parametrize("label", [None, "none", "calm"])
def test_a_prompt_changes_a_label_along_time_as_it_does_in_a_steered_video(
    folder: Path, label: str | None
):
    model = VideoModel.from_pretrained(folder)
    says = Conditions(label, "0: calm sea; 8: storm", None, None, None)
    request, changes = conditioned(model, says, Videos(says.prompt, [0], []))
    change = Change(prompt="storm")
    steered = rollout_change(
        model, model.index.sampling, (0,), change, labelled=label is not None
    ).signals
    for after in (changes[8], steered):
        signals = {**request.signals, **after}
        assert model.labels.words(signals, 0) == ([] if label != "calm" else ["calm"])
        assert torch.equal(signals["text"].value, steered["text"].value)


def test_each_line_of_a_file_is_a_prompt(longtake, folder: Path, tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("calm sea\n\nstorm\n")
    asked = ("--prompts", tmp_path / "prompts.txt", "--frames", 4, "--seed", "0..1")
    called = longtake("generate", folder, *asked, "-o", tmp_path / "out")
    assert called.code == 0, called.err
    names = [f"prompt_{line:04d}_seed_{seed:04d}.mp4" for line in (0, 1) for seed in (0, 1)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert called.out.splitlines()[-1].endswith(": storm")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "makes videos of a text, but none is given; give a prompt"),
        (("--prompt", "calm see"), "has the word 'see'; did you mean 'sea'?"),
        (("--prompt", "  "), '--prompt "": expected some words'),
        (("--prompt", "sea", "--prompts", "p.txt"), "--prompt and --prompts cannot be combined"),
        (("--prompts", "p.txt"), "p.txt: has no prompt; expected one per line"),
        (("--prompts", "q.txt"), "q.txt: No such file"),
        (("--negative", "rain"), "--negative rain: belongs to a prompt; give --prompt too"),
        (("--prompt", "0: sea; 0: storm"), "frames must begin with 0 and rise, found [0, 0]"),
        (("--prompt", "0: sea; storm"), "expected FRAME: WORDS, found 'storm'"),
        (
            ("--prompt", "sea", "--text-encoder", "clip"),
            "word_codes, has no files; leave the folder out",
        ),
    ],
)
def test_a_wrong_prompt_is_one_sentence(
    longtake, folder: Path, tmp_path: Path, monkeypatch, options: tuple[str, ...], message: str
):
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("\n")
    called = longtake("generate", folder, "--frames", 4, *options)
    assert called.code == 2
    assert message in called.err
    assert not Path("out").exists()


def test_a_model_without_text_refuses_a_prompt(longtake, tiny_run_folder: Path):
    called = longtake("generate", tiny_run_folder, "--prompt", "sea")
    assert called.code == 2
    assert "prompt 'sea': this model reads no text; give no prompt" in called.err


def test_a_text_without_frames_is_of_the_whole_video():
    assert along_time("a sea; at 9: calm", "--prompt") == {0: "a sea; at 9: calm"}
    assert along_time("0: calm sea;  128 : storm ", "--prompt") == {0: "calm sea", 128: "storm"}


def test_a_prompt_along_time_is_not_a_caption_of_a_clip(longtake, folder: Path, tmp_path: Path):
    (tmp_path / "p.txt").write_text("storm\n0: calm sea; 2: storm\n")
    asked = ("--metrics", "is", "--prompts", tmp_path / "p.txt")
    called = longtake("evaluate", folder, *asked)
    assert called.code == 2
    assert "'0: calm sea; 2: storm' changes along time" in called.err


def test_a_model_is_measured_by_the_videos_of_its_prompts(longtake, folder: Path, tmp_path: Path):
    settings = SamplingSettings(label="calm", prompts=("calm sea", "storm"), batch=3)
    source = open_source(
        str(folder), "generated", protocol("trial", ["frames=4"], n=4), settings, Ranks()
    )
    assert [source.caption(video) for video in range(3)] == ["calm sea", "storm", "calm sea"]
    clips = source.read_clips([ClipPosition(video, 0) for video in range(3)], 4, 1)
    (tmp_path / "prompts.txt").write_text("calm sea\nstorm\n")
    asked = ("--prompts", tmp_path / "prompts.txt", "--frames", 4, "--seed", "0..2")
    called = longtake(
        "generate", folder, *asked, "--label", "calm", "--format", "mkv", "-o", tmp_path / "out"
    )
    assert called.code == 0, called.err
    for seed, clip in enumerate(clips):
        path = tmp_path / "out" / f"prompt_{seed % 2:04d}_seed_{seed:04d}.mkv"
        assert np.abs(open_video(path)[0].astype(int) - clip).max() <= 1
    (tmp_path / "prompts.txt").write_text("calm see\n")
    called = longtake("evaluate", "sky", folder, *asked[:2], "--protocol", "trial", "--n", 4)
    assert called.code == 2
    assert "did you mean 'sea'?" in called.err


def test_a_prompt_for_students_is_refused_with_what_to_give_instead(longtake):
    called = longtake("generate", "lvdm-sky", "--students", "--prompt", "night", "--frames", 4)
    assert called.code == 2
    assert "leave out --students, or give a class, as --label 'night, clear" in called.err
