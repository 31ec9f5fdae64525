"""What training gives of a clip: each case, and a mixture of them."""

import itertools
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tiny_runs import diffusion_run, train

from longtake.config import ConfigError, changed, parse, to_dict
from longtake.diffusion.signals import CONTEXT, ContextPlan
from longtake.diffusion.signals.context_cases import (
    AnyFrames,
    ContextCase,
    Ends,
    Every,
    First,
    FrameTimes,
    Last,
    Nothing,
)
from longtake.given import ending_with
from longtake.model import VideoModel, sampling_with
from longtake.noise import generator
from longtake.registry import AnyContextCase
from longtake.runs import DiffusionRun, read_run

FRAMES = 5
CASES = get_args(get_args(AnyContextCase)[0])
MASKS: list[tuple[ContextCase, float, list[int]]] = [
    (Nothing(), 0.0, []),
    (First(), 0.9, [0]),
    (First(counts=(1, 3)), 0.5, [0, 1, 2]),
    (Last(counts=(1, 2)), 0.7, [3, 4]),
    (Ends(), 0.0, [0, 4]),
    (Every(distance=2), 0.0, [0, 2, 4]),
    (Every(distance=3), 0.0, [0, 3]),
    (FrameTimes(), 0.0, []),
]


def places(case: ContextCase, pick: float, frames: int = FRAMES) -> list[int]:
    return case.mask(frames, pick, generator(0, "mask")).nonzero()[:, 0].tolist()


@pytest.mark.parametrize(("case", "pick", "given"), MASKS, ids=repr)
def test_a_case_gives_its_frames(case: ContextCase, pick: float, given: list[int]):
    assert places(case, pick) == given


def test_any_number_of_any_frames_is_given_but_never_none_or_all():
    drawn = [AnyFrames().mask(FRAMES, n / 400, generator(n, "mask")).float() for n in range(400)]
    counts = torch.stack(drawn).sum(1)
    assert counts.unique().tolist() == [1, 2, 3, 4]
    assert (torch.stack(drawn).mean(0) - 0.5).abs().max() < 0.1


@pytest.mark.parametrize(
    "case", [*(case for case, _, _ in MASKS), AnyFrames(), Last(counts=(2, 4))], ids=repr
)
def test_a_case_knows_every_mask_that_it_can_draw(case: ContextCase):
    random = generator(0, "masks")
    drawn = {tuple(case.mask(FRAMES, n / 1000, random).tolist()) for n in range(1000)}
    every = list(itertools.product([False, True], repeat=FRAMES))
    assert {mask for mask in every if case.draws(torch.tensor(mask))} == drawn


@pytest.mark.parametrize("kind", CASES)
def test_the_shortest_clip_of_a_case_has_a_frame_to_generate(kind: Any):
    case = kind()
    assert len(places(case, 0.99, case.least_frames)) < case.least_frames
    plan = ContextPlan(cases=(case,))
    plan.check(case.least_frames)
    if case.least_frames > 1:
        with pytest.raises(ValueError, match=f"{kind.__name__} leave none of the clip's"):
            plan.check(case.least_frames - 1)


@pytest.mark.parametrize(
    ("papers", "cases"),
    [
        (ContextPlan(), (First(weight=0.5), Nothing(weight=0.5))),
        (ContextPlan(predict=0, interpolate=0.9), (Ends(weight=9), Nothing(weight=1))),
        (
            ContextPlan(predict=0.5, interpolate=0.25, first_frames=(1, 2), every=2),
            (Every(weight=2), First(weight=4, counts=(1, 2)), Nothing(weight=2)),
        ),
    ],
)
def test_the_papers_models_are_mixtures_and_draw_the_same(papers: ContextPlan, cases: Any):
    z, mixed = torch.zeros(2, FRAMES, 1, 1), ContextPlan(cases=cases)
    for number in range(100):
        one, other = (plan.draw(z, generator(number, "sample")) for plan in (papers, mixed))
        for name in CONTEXT:
            assert torch.equal(one.signals[name].value, other.signals[name].value)


