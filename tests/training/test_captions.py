"""Training on captions: what a network reads, and what the exported model makes of a prompt."""

from pathlib import Path

import pytest
import torch
from tiny_runs import diffusion_run, triplane_autoencoder_run, triplane_run

from longtake import run_folder
from longtake.config import ConfigError
from longtake.data.latent_cache import LatentCache
from longtake.diffusion import Diffusion
from longtake.distributed import Ranks
from longtake.latents import LatentScaling
from longtake.model import VideoModel
from longtake.nn.transformer import TransformerConfig
from longtake.runs import Callbacks, DiffusionRun
from longtake.text import Prompt, WordCodes
from longtake.text.encoder import CachedStates
from longtake.training.latent_batches import LatentBatches, TrainingClip

ENCODER = WordCodes(states_width=16, tokens=24)


def text_run(model: Path, width: int = 16, encoder: WordCodes | None = ENCODER) -> DiffusionRun:
    run = diffusion_run(model, steps=1, batch=2)
    attention = TransformerConfig(num_heads=2, context_dim=width, max_distance=2)
    denoiser = run.denoiser.model_copy(update={"attention": attention})
    return run.model_copy(update={"denoiser": denoiser, "text_encoder": encoder})


@pytest.fixture(scope="module")
def trained(tiny_autoencoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "text"
    run_folder.start(text_run(tiny_autoencoder_folder), folder, Ranks(), Callbacks())
    return folder


def test_a_model_trained_on_captions_makes_videos_of_prompts(trained: Path):
    model = VideoModel.from_pretrained(trained)
    encoder = model.index.text_encoder
    assert isinstance(encoder, WordCodes)
    assert {"clouds", "hills"} & {*encoder.words}
    request = model.request([0], "none", Prompt(encoder.words[0]))
    part = next(model.long_video()(request, 8))
    assert part.frames.shape[2:] == (16, 16, 3)
    with pytest.raises(ValueError, match="has the word 'zebra'"):
        model.request([0], "none", Prompt("zebra"))


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_a_sample_reads_the_states_of_its_caption_or_of_none(trained: Path, dropout: float):
    cache = LatentCache(trained / "latents")
    texts = [cache.caption(item) for item in range(len(cache))]
    states = CachedStates(ENCODER.load(), texts)
    clip = TrainingClip(stride=2, text_dropout=dropout)
    spec = VideoModel.from_pretrained(trained).denoisers["first"].spec
    batches = LatentBatches(
        *(cache, spec, clip, Diffusion(), LatentScaling()),
        seed=0,
        reads=frozenset({"text"}),
        captions=states,
    )
    text = batches([0]).signals["text"]
    item = batches._order(0)[1]
    expected = states("" if dropout else texts[item])
    assert texts[item]
    assert torch.equal(text.value[0], expected)
    assert torch.equal(text.null[0], states(""))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": None}, "reads text, but text_encoder is not set; set text_encoder.kind"),
        ({"width": 8}, "states are 16 wide, but the denoiser reads 8; set .*context_dim=16"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(
    tiny_autoencoder_folder: Path, tmp_path: Path, changes: dict, message: str
):
    run = text_run(tiny_autoencoder_folder, **changes)
    with pytest.raises(ConfigError, match=message):
        run.execute(tmp_path / "run", Ranks(), Callbacks())


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PVDM with text, which its paper has not, trained for a step."""
    folder = tmp_path_factory.mktemp("planes")
    run_folder.start(triplane_autoencoder_run(), folder / "autoencoder", Ranks(), Callbacks())
    run = triplane_run(folder / "autoencoder")
    denoiser = run.denoiser.model_copy(update={"text_width": 16})
    run = run.model_copy(update={"denoiser": denoiser, "text_encoder": ENCODER})
    run_folder.start(run, folder / "text", Ranks(), Callbacks())
    return folder / "text"


def test_planes_follow_prompts_clip_after_clip(planes: Path):
    model = VideoModel.from_pretrained(planes)
    words = model.index.text_encoder
    assert isinstance(words, WordCodes)
    network = model.denoisers["first"]
    torch.nn.init.normal_(network.get_parameter("text_embed.last.weight"), std=3.0)
    one, two = (model.request([0], "none", Prompt(word)) for word in words.words[:2])
    frames = 2 * network.spec.clip[0]
    first, second = (
        torch.cat([part.pixels for part in model.long_video()(request, frames)], 2)
        for request in (one, two)
    )
    assert first.shape[2] == frames
    assert not torch.allclose(first, second)
    with pytest.raises(ValueError, match="makes videos of a text, but none is given"):
        model.request([0], "none")
