"""An evaluation from sides to result: look, pick, extract, measure."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from longtake.distributed import Ranks
from longtake.evaluation.extraction import FeatureCache, FeatureNetwork, FeatureRequest, extract
from longtake.evaluation.protocols import Network, Protocol, Role
from longtake.evaluation.result import Result, SideRecord
from longtake.evaluation.scores import SCORES
from longtake.evaluation.sides import Pick, Side, Survey, choose, disjoint, same_rate, survey
from longtake.evaluation.video_sides import contents_hash
from longtake.training.log import environment

Report = Callable[[str, int, int], None]
"""Hears what is being done, how many of its clips are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """How an evaluation is done; of all this, only the seed changes its numbers.

    Attributes:
        ranks: processes that share the clips, and the device of this one.
        cache: of features.
        batch: clips that the network sees at once.
        weights: file of the network's weights, where they are not in their usual place.
        floor: also measure real clips against other real ones.
        limit: also extrapolate to ever more clips.
        seed: of which clips are picked, and where they begin.
        report: hears progress.
    """

    ranks: Ranks = field(default_factory=Ranks)
    cache: FeatureCache = field(default_factory=lambda: FeatureCache(folder=None))
    batch: int = 16
    weights: str | None = None
    floor: bool = True
    limit: bool = False
    seed: int = 0
    report: Report = lambda stage, done, total: None


def evaluate(
    real: Side, generated: Side, protocol: Protocol, metrics: Sequence[str], work: Work
) -> Result:
    """Measure generated videos against real ones.

    Args:
        real: the one side.
        generated: the other.
        protocol: how.
        metrics: names in ``SCORES``.
        work: where and with what.

    Raises:
        ValueError: videos do not fit the protocol or each other, or are too few.
        CheckpointError: the network of features has no weights, or others.
    """
    began = time.perf_counter()
    evaluation = Evaluation(real, generated, protocol, work)
    scores, seconds = {}, {}
    for name in metrics:
        before, extracting = time.perf_counter(), evaluation.seconds
        scores[name] = SCORES[name](evaluation)
        seconds[name] = time.perf_counter() - before - (evaluation.seconds - extracting)
    seconds["features"] = evaluation.seconds
    seconds["all"] = time.perf_counter() - began
    return Result(
        protocol=protocol,
        protocol_hash=protocol.hash,
        changed=protocol.changed(),
        real=evaluation.record("real"),
        generated=evaluation.record("generated"),
        scores=scores,
        seed=work.seed,
        seconds={name: round(value, 3) for name, value in seconds.items()},
        environment=environment() | {"processes": str(work.ranks.size)},
    )


class Evaluation:
    """The features that metrics ask for, each set computed once."""

    def __init__(self, real: Side, generated: Side, protocol: Protocol, work: Work) -> None:
        self.seconds = 0.0
        self._sides: dict[Role, Side] = {"real": real, "generated": generated}
        self._protocol, self._work = protocol, work
        self._found: dict[Role, Survey] = {
            role: survey(side, protocol, role) for role, side in self._sides.items()
        }
        _check_alike(self._sides, self._found, protocol)
        for role in self._sides:
            self._picks(role)
        self._features: dict[str, Float[Tensor, "n d"]] = {}

    @property
    def draws(self) -> int:
        """Of the real side."""
        return self._protocol.draws

    @property
    def limit(self) -> bool:
        """Whether limits for ever more clips are asked for."""
        return self._work.limit

    def real(self, draw: int = 0) -> Float[Tensor, "n d"]:
        """Features of the protocol's n real clips, of one of its draws."""
        stage = "real clips" if self.draws == 1 else f"real clips, draw {draw + 1}/{self.draws}"
        return self._extracted("real", self._picks("real", draw), stage)

    def generated(self) -> Float[Tensor, "n d"]:
        """Features of the n generated clips."""
        return self._extracted("generated", self._picks("generated"), "generated clips")

    def seen_by(self, eyes: FeatureNetwork) -> Float[Tensor, "n d"]:
        """What another network makes of the n generated clips."""
        eyes = replace(eyes, network=eyes.network.to(self._work.ranks.device))
        return self._extracted(
            "generated", self._picks("generated"), "generated clips, seen anew", eyes
        )

    def held_out(self) -> Float[Tensor, "n d"] | str:
        """Features of n real clips of videos that are not in draw 0; or why there are none."""
        if not self._work.floor:
            return "not asked for"
        found, n = self._found["real"], self._protocol.n
        if not disjoint(found, n):
            return f"{len(found.usable)} real videos, {2 * n} are needed for two sets of {n}"
        picks = self._picks("real", count=2 * n)[n:]
        return self._extracted("real", picks, "real clips for the floor")

    def record(self, role: Role) -> SideRecord:
        """What was on a side."""
        side, found = self._sides[role], self._found[role]
        return SideRecord(
            name=side.name,
            contents=contents_hash(side),
            videos=len(found.usable),
            skipped=found.skipped,
            height=found.height,
            width=found.width,
            fps=found.fps,
            about=side.record(),
        )

    def _picks(self, role: Role, draw: int = 0, count: int | None = None) -> list[Pick]:
        return choose(
            self._sides[role],
            self._found[role],
            self._protocol,
            role,
            count=count or self._protocol.n,
            draw=draw,
            seed=self._work.seed,
        )

    def _extracted(
        self, role: Role, picks: Sequence[Pick], stage: str, eyes: FeatureNetwork | None = None
    ) -> Float[Tensor, "n d"]:
        work, protocol = self._work, self._protocol
        wanted = FeatureRequest(
            side=self._sides[role],
            role=role,
            protocol=protocol,
            picks=picks,
            seed=work.seed,
            eyes=eyes,
        )
        if stage not in self._features:
            began = time.perf_counter()
            self._features[stage] = extract(
                self._network if eyes is None else eyes.network,
                wanted,
                cache=work.cache,
                ranks=work.ranks,
                batch=work.batch,
                report=lambda done, total: work.report(stage, done, total),
            )
            self.seconds += time.perf_counter() - began
        return self._features[stage]

    @cached_property
    def _network(self) -> Network:
        return self._protocol.build(self._work.weights).to(self._work.ranks.device)


def _check_alike(sides: dict[Role, Side], found: dict[Role, Survey], protocol: Protocol) -> None:
    """Whether frames of both sides have one size, and clips one rate.

    Raises:
        ValueError: they have not.
    """
    real, generated = found["real"], found["generated"]
    names = f"{sides['real'].name} and {sides['generated'].name}"
    sizes = [(s.height, s.width) for s in (real, generated)]
    if protocol.resolution is None and sizes[0] != sizes[1]:
        shown = " and ".join(f"{height} x {width}" for height, width in sizes)
        raise ValueError(
            f"{names}: frames are {shown}; bring them to one size, or set resolution=..., to "
            "which real ones are then resized"
        )
    rates = [None if s.fps is None else s.fps / protocol.stride(role) for role, s in found.items()]
    if protocol.rates == "one" and not same_rate(*rates):
        raise ValueError(
            f"{names}: clips have {rates[0]:g} and {rates[1]:g} frames/s; set real_stride or "
            "generated_stride so that they are alike, or rates=any"
        )
