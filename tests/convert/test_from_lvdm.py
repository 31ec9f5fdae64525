import copy
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import official_lvdm
import pytest
import torch
import yaml
from tiny_clip import TOKENS, write_tiny_clip
from torch import Tensor

from longtake.checkpoint import CheckpointError, ExistsError
from longtake.config import ConfigError
from longtake.convert.from_lvdm import convert_lvdm_folder, read_lvdm
from longtake.diffusion.samplers import DDIM
from longtake.diffusion.signals import Signals, text_signal
from longtake.model import VideoModel
from longtake.rollout import Hierarchical, Request
from longtake.text import PretrainedText, Prompt

State = dict[str, Tensor]
UNET = "model.diffusion_model."


def files(
    folder: Path, role: str = "short", *, state: State | None = None, config: Any = None
) -> tuple[Path, Path]:
    """Checkpoint and YAML of a role, in a folder."""
    ckpt, path = folder / f"{role}.ckpt", folder / f"{role}.yaml"
    weights = official_lvdm.state(role) if state is None else state
    torch.save({"state_dict": weights, "epoch": 1}, ckpt)
    path.write_text(yaml.safe_dump(config or official_lvdm.config(role)))
    return ckpt, path


def changed(role: str, *places: tuple[str, Any]) -> Any:
    """An official config with settings below ``model`` replaced."""
    config = copy.deepcopy(official_lvdm.config(role))
    for place, value in places:
        node = config["model"]
        *parents, leaf = place.split(".")
        for key in parents:
            node = node[key]
        node[leaf] = value
    return config


def test_a_folder_opens_with_the_checkpoint_s_averages(tmp_path: Path):
    convert_lvdm_folder(*files(tmp_path), tmp_path / "ours")
    model = VideoModel.from_pretrained(tmp_path / "ours")
    want = official_lvdm.state()[f"{UNET}time_embed.0.bias"] + 1
    assert torch.equal(model.denoisers["first"].state_dict()["time_embed.0.bias"], want)
    assert model.index.ema
    assert model.index.latent_scaling.shift == 1.25
    assert model.autoencoder.spec.clip == (4, 16, 16)


def test_raw_weights_are_taken_on_request(tmp_path: Path):
    model = read_lvdm(*files(tmp_path), raw=True)
    got = model.denoisers["first"].state_dict()["time_embed.0.bias"]
    assert torch.equal(got, official_lvdm.state()[f"{UNET}time_embed.0.bias"])
    assert not model.index.ema


def test_a_model_trained_without_an_average_is_converted_raw(tmp_path: Path):
    state = {k: v for k, v in official_lvdm.state().items() if not k.startswith("model_ema")}
    config = changed("short", ("params.use_ema", False))
    assert not read_lvdm(*files(tmp_path, state=state, config=config)).index.ema
    with pytest.raises(CheckpointError, match=r"has no EMA .*set raw=True to convert the raw"):
        read_lvdm(*files(tmp_path, state=state))


def test_half_precision_becomes_full(tmp_path: Path):
    state = {k: v.half() for k, v in official_lvdm.state("autoencoder").items()}
    model = read_lvdm(*files(tmp_path, "autoencoder", state=state))
    assert {value.dtype for value in model.autoencoder.state_dict().values()} == {torch.float32}


def test_an_autoencoder_alone_takes_its_clip_from_the_data(tmp_path: Path):
    convert_lvdm_folder(*files(tmp_path, "autoencoder"), tmp_path / "ours")
    model = VideoModel.from_pretrained(tmp_path / "ours")
    assert "first" not in model.denoisers
    assert model.autoencoder.spec.clip == (4, 16, 16)


def test_prediction_and_interpolation_models_become_one(tmp_path: Path):
    keys, between = files(tmp_path, "keys"), files(tmp_path, "between")
    convert_lvdm_folder(*keys, tmp_path / "ours", interpolator=between)
    model = VideoModel.from_pretrained(tmp_path / "ours")
    assert isinstance(model.index.sampling.rollout, Hierarchical)
    assert model.index.made_by == "keys.ckpt + between.ckpt"
    assert model.denoisers["interpolator"].spec.frames == 3


