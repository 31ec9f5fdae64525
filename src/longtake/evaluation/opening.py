"""Both sides of an evaluation from the names that a user gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.config import read
from longtake.distributed import Ranks
from longtake.evaluation.model_side import ModelSide, open_kept
from longtake.evaluation.names import FORMS, WORLDS, is_model, open_side, world_of
from longtake.evaluation.protocols import Protocol, Role
from longtake.evaluation.sides import Side
from longtake.model import VideoModel, sampling_with


@dataclass(frozen=True, kw_only=True)
class ModelUse:
    """How a model that is a side is sampled.

    Attributes:
        changes: ``a.b=value`` overrides of its sampling.
        label: class of all videos; where None, each seed has one of its own.
        batch: videos sampled at once.
        seed: videos of different seeds have none in common.
        keep: folder to keep the videos in.
    """

    changes: Sequence[str] = ()
    label: str | None = None
    batch: int = 8
    seed: int = 0
    keep: Path | None = None


def open_sides(
    names: Sequence[str], protocol: Protocol, use: ModelUse, ranks: Ranks
) -> tuple[Side, Side]:
    """Real and generated side; a model alone is measured against the embedded world it knows.

    Args:
        names: of both sides, or of a model.
        protocol: says how many and how long a model's videos are, and how large a world's.
        use: how a model is sampled.
        ranks: processes of the job, on whose device a model computes.

    Raises:
        ValueError: a name is none, or one side alone is no model of a world.
    """
    if not 1 <= len(names) <= 2:
        raise ValueError(
            f"an evaluation has two sides, REAL and FAKE, or one model of an embedded world; got "
            f"{len(names)} names"
        )
    fake, real = names[-1], names[0] if len(names) == 2 else None
    if real is not None and _is_world(fake):
        opened = _open(real, "real", protocol, use, ranks)
        return opened, _open(fake, "generated", protocol, use, ranks, beside=opened)
    generated = _open(fake, "generated", protocol, use, ranks)
    real = _own_world(fake, generated) if real is None else real
    return _open(real, "real", protocol, use, ranks, beside=generated), generated


def _open(
    name: str,
    role: Role,
    protocol: Protocol,
    use: ModelUse,
    ranks: Ranks,
    beside: Side | None = None,
) -> Side:
    """A side; a world that is named without a size has the protocol's, or the other side's."""
    size = (64, 64)
    if protocol.resolution is not None:
        size = (protocol.resolution, protocol.resolution)
    elif beside is not None and _is_world(name):
        look = beside.look(0)
        size = look.height, look.width
    return open_side(name, size) or _model_side(name, role, protocol, use, ranks)


def _is_world(name: str) -> bool:
    return name.split(":")[0] in WORLDS


def _model_side(
    name: str, role: Role, protocol: Protocol, use: ModelUse, ranks: Ranks
) -> ModelSide:
    model = VideoModel.from_pretrained(name, device=ranks.device)

    def side(keep: Path | None) -> ModelSide:
        return ModelSide(
            name,
            model,
            sampling_with(model.index.sampling, use.changes),
            videos=protocol.n,
            frames=protocol.span(role),
            label=use.label,
            levels=protocol.treatment.levels,
            first_seed=use.seed * protocol.n,
            batch=use.batch,
            keep=keep,
        )

    if use.keep is None or role == "real":
        return side(None)
    if ranks.main:
        open_kept(side(None), use.keep)
    ranks.barrier()
    return side(use.keep)


def _own_world(name: str, side: Side) -> str:
    """The embedded world a model was trained on; its test videos, which it has not seen."""
    if not isinstance(side, ModelSide):
        raise ValueError(
            f"{name} alone is measured against nothing: name the real side first, then this; a "
            f"side is {FORMS}"
        )
    found = world_of(side.classes) or _trained_on(name)
    if found is None:
        raise ValueError(
            f"{name}: is no model of an embedded world ({', '.join(WORLDS)}); name the real "
            "videos first, then the model"
        )
    return f"{found}:test"


def _trained_on(name: str) -> str | None:
    """The world that a run's config names."""
    path = Path(name) / "config.yaml"
    if not is_model(name) or not path.exists():
        return None
    data = read(path).get("data")
    kind = data.get("kind") if isinstance(data, dict) else None
    return kind if kind in WORLDS else None
