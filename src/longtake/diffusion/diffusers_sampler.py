"""Schedulers of diffusers as samplers, by one adapter for all of them."""

import inspect
import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Interval
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from longtake.config import nearest
from longtake.diffusion.samplers import Bounds, Denoise, Sampler, TimeTable, clamp
from longtake.diffusion.schedule import STEPS, NoiseSchedule
from longtake.latents import Latent
from longtake.noise import SampleNoise

SCHEDULERS = (
    "DDIM",
    "DDPM",
    "DPMSolverMultistep",
    "EulerAncestralDiscrete",
    "EulerDiscrete",
    "HeunDiscrete",
    "LCM",
    "UniPCMultistep",
)
"""Schedulers of diffusers that can be used, without the ending "Scheduler" of their names. The last
step of each gives the clean estimate itself, unlike that of DEISMultistep, PNDM and TCD."""

EVEN_STEPS = frozenset({"DDIM"})
"""Schedulers that step down by ``STEPS // steps`` in every timestep spacing, so that noise is left
where ``steps`` does not divide ``STEPS`` (diffusers 0.42: std 0.04 at 7 and 0.17 at 512 steps)."""

LCM_STEPS = 50
"""Greatest number of steps of LCM, unless its option ``original_inference_steps`` sets another."""

SIGMA_SPACE = frozenset({"EulerAncestralDiscrete", "EulerDiscrete", "HeunDiscrete"})
"""Schedulers that step through sigma / alpha, in float32. Where that is infinite at t = 1, as for a
cosine schedule, rounding would be too large: one step to a constant estimate is off by 5e-3, and a
square root of a value below 0 is NaN; so they start at ``LARGEST_SIGMA``."""

LARGEST_SIGMA = 160.0
"""Greatest sigma / alpha at which the schedulers of ``SIGMA_SPACE`` start; DDPM's linear table ends
at 157, EDM at 80."""

_NAN = "gives NaN"
_VARIANCE = "needs a network that predicts variances"
_FLOW = "follows another noise schedule than the model's"
_UNFIT = (
    ("DDPM", "variance_type", "fixed_large_log", _NAN, "fixed_large"),
    ("DDPM", "variance_type", "learned", _VARIANCE, "fixed_small"),
    ("DDPM", "variance_type", "learned_range", _VARIANCE, "fixed_small"),
    ("DPMSolverMultistep", "algorithm_type", "sde-dpmsolver", "adds noise", "sde-dpmsolver++"),
    ("DPMSolverMultistep", "use_flow_sigmas", True, _FLOW, False),
    ("EulerDiscrete", "interpolation_type", "log_linear", "adds noise", "linear"),
    ("EulerDiscrete", "timestep_type", "continuous", "adds noise", "discrete"),
    ("UniPCMultistep", "lower_order_final", False, _NAN, True),
    ("UniPCMultistep", "predict_x0", False, _NAN, True),
    ("UniPCMultistep", "solver_type", "bh1", _NAN, "bh2"),
    ("UniPCMultistep", "use_dynamic_shifting", True, _FLOW, False),
    ("UniPCMultistep", "use_flow_sigmas", True, _FLOW, False),
)
"""Schedulers with an option that spoils samples (diffusers 0.42): the option's value, what the
scheduler then does, and a value to use instead."""

_BETAS = ("beta_end", "beta_schedule", "beta_start")
"""Options without effect, as the scheduler gets a table of betas."""

_LARGEST_BETA = 0.999
"""Last beta of a table that ends in pure noise (Nichol and Dhariwal 2021)."""


