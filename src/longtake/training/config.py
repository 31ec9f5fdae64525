"""Settings of the training loop and of optimizers."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from annotated_types import Ge, Gt, Interval
from pydantic import field_validator, model_validator

from longtake.config import Config
from longtake.data.order import micro_batches, rank_rows
from longtake.distributed import Ranks
from longtake.training.tracker import TrackerName

# Parameters of a network from which on its weights are split: in float32 its weights, gradients,
# moments and average take 20 GB.
SHARDED_PARAMETERS = 1_000_000_000


class OptimizerConfig(Config):
    """Settings of AdamW; without weight decay it is Adam.

    Attributes:
        lr: learning rate after warm-up.
        betas: exponential decay rates of the first and second moment.
        weight_decay: decoupled weight decay.
        clip_norm: greatest norm of the gradient, to which it is scaled down; None for no clipping,
            as in both papers.
    """

    lr: Annotated[float, Gt(0)] = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: Annotated[float, Ge(0)] = 0.0
    clip_norm: Annotated[float, Gt(0)] | None = None


class EMAConfig(Config):
    """Settings of the exponential moving average (EMA) of the weights.

    Attributes:
        decay: decay per step after warm-up.
        warmup: at update n use a decay of at most (1 + n) / (10 + n), as LDM's code does.
    """

    decay: Annotated[float, Interval(gt=0, lt=1)] = 0.9999
    warmup: bool = True


class Schedule(NamedTuple):
    """Where a run and its cooldown end; may change while it trains, or when it is resumed.

    Attributes:
        steps: number of steps of the whole run.
        cooldown_steps: number of last steps over which the learning rate falls to 0.
    """

    steps: int
    cooldown_steps: int


class TrainingConfig(Config):
    """Settings of the training loop.

    Attributes:
        steps: number of optimizer steps of the whole run.
        batch: number of samples per step, over all processes and micro-batches.
        accumulate: number of micro-batches per step on each process.
        optimizer: settings of the optimizer of the trained network.
        warmup_steps: number of first steps over which the learning rate rises linearly from 0.
        cooldown_steps: number of last steps over which the learning rate falls linearly to 0.
        ema: settings of the moving average of the weights, which the run then exports; None: it
            exports the weights themselves.
        precision: precision of the networks' computation; ``auto`` is bfloat16 on CUDA and float32
            elsewhere.
        seed: seed of everything random in the run.
        log_every: steps between lines of ``log.jsonl``.
        save_every: steps between checkpoints.
        sample_every: steps between previews; 0 for none.
        evaluate_every: steps between evaluations of the model, by FVD and KVD of its samples or FVD
            of its reconstructions; 0 for none.
        export_every: steps between exports of the model; 0: only at the end. The model is also
            exported when the run is stopped.
        background_gb: size of weights, average and moments, in GB, above which checkpoints are
            written while training continues, by all processes, from a copy in CPU memory; a kill
            meanwhile costs the steps since the checkpoint before.
        keep: number of last checkpoints to keep; older ones are removed.
        keep_every: steps between checkpoints that are never removed, with the model of each in the
            run's folder ``models/step_...``; 0 for none. A ValueError unless it is a multiple of
            ``save_every``.
        tracker: experiment tracker that logged values and previews are also sent to:
            ``tensorboard``, ``wandb``, ``trackio``, or ``none``.
        shards: number of processes that split one copy of the weights, gradients and moments, a
            divisor of the number of processes; each such group has a copy. ``auto``: 1, so that
            every process keeps all of them, for networks of fewer than a billion parameters, and
            the number of processes on a machine for larger ones. It saves memory and costs
            communication; the result is the same up to rounding.
        workers: number of subprocesses of each process that read videos ahead; 0: a thread of it
            does so.
    """

    renamed: ClassVar[Mapping[str, str]] = {"average": "ema", "tensorboard": "tracker"}

    steps: Annotated[int, Ge(1)]
    batch: Annotated[int, Ge(1)]
    accumulate: Annotated[int, Ge(1)] = 1
    optimizer: OptimizerConfig = OptimizerConfig()
    warmup_steps: Annotated[int, Ge(0)] = 0
    cooldown_steps: Annotated[int, Ge(0)] = 0
    ema: EMAConfig | None = EMAConfig()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    log_every: Annotated[int, Ge(1)] = 50
    save_every: Annotated[int, Ge(1)] = 1000
    sample_every: Annotated[int, Ge(0)] = 1000
    evaluate_every: Annotated[int, Ge(0)] = 0
    export_every: Annotated[int, Ge(0)] = 1000
    background_gb: Annotated[float, Ge(0)] = 2.0
    keep: Annotated[int, Ge(1)] = 2
    keep_every: Annotated[int, Ge(0)] = 0
    tracker: TrackerName = "none"
    shards: Literal["auto"] | Annotated[int, Ge(1)] = "auto"
    workers: Annotated[int, Ge(0)] = 0

    @field_validator("tracker", mode="before")
    @classmethod
    def _former_tracker(cls, value: Any, info: Any) -> Any:
        """Convert the setting of an earlier format, whether TensorBoard is used, to its name."""
        former = info.context and info.context.get("upgrade") and isinstance(value, bool)
        return {True: "tensorboard", False: "none"}[value] if former else value

    @model_validator(mode="after")
    def _milestones_are_saved(self) -> "TrainingConfig":
        if self.keep_every % self.save_every:
            raise ValueError(
                f"keep_every={self.keep_every} must be a multiple of save_every={self.save_every}, "
                f"such as {max(round(self.keep_every / self.save_every), 1) * self.save_every}"
            )
        return self

    def check_processes(self, number: int) -> None:
        """Raise a ValueError unless ``number`` processes can share each batch and the weights.

        ``number * accumulate`` must divide ``batch``, and ``shards``, if a number, ``number``.
        """
        micro_batches(len(rank_rows(0, self.batch, 0, number)), self.accumulate)
        if self.shards != "auto" and number % self.shards:
            divisors = [n for n in range(1, number + 1) if number % n == 0]
            nearest = min(divisors, key=lambda n: abs(n - int(self.shards)))
            raise ValueError(
                f"training.shards={self.shards} must divide the number of processes, {number}; "
                f"the nearest divisor is {nearest}"
            )

    def shards_of(self, parameters: int, ranks: Ranks) -> int:
        """Number of processes of ``ranks`` that split a network of this number of parameters."""
        if self.shards != "auto":
            return self.shards
        alone = parameters < SHARDED_PARAMETERS or ranks.size % ranks.per_node
        return 1 if alone else ranks.per_node

    def learning_rate(self, step: int) -> float:
        """Learning rate of step ``step``, counted from 0, in warm-up, after it or in cooldown."""
        rise = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        left = self.steps - step
        fall = min(1.0, left / self.cooldown_steps) if self.cooldown_steps else 1.0
        return self.optimizer.lr * rise * fall
