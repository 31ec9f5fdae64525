"""CLIPSIM: the mean over frames of the cosine of frame and caption, x 100, by the user's CLIP."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clip import TOKENS, write_tiny_clip, write_tiny_text_and_image_clip
from torch.nn.functional import normalize

from longtake.data.captions import CaptionPrompts
from longtake.distributed import Ranks
from longtake.evaluation.evaluate import evaluate
from longtake.evaluation.feature_sets import EvaluationSettings as Settings
from longtake.evaluation.opening import SamplingSettings, open_sources
from longtake.evaluation.protocols import protocol
from longtake.features.clip import read_clip
from longtake.metrics.clipsim import clipsim
from longtake.text.transformers_files import opened_by_transformers
from longtake.video import VideoWriter, open_video

TRIAL = ("--protocol", "trial", "frames=4", "--n", "4")
PROMPTS = "calm sea\n\nstorm\n"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_text_and_image_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos as ``generate --prompts`` names them, two of each line of a file of prompts."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "out").mkdir()
    random = np.random.default_rng(0)
    for line in (0, 1):
        for seed in (0, 1):
            path = folder / "out" / f"prompt_{line:04d}_seed_{seed:04d}.mkv"
            with VideoWriter(path, 8.0) as writer:
                writer.write(random.integers(0, 256, (4, 12, 16, 3), dtype=np.uint8))
            path.with_suffix(".txt").write_text(PROMPTS.split()[line])
    (folder / "prompts.txt").write_text(PROMPTS)
    return folder


def test_a_score_is_that_of_transformers_own_features(clip: Path, made: Path):
    texts, model = ["calm sea", "storm", "sea"], read_clip(clip)
    path = sorted((made / "out").glob("*.mkv"))[0]
    frames = open_video(path)[0]
    with opened_by_transformers("clip", "{reason}") as transformers:
        network = transformers.CLIPModel.from_pretrained(clip)
        tokenizer = transformers.CLIPTokenizer.from_pretrained(clip)
        processor = transformers.CLIPImageProcessorPil.from_pretrained(clip)
    with torch.no_grad():
        pixels = processor(images=list(frames), return_tensors="pt")
        images = normalize(network.get_image_features(**pixels).pooler_output, dim=-1)
        for text, found in zip(texts, model.texts(texts, at_once=2), strict=True):
            tokens = tokenizer([text], return_tensors="pt")
            alone = normalize(network.get_text_features(**tokens).pooler_output, dim=-1)
            torch.testing.assert_close(found, alone[0])
            video = model(model.treat(torch.from_numpy(frames))[None])
            expected = 100 * (images @ alone[0]).mean()
            torch.testing.assert_close(clipsim(video, found[None])[0].float(), expected)


def test_equal_directions_score_100_and_opposite_ones_minus_100():
    x = normalize(torch.randn(3, 5), dim=-1)
    assert clipsim(x, x).numpy() == pytest.approx(100)
    assert clipsim(x, -x).numpy() == pytest.approx(-100)


def test_a_long_caption_is_cut(clip: Path):
    words = " ".join(["storm"] * TOKENS)
    model = read_clip(clip)
    assert torch.equal(model.texts([words]), model.texts([words + " sea"]))


def test_each_video_is_compared_with_its_own_caption(clip: Path, made: Path):
    model, chosen = read_clip(clip), protocol("trial", ["frames=4"], n=4)
    paths = sorted((made / "out").glob("*.mkv"))
    videos = [model.treat(torch.from_numpy(open_video(path)[0])) for path in paths]
    texts = model.texts(["calm sea", "calm sea", "storm", "storm"])
    expected = clipsim(model(torch.stack(videos)), texts)
    captions = CaptionPrompts(path=(made / "prompts.txt").resolve())
    real, generated = open_sources(
        [str(made / "out")], chosen, SamplingSettings(), Ranks(), captions=captions, alone=True
    )
    assert real is None
    score = evaluate(real, generated, chosen, ["clipsim"], Settings(clip=clip)).scores["clipsim"]
    assert score.value == pytest.approx(float(expected.mean()))
    assert score.deviation == pytest.approx(float(expected.std()) / 2)
    assert score.by.startswith("clip ")


def test_the_command_takes_prompts_captions_beside_and_a_world(longtake, clip: Path, made: Path):
    given = (*TRIAL, "--metrics", "clipsim", "--clip", clip, "--cache", made / "cache")
    for options in (("--prompts", made / "prompts.txt"), ("--captions", "beside")):
        called = longtake("evaluate", made / "out", *given, *options)
        assert called.code == 0, called.err
        assert "CLIPSIM" in called.out
        assert "mean over 4 clips" in called.out
    called = longtake("evaluate", "sky:test:16", *given, "--json", made / "sky.json")
    assert called.code == 0, called.err
    called = longtake("compare", made / "sky.json", made / "sky.json")
    assert called.code == 0, called.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), ".mkv: has no caption to compare the video with; give the prompts that"),
        (("--prompts", "prompts.txt"), "CLIPSIM needs the weights of CLIP, but none are given"),
        (("--prompts", "prompts.txt", "--clip", "x"), "x: there is no such folder; give that of"),
        (
            ("--prompts", "prompts.txt", "--clip", "out"),
            "out: is not a folder of a CLIP model of transformers (",
        ),
        (
            ("--prompts", "prompts.txt", "--clip", "text"),
            "text: is not a folder of a CLIP model of transformers (its config.json is of a "
            "model 'clip_text_model', expected 'clip'); give one",
        ),
        (("--prompts", "one.txt"), "2 of 4 videos cannot be used, first out/prompt_0001_seed_0000"),
        (("--prompts", "x.txt"), "x.txt: No such file"),
        (("--prompts", "along.txt"), "along.txt: '0: calm sea; 2: storm' changes along time"),
        (("--captions", "x.csv"), "x.csv: there is no such file of captions"),
        (("--captions", "besides"), "besides: is not a table of captions; expected"),
        (("--captions", "beside", "--prompts", "one.txt"), "cannot be combined; choose one"),
        (("--text-encoder", "x"), "--text-encoder x: belongs to prompts; give --prompts too"),
    ],
)
def test_what_clipsim_lacks_is_one_sentence(
    longtake, monkeypatch, made: Path, options: tuple[str, ...], message: str
):
    monkeypatch.chdir(made)
    (made / "one.txt").write_text("calm sea\n")
    (made / "along.txt").write_text("storm\n0: calm sea; 2: storm\n")
    if not (made / "text").exists():
        write_tiny_clip(made / "text")
    given = (*TRIAL, "--metrics", "clipsim,is", "--cache", made / "cache")
    called = longtake("evaluate", "out", *given, *options)
    assert called.code == 2
    assert message in called.err


def test_captions_of_a_world_are_refused(longtake, made: Path):
    given = ("--metrics", "clipsim", "--prompts", made / "prompts.txt")
    called = longtake("evaluate", "sky:test:16", *TRIAL, *given)
    assert called.code == 2
    assert "sky:test:16x16: captions can be given only for a folder of videos" in called.err