class DiffusersSampler(Sampler):
    """Samples with a scheduler of diffusers; the noise schedule must preserve variance.

    The scheduler gets the noise schedule as a table of betas, and estimates in v-prediction, which
    all schedulers support and which, unlike epsilon, is well defined at zero SNR. Where a scheduler
    draws noise, each sample draws from its own random stream.

    Attributes:
        scheduler: class name in diffusers without ``Scheduler``: DDIM, DDPM, DPMSolverMultistep,
            EulerAncestralDiscrete, EulerDiscrete, HeunDiscrete, LCM or UniPCMultistep.
        steps: number of steps as the scheduler counts them; HeunDiscrete evaluates the network
            twice per step. It must divide 1000 for DDIM.
        options: further arguments of the scheduler's constructor or of its ``step``, such as
            ``{"use_karras_sigmas": true}`` or ``{"eta": 1.0}``; ``timestep_spacing`` is trailing
            unless set here.

    Raises:
        ValueError: there is no such scheduler, its samples would be noisy or NaN at these settings,
            or an option would have no effect.
    """

    per_frame: ClassVar[bool] = False

    kind: Literal["diffusers"] = "diffusers"
    scheduler: str = "DPMSolverMultistep"
    steps: Annotated[int, Interval(ge=1, le=STEPS)] = 25
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _scheduler_exists(self) -> "DiffusersSampler":
        if self.scheduler not in SCHEDULERS:
            raise ValueError(
                f"unknown scheduler {self.scheduler!r}; {nearest(self.scheduler, SCHEDULERS)}"
            )
        if self.scheduler in EVEN_STEPS and STEPS % self.steps:
            raise ValueError(
                f"steps={self.steps} must divide {STEPS} for the {self.scheduler} of diffusers, "
                "which leaves noise otherwise; choose another number or the sampler ddim"
            )
        for scheduler, option, value, fault, other in _UNFIT:
            if scheduler == self.scheduler and self.options.get(option) == value:
                raise ValueError(
                    f"{option}={_shown(value)} must be {_shown(other)} for the {scheduler} of "
                    f"diffusers, which {fault} otherwise"
                )
        for option in filter(self.options.__contains__, _BETAS):
            raise ValueError(
                f"{option} has no effect, as the {self.scheduler} of diffusers follows the model's "
                "noise schedule; leave it out, or set diffusion.schedule of the training"
            )
        algorithm, order = (self.options.get(k) for k in ("algorithm_type", "solver_order"))
        if algorithm == "sde-dpmsolver++" and order == 3:
            raise ValueError(
                "solver_order=3 must be at most 2 for the sde-dpmsolver++ of diffusers, which adds "
                "noise in third order; choose 2 or the algorithm_type dpmsolver++"
            )
        most = int(self.options.get("original_inference_steps", LCM_STEPS))
        if self.scheduler == "LCM" and self.steps > most:
            raise ValueError(
                f"steps={self.steps} must be at most {most} for the LCM of diffusers, or its "
                "option original_inference_steps be greater"
            )
        return self

    def times(self, schedule: NoiseSchedule) -> Float[Tensor, "s"]:
        """Times in [0, 1] that the scheduler visits, falling, then 0.

        Raises:
            ValueError: the scheduler cannot use this noise schedule, or refuses ``options``.
        """
        if self.scheduler == "HeunDiscrete" and schedule.ends_in_noise:
            raise ValueError(
                f"the {self.scheduler} of diffusers leaves far too much noise on the "
                f"schedule {type(schedule).__name__}, which ends in pure noise; choose "
                "DPMSolverMultistep or UniPCMultistep, which are of second order too"
            )
        indices = self._build(schedule)[0].timesteps.double()
        return torch.cat([(indices + 1) / STEPS * self._end(schedule), indices.new_zeros(1)])

    def __call__(
        self,
        denoise: Denoise,
        z: Latent,
        times: TimeTable,
        schedule: NoiseSchedule,
        noise: SampleNoise,
        bounds: Bounds | None = None,
    ) -> Latent:
        """Step ``z`` through ``times`` to a clean latent; arguments as in ``Sampler.__call__``.

        The scheduler's tables stay on the CPU.

        Raises:
            ValueError: a latent frame has neither one constant time nor the scheduler's times.
        """
        scheduler, arguments = self._build(schedule)
        own, still = self.times(schedule), times[0] == times[-1]
        alpha = schedule(own).alpha.clamp_min(_table_end(self._betas(schedule)))
        alphas, sigmas = alpha.tolist(), (1 - alpha**2).sqrt().tolist()
        if not ((times.cpu() == own.reshape(-1, *[1] * still.ndim)) | still.cpu()).all():
            raise ValueError(
                f"{self.scheduler} of diffusers has one time for all frames of a clip; choose the "
                "sampler ddim or ddpm for per-frame times"
            )
        if "generator" in inspect.signature(scheduler.step).parameters:
            arguments["generator"] = _streams(noise)
        if hasattr(scheduler, "set_begin_index"):  # else it takes equal times for one
            scheduler.set_begin_index(0)
        kept, stays = z, still.to(z.device).reshape(len(z), 1, -1, *[1] * (z.ndim - 3))
        times = times.to(z)
        x = z * float(scheduler.init_noise_sigma)
        for i, index in enumerate(scheduler.timesteps):
            z = torch.where(stays, kept, scheduler.scale_model_input(x, index))
            x0 = clamp(denoise(z, times[i]), bounds)
            v = (alphas[i] * z - x0) / sigmas[i]
            x = scheduler.step(v, index, x, return_dict=False, **arguments)[0]
        return torch.where(stays, kept, x)

    def _build(self, schedule: NoiseSchedule) -> tuple[Any, dict[str, Any]]:
        """Build the scheduler, and collect those of ``options`` that its ``step`` takes.

        A ValueError if the scheduler takes no such option or refuses its value.
        """
        import diffusers

        kind = getattr(diffusers, f"{self.scheduler}Scheduler")
        ours = {
            "num_train_timesteps": STEPS,
            "trained_betas": self._betas(schedule),
            "prediction_type": "v_prediction",
            "clip_sample": False,
        }
        built, stepped = _parameters(kind.__init__), _parameters(kind.step)
        free = sorted((built - ours.keys() - set(_BETAS)) | stepped)
        for name in self.options:
            if name not in free:
                raise ValueError(
                    f"{self.scheduler} takes no option {name!r}; {nearest(name, free)}"
                )
        settings = {"timestep_spacing": "trailing", **self.options, **ours}
        try:
            scheduler = kind(**{name: value for name, value in settings.items() if name in built})
            scheduler.set_timesteps(self.steps, device="cpu")
        except (NotImplementedError, TypeError) as error:
            raise ValueError(f"the {self.scheduler} of diffusers refuses: {error}") from error
        if scheduler.timesteps[-1] < 0:  # rounding gives 61, 103, 121, 122 ... steps one too many
            scheduler.set_timesteps(self.steps * (1 - 2**-40), device="cpu")
        return scheduler, {k: v for k, v in self.options.items() if k in stepped and k not in built}

    def _end(self, schedule: NoiseSchedule) -> float:
        """Time at which sampling starts: 1, or earlier if sigma / alpha is too large there."""
        if self.scheduler not in SIGMA_SPACE or not schedule.ends_in_noise:
            return 1.0
        times = torch.linspace(0, 1, 10**5 + 1, dtype=torch.float64, device="cpu")
        alpha, sigma = schedule(times)
        return times[sigma <= LARGEST_SIGMA * alpha][-1].item()

    def _betas(self, schedule: NoiseSchedule) -> list[float]:
        """A noise schedule as 1000 betas; a ValueError if it does not preserve variance."""
        times = torch.arange(STEPS + 1, dtype=torch.float64, device="cpu") / STEPS
        alpha, sigma = schedule(times * self._end(schedule))
        if not torch.allclose(alpha**2 + sigma**2, torch.ones_like(times)):
            raise ValueError(
                f"{type(schedule).__name__} does not preserve variance, which the schedulers of "
                "diffusers need; choose the sampler ddim, which is Euler's method on a rectified "
                "flow"
            )
        return (1 - (alpha[1:] / alpha[:-1]) ** 2).clamp_max(_LARGEST_BETA).tolist()


def _shown(value: object) -> str:
    """An option's value as YAML has it, such as ``true``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table_end(betas: list[float]) -> float:
    """Least alpha of a table of betas; above the schedule's where the last beta is clipped."""
    return math.prod(1 - beta for beta in betas) ** 0.5


def _parameters(function: Any) -> set[str]:
    """Names of the arguments of a scheduler's method that an option may set."""
    fixed = {"self", "model_output", "timestep", "sample", "generator", "return_dict"}
    return set(inspect.signature(function).parameters) - fixed


def _streams(noise: SampleNoise) -> list[torch.Generator]:
    """One generator per sample, seeded from its stream: diffusers draws each row from its own."""
    seeds = noise.normal((2,)).cpu().view(torch.int64).flatten().tolist()
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
