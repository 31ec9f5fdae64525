"""Token states of prompts: from fixed word codes, and from text models of transformers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_clip import (
    TOKENS,
    WIDTH,
    write_tiny_clip,
    write_tiny_mt5,
    write_tiny_sentence_encoder,
    write_tiny_t5,
    write_tiny_text_and_image_clip,
    write_tiny_umt5,
)

from longtake.checkpoint import weights_hash
from longtake.features.clip import read_clip
from longtake.text import PretrainedText, WordCodes, prompt_signal
from longtake.text.encoder import CachedStates
from longtake.text.pretrained import _loaded

CODES = WordCodes(states_width=16, tokens=4)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clip(tmp_path_factory.mktemp("clip"))


def test_a_word_has_one_code_whatever_its_case_and_the_texts_beside_it():
    encode = CODES.load()
    together, alone = encode(["Calm sea.", "storm"]), encode(["calm SEA"])
    assert together.shape == (2, 4, 16)
    assert torch.equal(together[:1], alone)
    assert not torch.equal(encode(["sea calm"]), alone)
    assert torch.equal(encode([""]), torch.zeros(1, 4, 16))


def test_a_word_that_no_caption_had_is_refused_with_the_nearest():
    encoder = CODES.trained_on(["Scattered clouds", "a storm"])
    assert encoder.words == ("a", "clouds", "scattered", "storm")
    encoder.load()(["a storm"])
    with pytest.raises(ValueError, match=r"has the word 'cloudz'; did you mean 'clouds'"):
        encoder.load()(["a cloudz"])
    with pytest.raises(ValueError, match="has 5 words, this encoder takes at most 4"):
        encoder.load()(["a a a a a"])
    with pytest.raises(ValueError, match="word_codes, has no files"):
        encoder.load(Path("clip"))


def test_states_of_clip_are_its_last_hidden_states_with_padding(clip: Path):
    encode = PretrainedText(tokens=TOKENS).load(clip)
    tokenizer, network = _loaded(str(clip), "x")
    ids = tokenizer(["calm sea"], padding="max_length", max_length=TOKENS, return_tensors="pt")
    expected = network(ids["input_ids"]).last_hidden_state
    assert expected.shape == (1, TOKENS, WIDTH)
    torch.testing.assert_close(encode(["storm", "calm sea"])[1:], expected)


def test_states_of_padding_can_be_left_out(clip: Path):
    states = PretrainedText(tokens=TOKENS, keep_padding=False).load(clip)(["sea"])
    assert (states[0, 5:] == 0).all()
    assert (states[0, :5] != 0).any()


def test_an_encoder_of_other_weights_or_none_is_refused(clip: Path, tmp_path: Path):
    named = PretrainedText(name=str(clip), tokens=TOKENS).trained_on(["sea"])
    assert named.weights == weights_hash(_loaded(str(clip), "x")[1])
    named.load()
    with pytest.raises(ValueError, match="are not those that the model was trained with"):
        named.model_copy(update={"weights": "0" * 64}).load(clip)
    with pytest.raises(ValueError, match="not a text model of transformers on this machine"):
        PretrainedText().load(tmp_path)


def test_each_text_is_encoded_once_in_few_calls():
    calls: list[int] = []

    def encode(texts):
        calls.append(len(texts))
        return CODES.load()(texts)

    states = CachedStates(encode, ["sea", "storm", "sea"], at_once=2)
    assert calls == [2, 1]
    assert torch.equal(states("storm"), CODES.load()(["storm"])[0])
    assert torch.equal(states(""), torch.zeros(4, 16))


def test_guidance_contrasts_a_prompt_with_the_negative_one():
    signal = prompt_signal(CODES.load(), ["sea", "storm"], "rain")["text"]
    assert torch.equal(signal.null, CODES.load()(["rain", "rain"]))


WRITERS = [
    write_tiny_clip,
    write_tiny_t5,
    write_tiny_mt5,
    write_tiny_umt5,
    write_tiny_sentence_encoder,
]


@pytest.mark.parametrize("write", WRITERS)
@torch.no_grad()
def test_a_padded_batch_has_the_states_of_each_text_alone(tmp_path: Path, write):
    folder, texts = write(tmp_path / "encoder"), ["sea", "calm sea"]
    encoder = PretrainedText(name=str(folder), tokens=TOKENS).trained_on(texts)
    assert encoder.weights
    encode = encoder.load()
    tokenizer, network = _loaded(str(folder), str(folder))
    together = encode(texts)
    assert together.shape == (2, TOKENS, WIDTH)
    for text, found in zip(texts, together, strict=True):
        torch.testing.assert_close(found, encode([text])[0])
        ids = tokenizer([text], return_tensors="pt", truncation=True, max_length=TOKENS)[
            "input_ids"
        ]
        alone = network(input_ids=ids).last_hidden_state[0]  # without any padding
        torch.testing.assert_close(found[: len(alone)], alone)
        assert (found[len(alone) :] == 0).all() == (write is not write_tiny_clip)
    empty = encode([""])
    assert empty.isfinite().all()


@pytest.mark.parametrize("whole", [False, True])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, whole: bool):
    folder = (write_tiny_text_and_image_clip if whole else write_tiny_clip)(tmp_path)
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("final_layer_norm.bias"))
    weights[name][0] = float("nan")
    save_file(weights, path, {"format": "pt"})
    read = read_clip if whole else lambda folder: PretrainedText(name=str(folder)).load()
    with pytest.raises(ValueError, match=r"final_layer_norm\.bias' has values that are not finite"):
        read(folder)


def test_a_tokenizer_without_padding_is_refused(tmp_path: Path):
    folder = write_tiny_t5(tmp_path)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in settings.items() if k != "pad_token"}))
    with pytest.raises(ValueError, match="its tokenizer has no padding token"):
        PretrainedText(name=str(folder), tokens=TOKENS).load()
