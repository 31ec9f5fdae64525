"""A network learns to read text while the weights that it starts from stay as they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from training.tiny_runs import diffusion_run, train, triplane_autoencoder_run, triplane_run

from longtake import run_folder
from longtake.checkpoint import file_hash, read_tensors, write_tensors
from longtake.config import ConfigError, changed
from longtake.data.synthetic import SkyWorld
from longtake.diffusion.signals import ABSENT
from longtake.distributed import Ranks
from longtake.model import VideoModel
from longtake.runs import DiffusionRun
from longtake.text import Prompt
from longtake.training import checkpoint
from longtake.training.callbacks import Callbacks

TEXT = ["text_encoder={kind: word_codes, states_width: 16}", "clip.label_dropout=1.0"]
OF_KIND = {
    "lvdm": ["denoiser.attention.context_dim=16", "denoiser.pool_text=true"],
    "pvdm": ["denoiser.text_width=16"],
}


@pytest.fixture(scope="module", params=OF_KIND)
def runs(
    request: pytest.FixtureRequest, tiny_autoencoder_folder: Path, tmp_path_factory: Any
) -> tuple[Path, DiffusionRun]:
    """Folder of a trained model of classes, and the run that teaches it text."""
    root = tmp_path_factory.mktemp(request.param)
    if request.param == "pvdm":
        run_folder.start(triplane_autoencoder_run(), root / "planes", Ranks(), Callbacks())
        run = triplane_run(root / "planes")
        run = changes(run, "denoiser.num_classes=24")
    else:
        run = changes(diffusion_run(tiny_autoencoder_folder), "clip.context={}")
    train(run, root / "classes")
    own = [*TEXT, *OF_KIND[request.param], "denoiser.needs_text=false", "training.steps=6"]
    given = [f"init_from={root}/classes", "freeze_initial=true", "training.save_every=2"]
    return root / "classes", changes(run, *own, *given)


def changes(run: DiffusionRun, *overrides: str) -> DiffusionRun:
    return changed(DiffusionRun, run, overrides)


def frames(model: VideoModel, *conditions: Any) -> torch.Tensor:
    request = model.request([3], *conditions)
    length = model.denoisers["first"].spec.clip[0]
    parts = [part.pixels for part in model.long_video()(request, length)]
    return torch.cat(parts, 2)


def test_without_a_prompt_the_model_is_the_one_that_it_learned_from(
    runs: tuple[Path, DiffusionRun], tmp_path: Path
):
    classes, run = runs
    train(run, tmp_path / "text")
    before, after = map(VideoModel.from_pretrained, (classes, tmp_path / "text"))
    old = before.denoisers["first"].state_dict()
    new = after.denoisers["first"].state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert all(new[name].isfinite().all() for name in new.keys() - old.keys())
    assert torch.equal(frames(before, "3"), frames(after, "3"))
    assert torch.equal(frames(before), frames(after))  # each seed draws its class
    prompted = frames(after, None, Prompt("night"))
    assert not torch.equal(prompted, frames(after, "none"))
    request = after.request([0, 1], None, Prompt("night"))
    assert request.signals["label"].value.tolist() == [ABSENT, ABSENT]
    assert after.request([0], "3", Prompt("night")).signals["label"].value.tolist() == [3]


def test_a_stopped_training_of_new_weights_ends_as_an_undisturbed_one(
    runs: tuple[Path, DiffusionRun], tmp_path: Path
):
    _, run = runs
    train(run, tmp_path / "whole")
    train(changes(run, "training.steps=4"), tmp_path / "parts")
    train(run, tmp_path / "parts")
    one, other = (
        VideoModel.from_pretrained(tmp_path / name).denoisers["first"].state_dict()
        for name in ("whole", "parts")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_that_averaged_frozen_weights_too_continues_to_the_same_model(
    runs: tuple[Path, DiffusionRun], tmp_path: Path
):
    """Earlier versions did; the average of a weight of -0.0 was 0.0."""
    classes, run = runs
    train(run, tmp_path / "whole")
    train(changes(run, "training.steps=4"), tmp_path / "parts")
    folder = checkpoint.latest(tmp_path / "parts")
    assert folder is not None
    frozen = VideoModel.from_pretrained(classes).denoisers["first"].state_dict()
    path = folder / checkpoint.AVERAGE
    average = {k: v + 0.0 if k in frozen else v for k, v in read_tensors(path).items()}
    write_tensors(path, average)
    state = json.loads((folder / checkpoint.STATE).read_text())
    state["files"][path.name] = file_hash(path)
    (folder / checkpoint.STATE).write_text(json.dumps(state))
    train(run, tmp_path / "parts")
    one, other = (
        VideoModel.from_pretrained(tmp_path / name).denoisers["first"].state_dict()
        for name in ("whole", "parts")
    )
    for name, value in one.items():
        assert torch.equal(value.view(torch.int32), other[name].view(torch.int32)), name
        if name in frozen:
            assert torch.equal(value.view(torch.int32), frozen[name].view(torch.int32)), name


def test_there_must_be_weights_to_freeze_and_weights_to_train(
    runs: tuple[Path, DiffusionRun], tmp_path: Path
):
    _, run = runs
    with pytest.raises(ConfigError, match="freezes the weights of init_from; set that too"):
        train(changes(run, "init_from=null"), tmp_path / "run")


def test_layers_for_text_continue_from_those_given_or_start_at_random(
    runs: tuple[Path, DiffusionRun], tmp_path: Path
):
    _, run = runs
    train(run, tmp_path / "text")
    start = changes(run, f"init_from={tmp_path}/text", "training.steps=1", "training.ema=null")
    still = changes(start, "training.optimizer.lr=1e-12")
    given, fresh, known = (
        VideoModel.from_pretrained(folder).denoisers["first"].state_dict()
        for folder in (
            started(still, tmp_path / "on"),
            started(changes(still, "init_text=false"), tmp_path / "fresh"),
            tmp_path / "text",
        )
    )
    reads_text = [name for name in known if any(part in name for part in ("text", ".cross."))]
    assert reads_text
    for name in known:
        torch.testing.assert_close(given[name], known[name], atol=1e-9, rtol=1e-6)
        same = torch.equal(fresh[name], known[name])
        assert same == (name not in reads_text), name


def test_text_that_begins_with_classes_does_what_they_do_also_where_no_caption_named_them(
    runs: tuple[Path, DiffusionRun], tmp_path: Path
):
    """Trained for one step of no size: the layers are as fitted, and nothing else has changed."""
    classes, run = runs
    missing = "night, scattered, wind to the left"
    still = ["training.steps=1", "training.ema=null", "training.optimizer.lr=1e-12"]
    kind = {"volume_unet": "lvdm", "triplane_unet": "pvdm"}[run.denoiser.kind]
    wide = [text.replace("16", "64") for text in (*TEXT, *OF_KIND[kind])]
    own = ["init_text=classes", "denoiser.class_parts=[4, 3, 2]", "data.videos=96", *wide, *still]
    train(changes(run, *own, f"data.without=['{missing}']"), tmp_path / "text")
    model = VideoModel.from_pretrained(tmp_path / "text")
    before = VideoModel.from_pretrained(classes).denoisers["first"].state_dict()
    denoiser, encoder = model.denoisers["first"], model.index.text_encoder
    assert encoder is not None
    parts = denoiser.get_submodule("label_embed")
    table = before.pop("label_embed.weight")
    with torch.no_grad():
        sums = parts(torch.arange(24))
        torch.testing.assert_close(sums.mean(0), table.mean(0))
        world = SkyWorld(split="test", videos=24)
        for label, name in enumerate(model.index.classes):
            index = next(i for i in range(24) if world.label(i) == label)
            texts = [world.caption(index, wording=wording) for wording in range(5)]
            text = denoiser.get_submodule("text_embed")(encoder.load()(texts))
            error = (text - sums[label]).square().sum(-1).mean() / sums.var(0).sum()
            assert error < (0.1 if name == missing else 0.03), name
    after = denoiser.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_text_cannot_begin_with_classes_that_are_not_there(runs: tuple[Path, DiffusionRun]):
    _, run = runs
    with pytest.raises(ConfigError, match="init_text=classes reads classes of init_from"):
        changes(run, "init_text=classes", "freeze_initial=false", "init_from=null")
    base = VideoModel.from_pretrained(run.model)
    for change, said in {
        "denoiser.num_classes=null": "the denoiser reads no class; set denoiser.num_classes",
        "denoiser.pool_text=false": "adds the mean of a text to its time embedding; set denoiser.",
    }.items():
        if change.split("=")[0].removeprefix("denoiser.") not in run.denoiser.model_fields_set:
            continue
        other = changes(run, "init_text=classes", change)
        with pytest.raises(ConfigError, match=said):
            other.begin(base, other.initial_denoiser())


def started(run: DiffusionRun, folder: Path) -> Path:
    train(run, folder)
    return folder
