"""Every preset can be read, says what it is, and its networks fit together."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from longtake.config import override, read
from longtake.hub import shipped_models
from longtake.model import VideoModel
from longtake.registry import AnyAutoencoder, AnyDecoder, AnyDenoiser, AnySampler
from longtake.run_registry import AnySource
from longtake.runs import (
    AnyRun,
    AutoencoderRun,
    DecoderRun,
    DiffusionRun,
    DistillationRun,
    presets,
    read_run,
)

NAMES = sorted(presets())
STUDENTS = [name for name in NAMES if isinstance(read_run(name), DistillationRun)]
TRAINED = [name for name in NAMES if name not in STUDENTS]


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_what_it_is_what_it_needs_and_what_to_expect(name: str):
    header = []
    for line in presets()[name].read_text().splitlines():
        if not line.startswith("#"):
            break
        header.append(line)
    assert len(header[0]) > 20
    assert not header[0].startswith(("# Hardware:", "# Expect:"))
    for word in ("Hardware", "Expect"):
        assert sum(line.startswith(f"# {word}: ") for line in header) == 1, word


@pytest.mark.parametrize("name", TRAINED)
def test_the_networks_of_a_preset_can_be_built(name: str):
    run = read_run(name)
    with torch.device("meta"):
        if isinstance(run, AutoencoderRun):
            run.autoencoder.build()
            for adversary in run.loss.adversary:
                adversary.build()
        elif isinstance(run, DecoderRun):
            run.decoder.build()
        elif isinstance(run, DiffusionRun):
            run.denoiser.build()


LAPTOP = [name for name in TRAINED if name.startswith("lvdm_laptop")]


@pytest.mark.parametrize("name", LAPTOP)
def test_the_laptop_presets_train_by_the_best_objective_measured(name: str):
    """``v, min-SNR 5`` of docs/results/objectives.json."""
    run = read_run(name)
    if isinstance(run, DiffusionRun):
        assert (run.diffusion.prediction, run.diffusion.weighting) == ("v", "min_snr")


@pytest.mark.parametrize("name", TRAINED)
def test_what_a_preset_continues_from_is_a_preset_too(name: str):
    run = read_run(name)
    assert not isinstance(run, DistillationRun)
    origin = run.model if isinstance(run, DiffusionRun) else run.init_from
    if origin is not None and origin.startswith("runs/"):
        assert origin.removeprefix("runs/") in NAMES


@pytest.mark.parametrize("name", [n for n in NAMES if isinstance(read_run(n), DiffusionRun)])
def test_a_denoiser_fits_the_autoencoder_and_the_clips_it_is_trained_on(name: str):
    run = read_run(name)
    assert isinstance(run, DiffusionRun)
    autoencoder = autoencoder_of(run)
    if autoencoder is None:
        pytest.skip("its autoencoder has no preset")
    window, height, width = autoencoder.clip
    with torch.device("meta"):
        clips, latents = run.denoiser.build().spec, autoencoder.build().spec
    overlap = clips.clip_overlap_frames
    assert (run.data.plan.frames - window) % (window - overlap) == 0
    assert (run.data.plan.height, run.data.plan.width) == (height, width)
    if latents.frame_axis is None:
        assert clips.shape == latents.shape
        pair = 2 * window - overlap
        assert run.data.plan.frames >= (pair if run.clip.previous_share else window)
        return
    channels, latent_frames, *cells = autoencoder.latent
    assert (run.denoiser.latent[0], *run.denoiser.latent[2:]) == (channels, *cells)
    cached = run.data.plan.frames // window * latent_frames
    assert (run.denoiser.latent[1] - 1) * run.clip.stride + 1 <= cached
    assert run.denoiser.clip[0] * latent_frames == run.denoiser.latent[1] * window


@pytest.mark.parametrize("name", [n for n in TRAINED if n.endswith("_interp")])
def test_what_fills_between_keyframes_spans_one_of_their_steps(name: str):
    keys, between = read_run(name.replace("_interp", "_pred")), read_run(name)
    assert isinstance(keys, DiffusionRun)
    assert isinstance(between, DiffusionRun)
    assert between.roles == ("interpolator",)
    assert (between.denoiser.latent[1] - 1) * between.clip.stride == keys.clip.stride
    assert between.diffusion == keys.diffusion


def autoencoder_of(run: AutoencoderRun | DiffusionRun) -> Any:
    """Follow a preset to the autoencoder under it."""
    while isinstance(run, DiffusionRun):
        name = run.model.removeprefix("runs/")
        if name not in NAMES:
            return None
        found = read_run(name)
        assert isinstance(found, AutoencoderRun | DiffusionRun)
        run = found
    return run.autoencoder


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_is_distilled_from_a_shipped_model_on_clips_that_fit_it(name: str):
    run = read_run(name)
    assert isinstance(run, DistillationRun)
    assert run.teacher in shipped_models()
    model = VideoModel.from_pretrained(run.teacher)
    spec = model.clip_sampler(run.roles[0]).spec
    run.clip.check(model.clip_sampler(run.roles[0]).denoiser)
    plan, (window, *size) = run.data.plan, model.autoencoder.spec.clip
    overlap = spec.clip_overlap_frames
    assert (plan.frames - window) % (window - overlap) == 0
    assert [plan.height, plan.width] == size
    assert run.data.classes == model.index.classes


def test_a_preset_in_a_file_is_read_as_the_shipped_one(tmp_path: Path):
    (tmp_path / "x.yaml").write_text(presets()["lvdm_demo_autoencoder"].read_text())
    assert read_run(str(tmp_path / "x.yaml")) == read_run("lvdm_demo_autoencoder")


@pytest.mark.parametrize(
    ("name", "field", "union"),
    [
        ("lvdm_demo_autoencoder", "autoencoder", AnyAutoencoder),
        ("lvdm_sky_light_decoder", "decoder", AnyDecoder),
        ("lvdm_demo_pred", "denoiser", AnyDenoiser),
        ("lvdm_demo_pred", "sampling.sampler", AnySampler),
        ("lvdm_demo_pred", "data", AnySource),
    ],
)
def test_another_kind_drops_the_fields_of_the_one_before(name: str, field: str, union: Any):
    """Also of ``autoencoder`` and ``decoder``, which are kinds of runs too."""
    for each in get_args(get_args(union)[0]):
        kind = each.model_fields["kind"].default
        data = override(AnyRun, read(presets()[name]), [f"{field}.kind={kind}"])
        for part in field.split("."):
            data = data[part]
        assert data.keys() <= each.model_fields.keys(), each