def test_a_mixture_draws_its_cases_by_their_weights():
    plan = ContextPlan(cases=(Nothing(weight=1), Ends(weight=3), FrameTimes(weight=4)))
    z = torch.zeros(1, FRAMES, 1, 1)
    drawn = [plan.draw(z, generator(number, "sample")) for number in range(2000)]
    ends = sum(bool(one.signals["context_mask"].value.any()) for one in drawn) / 2000
    times = sum(one.frame_times for one in drawn) / 2000
    assert abs(ends - 3 / 8) < 0.03
    assert abs(times - 1 / 2) < 0.03


@pytest.mark.parametrize("kind", CASES)
def test_a_case_is_read_back_equal(kind: type[ContextCase]):
    assert parse(AnyContextCase, to_dict(kind(weight=2))) == kind(weight=2)


def test_a_plan_without_cases_is_written_as_before():
    assert "cases" not in to_dict(ContextPlan())


MIXED = ["clip.context.cases=[{kind: any}, {kind: frame_times}]", "denoiser.noise_classes=null"]
STATED = [*MIXED, "diffusion.time_per_frame=true", "denoiser.frame_times=true"]


@pytest.fixture
def run(tiny_autoencoder_folder: Path) -> DiffusionRun:
    return diffusion_run(tiny_autoencoder_folder, steps=2)


def test_a_model_trained_with_frame_times_states_it_and_follows_rollouts_that_use_them(
    run: DiffusionRun, tmp_path: Path
):
    train(changed(DiffusionRun, run, STATED), tmp_path)
    model = VideoModel.from_pretrained(tmp_path / "model")
    assert model.index.diffusion is not None
    assert model.index.diffusion.time_per_frame
    video = model.long_video(sampling_with(model.index.sampling, ["rollout.kind=fifo"]))
    assert next(video(model.request([1]), 8)).frames.shape[0] == 1


def test_a_model_states_the_cases_it_was_trained_with_and_leads_up_to_an_image(
    run: DiffusionRun, tmp_path: Path
):
    masked = read_run("lvdm_demo_masked")
    assert isinstance(masked, DiffusionRun)
    assert masked.clip.context is not None
    cases = masked.clip.context.cases
    named = f"clip.context.cases={json.dumps([to_dict(case) for case in cases])}"
    train(changed(DiffusionRun, run, [*STATED, named]), tmp_path)
    model = VideoModel.from_pretrained(tmp_path / "model")
    assert model.index.context_cases == {"first": cases}
    image = np.full((1, 16, 16, 3), 77, np.uint8)
    video = ending_with(model.long_video(), image)
    (part,) = video(model.request([1]), video.length)
    assert np.array_equal(part.frames[0, -1:], image)
    assert not np.array_equal(part.frames[0, :1], image)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (MIXED, "has frame_times, but diffusion.time_per_frame is false"),
        (
            [*STATED, "clip.context.cases=[{kind: any}]"],
            "has no case of kind frame_times; add {kind: frame_times}",
        ),
        (
            ["clip.context.cases=[{kind: ends}]", "clip.context.predict=0.2"],
            "cases and predict cannot",
        ),
        (["clip.context.cases=[{kind: middle}]"], "must be one of|valid are nothing"),
    ],
)
def test_a_mixture_that_contradicts_itself_is_refused(
    run: DiffusionRun, changes: list[str], message: str
):
    with pytest.raises(ConfigError, match=message):
        changed(DiffusionRun, run, changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["diffusion.time_per_frame=true"], "this network has one time for all frames; set"),
        (["clip.context.cases=[{kind: last, counts: [4]}]"], "Last leave none of the clip's 4"),
    ],
)
def test_a_mixture_that_the_network_cannot_take_is_refused_before_clips_are_encoded(
    run: DiffusionRun, changes: list[str], message: str, tmp_path: Path
):
    with pytest.raises(ValueError, match=message):
        train(changed(DiffusionRun, run, changes), tmp_path)
    assert not (tmp_path / "latents").exists()