def test_keyframes_alone_keep_their_speed(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "keys").mkdir()
    keys = changed("keys", ("params.latent_frame_strde", 4))
    alone = read_lvdm(*files(tmp_path / "keys", "keys", config=keys))
    assert alone.index.fps == 2.0
    assert "samples every 4-th latent frame, so its videos have 2 frames a second" in caplog.text
    pair = files(tmp_path / "keys", "keys", config=keys), files(tmp_path, "between")
    convert_lvdm_folder(*pair[0], tmp_path / "ours", interpolator=pair[1])
    assert VideoModel.from_pretrained(tmp_path / "ours").index.fps == 8.0


def test_another_posterior_variance_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="v_posterior: input should be less than or equal to 0"):
        read_lvdm(*files(tmp_path, config=changed("short", ("params.v_posterior", 0.5))))
    read_lvdm(*files(tmp_path, config=changed("short", ("params.v_posterior", 0.0))))


@pytest.mark.parametrize("scale", [0.0, float("nan"), float("inf")])
def test_a_scale_that_cannot_be_inverted_is_refused(tmp_path: Path, scale: float):
    with pytest.raises(ConfigError, match="scale"):
        read_lvdm(*files(tmp_path, config=changed("short", ("params.scale_factor", scale))))
    state = official_lvdm.state() | {"scale_factor": torch.tensor(scale)}
    config = changed("short", ("params.scale_by_std", True))
    with pytest.raises(CheckpointError, match="scale"):
        read_lvdm(*files(tmp_path, state=state, config=config))


def test_weights_that_are_not_finite_are_named(tmp_path: Path):
    state = official_lvdm.state()
    name = next(key for key in state if key.startswith("model_ema.") and "out2weight" in key)
    state[name] = torch.full_like(state[name], float("nan"))
    with pytest.raises(
        CheckpointError, match=r"UNet: .*'conv_out\.weight' has values that are not"
    ):
        read_lvdm(*files(tmp_path, state=state))


def test_a_converted_model_makes_a_long_video(tmp_path: Path):
    keys, between = files(tmp_path, "keys"), files(tmp_path, "between")
    # the averages, which are the weights plus one, overflow
    convert_lvdm_folder(*keys, tmp_path / "ours", raw=True, interpolator=between)
    model = VideoModel.from_pretrained(tmp_path / "ours")
    sampling = model.index.sampling.model_copy(update={"sampler": DDIM(steps=1)})
    request = model.request([0])
    parts = list(model.long_video(sampling)(request, 12))
    assert sum(part.frames.shape[1] for part in parts) >= 12


def test_a_scale_that_was_measured_in_training_is_read_from_the_checkpoint(tmp_path: Path):
    state = official_lvdm.state() | {"scale_factor": torch.tensor(0.75)}
    config = changed("short", ("params.scale_by_std", True), ("params.scale_factor", 1.0))
    model = read_lvdm(*files(tmp_path, state=state, config=config))
    assert model.index.latent_scaling.scale == 0.75


def test_labels_are_numbers(tmp_path: Path):
    state = official_lvdm.state()
    table = torch.ones(5, 128)
    state |= {f"{UNET}label_emb.weight": table, "model_ema.diffusion_modellabel_embweight": table}
    config = changed(
        "short",
        ("params.conditioning_key", "adm"),
        ("params.cond_stage_config", "labels"),
        ("params.unet_config.params.num_classes", 5),
    )
    model = read_lvdm(*files(tmp_path, state=state, config=config))
    assert model.labels.class_of("4") == 4


def text_model(folder: Path) -> VideoModel:
    convert_lvdm_folder(*files(folder, "text"), folder / "ours")
    return VideoModel.from_pretrained(folder / "ours")


def test_a_text_to_video_model_comes_without_its_text_encoder(tmp_path: Path, caplog: Any):
    model = text_model(tmp_path)
    assert model.denoisers["first"].reads == {"text"}
    assert model.index.latent_scaling.scale == 0.18215
    got, want = model.autoencoder.state_dict(), official_lvdm.state("text")
    key = "decoder.up.0.block.0.conv1.bias"
    assert torch.equal(
        got["coder.decoder.up_blocks.2.resnets.0.conv1.bias"], want[f"first_stage_model.{key}"]
    )
    message = r"text\.ckpt: its text encoder, the 2 weights cond_stage_model\.\*, is left out"
    assert re.search(message, caplog.text)


