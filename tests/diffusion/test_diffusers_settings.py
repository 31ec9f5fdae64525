"""Settings of the schedulers of diffusers: samples of normal data keep their std, or a refusal."""

import inspect
from collections.abc import Iterator
from typing import Any, get_args

import diffusers
import pytest
from conditions import walk
from torch import Tensor

from longtake.config import ConfigError, parse
from longtake.diffusion import DiffusersSampler, ScaledLinear
from longtake.diffusion.diffusers_sampler import LCM_STEPS, SCHEDULERS
from longtake.noise import SampleNoise
from longtake.registry import AnySampler

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`algorithm_types dpmsolver:FutureWarning"),
]

STD, MANY = 0.5, 100
OURS = {"num_train_timesteps", "trained_betas", "prediction_type", "clip_sample"}
TABLE = {"beta_start", "beta_end", "beta_schedule"}  # the schedule's own betas are used instead
CUTS = {"thresholding"}  # estimates are cut to [-1, 1], which normal data are not in
TEXTS: dict[str, tuple[Any, ...]] = {
    "timestep_spacing": ("leading", "linspace", "trailing"),
    "interpolation_type": ("linear", "log_linear"),
    "solver_order": (1, 2, 3),
    "eta": (0.5, 1.0),
    "s_churn": (5.0,),
    "original_inference_steps": (100,),
    "lambda_min_clipped": (-5.1,),
}
"""Values of options whose annotations do not list them."""

REFUSED = {
    "DDPM": [
        {"variance_type": "fixed_large_log"},
        {"variance_type": "learned"},
        {"variance_type": "learned_range"},
    ],
    "DPMSolverMultistep": [
        {"algorithm_type": "dpmsolver"},
        {"algorithm_type": "sde-dpmsolver"},
        {"use_flow_sigmas": True},
    ],
    "EulerDiscrete": [{"interpolation_type": "log_linear"}, {"timestep_type": "continuous"}],
    "UniPCMultistep": [
        {"lower_order_final": False},
        {"predict_x0": False},
        {"solver_type": "bh1"},
        {"use_dynamic_shifting": True},
        {"use_flow_sigmas": True},
    ],
}


def settings(scheduler: str) -> Iterator[dict[str, Any]]:
    """Every option of a scheduler, at every value that its annotation or ``TEXTS`` lists."""
    kind = getattr(diffusers, f"{scheduler}Scheduler")
    for function in (kind.__init__, kind.step):
        for name, parameter in inspect.signature(function).parameters.items():
            if name in OURS | TABLE | CUTS or name == "return_dict":
                continue
            annotated = [v for v in get_args(parameter.annotation) if isinstance(v, str)]
            own = (True, False) if isinstance(parameter.default, bool) else tuple(annotated)
            for value in TEXTS.get(name, own):
                yield {name: value}
    if scheduler == "DPMSolverMultistep":  # which needs another end than the default one
        yield {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}


def ratio(scheduler: str, options: dict[str, Any], steps: int) -> float:
    """Std of samples of normal data of std 0.5, divided by 0.5.

    With data of std 1 a sampler that gives the network a wrong time keeps the std all the same.
    """
    schedule, noise = ScaledLinear(), SampleNoise((3,))
    z = noise.normal((1, 1, 32, 32))

    def denoise(z: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (float(x) for x in schedule(t[0].double()))
        return alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * z

    sampler = DiffusersSampler(scheduler=scheduler, steps=steps, options=options)
    return float(walk(sampler, denoise, z, schedule, noise).std() / z.std() / STD)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_setting_keeps_the_std_of_normal_data_or_is_refused(scheduler: str):
    steps = LCM_STEPS if scheduler == "LCM" else MANY
    refused, own = [], ratio(scheduler, {}, steps)
    for options in settings(scheduler):
        try:
            few, many = (ratio(scheduler, options, number) for number in (5, steps))
        except ValueError:
            refused.append(options)
            continue
        assert 0.2 < few < 2, options  # few steps of second order are far off, but finite
        assert abs(many - own) < 0.12, options
    assert sorted(refused, key=str) == sorted(REFUSED.get(scheduler, []), key=str)


def test_a_refused_setting_is_one_sentence_with_the_value_to_choose():
    bad = {"kind": "diffusers", "scheduler": "UniPCMultistep", "options": {"predict_x0": False}}
    message = "predict_x0=false must be true for the UniPCMultistep of diffusers, which gives NaN"
    with pytest.raises(ConfigError, match=message):
        parse(AnySampler, bad)


@pytest.mark.parametrize("option", ["algorithm_type", "solver_type"])
def test_a_value_that_diffusers_does_not_know_is_refused(option: str):
    with pytest.raises(ValueError, match="the DPMSolverMultistep of diffusers refuses: "):
        ratio("DPMSolverMultistep", {option: "magic"}, 5)
