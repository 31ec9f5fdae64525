"""What does not fit is refused before clips are encoded, not when the first preview is due."""

from pathlib import Path

import pytest
from tiny_runs import diffusion_run, train, triplane_autoencoder_run, triplane_run

from longtake import run_folder
from longtake.config import changed
from longtake.distributed import Ranks
from longtake.model import VideoModel
from longtake.runs import Callbacks, DiffusionRun, DistillationRun
from longtake.text import Prompt

WORDS = "text_encoder={kind: word_codes, states_width: 16, tokens: 24}"
READS_TEXT = "denoiser.attention={kind: st_attention, num_heads: 2, context_dim: 16}"
VALIDATION = "validation={kind: sky, videos: 2, plan: {frames: %s, height: %s, width: 16}}"


@pytest.fixture
def run(tiny_autoencoder_folder: Path) -> DiffusionRun:
    return diffusion_run(tiny_autoencoder_folder, steps=1, sample_every=1)


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> DiffusionRun:
    folder = tmp_path_factory.mktemp("planes")
    train(triplane_autoencoder_run(steps=1), folder)
    return triplane_run(folder, steps=1, sample_every=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([READS_TEXT], "the denoiser reads text, but text_encoder is not set"),
        ([WORDS], "text_encoder is set, but the denoiser reads no text"),
        ([WORDS, READS_TEXT.replace("16", "8")], "states are 16 wide, but the denoiser reads 8"),
        (["clip.stride=5"], "need cached clips of 16 latent frames, but they have 8"),
        *(
            ([f"denoiser.clip={given}"], r"to 8 frames of 16x16 pixels; set denoiser\.clip=\[8, 16")
            for given in ([16, 16, 16], [8, 32, 16], [8, 16, 32], [4, 32, 32])
        ),
        (["data.plan.frames=15"], r"lengths are 8 and 16 \(data.plan.frames\)"),
        (["data.plan.height=32"], "have 32x16 pixels .*, but those of the autoencoder 16x16"),
        ([VALIDATION % (6, 16)], r"lengths are 8 and 16 \(validation.plan.frames\)"),
        ([VALIDATION % (8, 16)], r"but they have 4; cache longer clips \(validation.plan.frames\)"),
        ([VALIDATION % (16, 32)], "set validation.plan.height and width to that"),
        (["sampling.rollout={kind: one_clip}", "preview_frames=9"], "preview_frames=9 must be at"),
        (["sampling.rollout={kind: next_clip}"], "NextClip gives the network the latent of"),
        (["sampling.rollout={kind: hierarchical}"], "needs a network in the role 'interpolator'"),
        (
            ["sampling.rollout={kind: autoregressive, overlap_latent_frames: 4}"],
            "overlap_latent_frames=4 must be under the clip's 4 latent frames",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_clips_are_encoded(
    run: DiffusionRun, changes: list[str], message: str, tmp_path: Path
):
    with pytest.raises(ValueError, match=message):
        train(changed(DiffusionRun, run, changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.plan.frames=4", r"needs a second one after it; .* \(data.plan.frames\)"),
        (
            "denoiser.clip=[8,16,16]",
            r"to 4 frames of 16x16 pixels; set denoiser\.clip=\[4, 16, 16\]",
        ),
        ("sampling.rollout={kind: autoregressive}", "Autoregressive gives the network frames of"),
    ],
)
def test_planes_that_do_not_fit_are_refused_before_clips_are_encoded(
    planes: DiffusionRun, change: str, message: str, tmp_path: Path
):
    with pytest.raises(ValueError, match=message):
        train(changed(DiffusionRun, planes, [change]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_networks_that_read_no_text_are_trained_and_distilled_beside_one_that_does(
    run: DiffusionRun, tmp_path: Path
):
    text = changed(DiffusionRun, run, [WORDS, READS_TEXT, "denoiser.needs_text=false"])
    train(text, tmp_path / "first")
    other = changed(DiffusionRun, run, [f"model={tmp_path / 'first'}", "roles=[interpolator]"])
    train(other, tmp_path / "both")
    model = VideoModel.from_pretrained(tmp_path / "both")
    assert model.index.text_encoder is not None
    model.request([0], prompt=Prompt("night"))
    student = DistillationRun(
        teacher=str(tmp_path / "both"),
        roles=("interpolator",),
        data=run.data,
        clip=run.clip,
        training=run.training,
        preview_frames=8,
    )
    run_folder.start(student, tmp_path / "student", Ranks(), Callbacks())
    assert VideoModel.from_pretrained(tmp_path / "student").index.text_encoder is not None