def test_a_text_to_video_model_makes_the_video_of_given_states(tmp_path: Path):
    model = text_model(tmp_path)
    sampling = model.index.sampling.model_copy(update={"sampler": DDIM(steps=1)})
    text, empty = torch.randn(2, 1, 5, 16)

    def made(signals: Signals) -> Any:
        request = Request(seeds=(0,), signals=signals)
        return next(model.long_video(sampling)(request, 2)).frames

    frames = made(text_signal(text, empty))
    assert frames.shape == (1, 2, 16, 16, 3)
    assert (frames != made(text_signal(text))).any()
    assert (frames != made(text_signal(empty, empty))).any()


def test_a_text_to_video_model_makes_the_video_of_a_prompt_with_clip_of_a_folder(tmp_path: Path):
    """States of 77 tokens in the official model; the tiny CLIP has 12."""
    model, clip = text_model(tmp_path), write_tiny_clip(tmp_path / "clip")
    encoder = model.index.text_encoder
    assert encoder == PretrainedText(name="openai/clip-vit-large-patch14", tokens=77)
    short = model.index.model_copy(update={"text_encoder": PretrainedText(tokens=TOKENS)})
    replace(model, index=short).save_pretrained(tmp_path / "short")
    short_model = VideoModel.from_pretrained(tmp_path / "short")
    sampling = short.sampling.model_copy(update={"sampler": DDIM(steps=1)})
    calm, storm = (short_model.request([0], None, Prompt(x, "", clip)) for x in ("calm", "storm"))
    video = short_model.long_video(sampling)
    assert (next(video(calm, 2)).frames != next(video(storm, 2)).frames).any()


def test_a_text_to_video_model_without_a_prompt_or_clip_is_refused(tmp_path: Path):
    model = text_model(tmp_path)
    with pytest.raises(ValueError, match="makes videos of a text, but none is given"):
        model.request([0])
    with pytest.raises(ValueError, match="not a text model of transformers on this machine"):
        model.request([0], None, Prompt("calm", "", tmp_path))


def test_a_text_encoder_in_a_model_without_text_is_refused(tmp_path: Path):
    state = with_one_more("cond_stage_model.weight")(official_lvdm.state())
    with pytest.raises(
        CheckpointError, match=r"'cond_stage_model\.weight' is not a weight of an o"
    ):
        read_lvdm(*files(tmp_path, state=state))


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


def test_a_hostile_checkpoint_is_refused_by_name(tmp_path: Path):
    ckpt, config = files(tmp_path)
    torch.save({"state_dict": official_lvdm.state(), "callbacks": Hostile()}, ckpt)
    with pytest.raises(CheckpointError, match=r"short\.ckpt: names '(posix|nt)\.system'"):
        convert_lvdm_folder(ckpt, config, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_a_truncated_checkpoint_is_named_so(tmp_path: Path):
    ckpt, config = files(tmp_path)
    ckpt.write_bytes(ckpt.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"short\.ckpt: is truncated"):
        convert_lvdm_folder(ckpt, config, tmp_path / "ours")


def test_a_folder_that_exists_is_kept_unless_asked(tmp_path: Path):
    given = files(tmp_path, "autoencoder")
    convert_lvdm_folder(*given, tmp_path / "ours")
    with pytest.raises(ExistsError, match="exists; choose another path or set overwrite=True"):
        convert_lvdm_folder(*given, tmp_path / "ours")
    convert_lvdm_folder(*given, tmp_path / "ours", overwrite=True)


def without(key: str) -> Callable[[State], State]:
    return lambda state: {k: v for k, v in state.items() if k != key}


def with_one_more(key: str) -> Callable[[State], State]:
    return lambda state: state | {key: torch.ones(3)}


MIDDLE = f"{UNET}middle_block.0.in_layers.0.bias"
AVERAGED_MIDDLE = "model_ema.diffusion_modelmiddle_block0in_layers0bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(MIDDLE), f"'{AVERAGED_MIDDLE}' is not the EMA of a weight"),
        (without(AVERAGED_MIDDLE), f"the checkpoint lacks 1 EMA weight, first '{AVERAGED_MIDDLE}'"),
        (with_one_more("lora.weight"), "'lora.weight' is not a weight of an official LVDM model"),
        (
            with_one_more("first_stage_model.extra.weight"),
            "autoencoder: the checkpoint has the unknown weights extra.weight;",
        ),
        (
            without("first_stage_model.decoder.conv_out.conv.bias"),
            "autoencoder: the checkpoint lacks weights decoder.conv_out.conv.bias;",
        ),
        (
            lambda state: state | {"betas": state["betas"] * 2},
            "the checkpoint's 1000 betas range from 0.003 ",
        ),
    ],
)
def test_weights_that_are_missing_or_unknown_are_named(tmp_path: Path, change: Any, message: str):
    given = files(tmp_path, state=change(official_lvdm.state()))
    with pytest.raises(CheckpointError) as error:
        read_lvdm(*given)
    assert f"short.ckpt: {message}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_raw_weight_that_is_missing_or_unknown_is_named(tmp_path: Path):
    missing = r"UNet: the checkpoint lacks weights middle_block\.0\.in_layers\.0\.bias; check"
    with pytest.raises(CheckpointError, match=missing):
        read_lvdm(*files(tmp_path, state=without(MIDDLE)(official_lvdm.state())), raw=True)
    state = with_one_more(f"{UNET}middle_block.3.weight")(official_lvdm.state())
    with pytest.raises(CheckpointError, match=r"has the unknown weights middle_block\.3\.weight;"):
        read_lvdm(*files(tmp_path, state=state), raw=True)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("model_channels", 64, "(64,), expected (128,)"),
        ("num_res_blocks", 2, "and 99 more; check that the network"),
        ("channel_mult", [1, 2, 2], "lacks weights input_blocks.4.0.op.bias"),
        ("temporal_length", 4, "embeddings_table (5, 16), expected (9, 16)"),
        ("use_relative_position", False, "has the unknown weights input_blocks.3.1.relative_posi"),
        ("resblock_updown", True, "lacks weights input_blocks.2.0.emb_layers.1.bias"),
    ],
)
def test_a_config_that_does_not_fit_the_weights_is_refused_in_one_sentence(
    tmp_path: Path, setting: str, value: Any, message: str
):
    place = f"params.unet_config.params.{setting}"
    config = changed("short", (place, value), ("params.video_length", 2))
    with pytest.raises(CheckpointError) as error:
        read_lvdm(*files(tmp_path, config=config))
    assert "short.ckpt: UNet: the checkpoint " in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_config_of_another_role_is_refused(tmp_path: Path):
    ckpt, _ = files(tmp_path, "autoencoder")
    _, config = files(tmp_path, "short")
    with pytest.raises(CheckpointError, match=r"'.*' is not a weight of an official LVDM model"):
        read_lvdm(ckpt, config)


def test_models_that_do_not_belong_together_are_refused(tmp_path: Path):
    short, keys, between = (files(tmp_path, role) for role in ("short", "keys", "between"))
    other = tmp_path / "other"
    other.mkdir()
    scaled = files(other, "between", config=changed("between", ("params.scale_factor", 0.7)))
    cases = {
        r"short\.ckpt: is not a prediction model": (short, between),
        r"between\.ckpt: is not a prediction model": (between, between),
        r"keys\.ckpt: is not an interpolation model": (keys, keys),
        r"keys\.ckpt and between\.ckpt\): they differ in latent_scaling": (keys, scaled),
    }
    for message, (first, second) in cases.items():
        with pytest.raises(ValueError, match=message):
            convert_lvdm_folder(*first, tmp_path / "ours", interpolator=second)


def test_two_autoencoders_are_not_mixed(tmp_path: Path):
    state = official_lvdm.state("between")
    state["first_stage_model.decoder.conv_out.conv.bias"] = torch.ones(3)
    between = files(tmp_path, "between", state=state)
    with pytest.raises(ValueError, match="they differ in autoencoder"):
        convert_lvdm_folder(*files(tmp_path, "keys"), tmp_path / "ours", interpolator=between)


def test_a_config_error_names_the_file(tmp_path: Path):
    config = changed("short", ("params.parameterization", "v"))
    with pytest.raises(ConfigError, match=r"short\.yaml: model\.params\.parameterization: "):
        read_lvdm(*files(tmp_path, config=config))
