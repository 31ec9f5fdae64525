"""Evaluations: the numbers, what they say of themselves, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from longtake.checkpoint import CheckpointError
from longtake.config import to_dict
from longtake.data.arrays import ArrayVideos
from longtake.data.clips import ClipPlan
from longtake.data.source import VideoSource
from longtake.data.synthetic import SkyWorld
from longtake.distributed import Ranks
from longtake.evaluation.evaluate import evaluate, named
from longtake.evaluation.extraction import FeatureCache, FeatureNetwork, FeatureRequest, extract
from longtake.evaluation.feature_sets import EvaluationSettings as Settings
from longtake.evaluation.feature_sets import FeatureSets
from longtake.evaluation.protocols import Protocol, protocol
from longtake.evaluation.result import Result, check_comparable
from longtake.evaluation.selection import choose_clips, usable_videos
from longtake.features.c3d import C3D, C3DConfig
from longtake.metrics.frechet import fvd
from longtake.metrics.kernel import kvd
from longtake.metrics.uncertainty import fvd_interval, kvd_interval

SMALL = ["frames=4", "treatment.size=16", "network.width=8"]
TRIAL = protocol("trial", SMALL, n=6)
BOTH = ["fvd", "kvd"]
FD, KD = "random_features_fd", "random_features_kd"


def world(split: str = "test", size: int = 16) -> SkyWorld:
    plan = ClipPlan(height=size, width=size)
    return SkyWorld.model_validate({"plan": plan, "split": split, "videos": 1 << 16})


def array(path: Path, number: int = 6, frames: int = 4, seed: int = 0) -> ArrayVideos:
    random = np.random.default_rng(seed)
    np.save(path, random.integers(0, 256, (number, frames, 16, 16, 3), dtype=np.uint8))
    return ArrayVideos(path)


def rows(source: VideoSource, of: Protocol, role: str, count: int, draw: int = 0) -> torch.Tensor:
    assert role in ("real", "generated")
    usable = usable_videos(source, of, role)
    request = FeatureRequest(
        source=source,
        side=role,
        protocol=of,
        positions=choose_clips(usable, count=count, draw=draw),
        seed=0,
        network=network_of(of),
    )
    return extract(request, cache=FeatureCache(folder=None), ranks=Ranks())


def network_of(of: Protocol) -> FeatureNetwork:
    return FeatureNetwork(network=of.build(), treat=of.treat, identity=to_dict(of.network))


def test_scores_are_those_of_the_features(tmp_path: Path):
    real, generated = world(), array(tmp_path / "a.npy")
    result = evaluate(real, generated, TRIAL, BOTH, Settings())
    x, y = rows(real, TRIAL, "real", 12), rows(generated, TRIAL, "generated", 6)
    for name, distance in ((FD, fvd), (KD, kvd)):
        score = result.scores[name]
        assert score.value == pytest.approx(distance(x[:6], y))
        assert score.floor == pytest.approx(distance(x[:6], x[6:]))
        assert score.low is not None
        assert score.high is not None
        assert score.low <= score.value <= score.high


def test_a_set_against_itself_is_at_distance_0(tmp_path: Path):
    side = array(tmp_path / "a.npy")
    result = evaluate(side, side, TRIAL, BOTH, Settings())
    assert result.scores[FD].value == pytest.approx(0, abs=1e-5)


def test_noise_is_further_from_the_world_than_the_world_is(tmp_path: Path):
    many = protocol("trial", SMALL, n=32)
    side = array(tmp_path / "a.npy", number=32)
    noise = evaluate(world(), side, many, ["fvd"], Settings()).scores[FD]
    train = evaluate(world(), world("train"), many, ["fvd"], Settings()).scores[FD]
    assert noise.floor is not None
    assert noise.value > 3 * noise.floor
    assert train.value < noise.value / 3


def test_several_draws_of_the_real_side_give_mean_and_deviation():
    several = protocol("trial", [*SMALL, "draws=3"], n=6)
    generated = world("train")
    score = evaluate(world(), generated, several, ["fvd"], Settings()).scores[FD]
    y = rows(generated, several, "generated", 6)
    values = [fvd(rows(world(), several, "real", 6, draw), y) for draw in range(3)]
    assert score.draws == pytest.approx(values)
    assert (score.value, score.deviation) == pytest.approx(
        (np.mean(values), np.std(values, ddof=1))
    )


def test_clips_of_one_video_are_not_counted_as_independent(tmp_path: Path):
    of = protocol("trial", [*SMALL, "clips_per_video=4"], n=24)
    few, one = array(tmp_path / "few.npy", 6, 20), array(tmp_path / "one.npy", 1, 20)
    sets = FeatureSets(few, few, of, Settings(floor=False))
    videos = sets.videos("generated")
    assert sorted(videos) == sorted(4 * list(range(6)))
    x, y = sets.real(), sets.generated()
    found = evaluate(few, few, of, BOTH, Settings(floor=False)).scores
    how: Any = {"real_videos": sets.videos("real"), "generated_videos": videos}
    assert found[FD].deviation == fvd_interval(x, y, **how).standard_error
    assert found[KD].deviation == kvd_interval(x, y, **how).standard_error
    found = evaluate(
        few, one, protocol("trial", [*SMALL, "clips_per_video=4"], n=4), BOTH, Settings()
    )
    for name in (FD, KD):
        assert found.scores[name].low is None
        assert found.scores[name].detectable is None


def test_a_mirror_image_counts_as_its_video(tmp_path: Path):
    of = protocol("trial", [*SMALL, "mirror=true"], n=12)
    side = array(tmp_path / "a.npy")
    sets = FeatureSets(side, array(tmp_path / "b.npy", 12), of, Settings())
    assert sorted(sets.videos("real")) == sorted(2 * list(range(6)))
    assert sorted(sets.videos("generated")) == list(range(12))


def test_without_enough_real_videos_the_missing_floor_is_explained(tmp_path: Path):
    side = array(tmp_path / "a.npy", number=11)
    score = evaluate(side, side, TRIAL, ["fvd"], Settings()).scores[FD]
    assert score.floor is None
    assert score.no_floor == "11 real videos, 12 are needed for two sets of 6"


def test_the_seed_alone_decides_and_the_cache_changes_nothing(tmp_path: Path):
    work = Settings(cache=FeatureCache(folder=tmp_path / "cache"))
    first, second, uncached, other = (
        evaluate(world(), world("train"), TRIAL, BOTH, w).scores
        for w in (work, work, Settings(batch=1), Settings(seed=1))
    )
    assert first == second
    assert first[FD].value == pytest.approx(uncached[FD].value, rel=1e-4)
    assert first != other


def test_sides_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="frames are 16 x 16 and 32 x 32; bring them to one size"):
        evaluate(world(), world(size=32), TRIAL, BOTH, Settings())


def test_a_hidden_stride_on_one_side_is_refused_unless_it_is_stated():
    strided = protocol("trial", [*SMALL, "real_stride=3"], n=6)
    with pytest.raises(ValueError, match=r"clips have 2\.66667 and 8 frames/s; set real_stride"):
        evaluate(world(), world("train"), strided, BOTH, Settings())
    stated = protocol("trial", [*SMALL, "real_stride=3", "rates=any"], n=6)
    assert (
        evaluate(world(), world("train"), stated, ["fvd"], Settings()).changed["real_stride"] == 3
    )


def test_too_few_generated_clips_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="5 videos give 5 clips, trial asks for 6"):
        evaluate(world(), array(tmp_path / "a.npy", number=5), TRIAL, BOTH, Settings())


def before_work(**settings: Any) -> Settings:
    """Settings under which the first extraction of features fails the test."""

    def report(stage: str, done: int, total: int) -> None:
        raise AssertionError(f"{stage}: extracted before the mistake was named")

    return Settings(report=report, **settings)


def test_a_limit_needs_many_clips_of_several_videos(tmp_path: Path):
    with pytest.raises(ValueError, match="set n of at least 64, got 6"):
        evaluate(world(), world("train"), TRIAL, ["kvd", "fvd"], before_work(limit=True))
    many = protocol("trial", ["frames=1", "treatment.size=8", "network.width=2"], n=64)
    score = evaluate(world(), world("train"), many, ["fvd"], Settings(limit=True)).scores[FD]
    assert score.limit is not None
    assert score.limit_low is not None
    assert score.limit_low < score.limit < score.value
    two = array(tmp_path / "two.npy", 2, 32)
    of = many.model_copy(update={"clips_per_video": 32})
    with pytest.raises(ValueError, match="at least 4 real and 4 generated videos, got 2"):
        evaluate(world(), two, of, ["fvd"], before_work(limit=True))


def test_a_score_says_what_its_interval_is_of(result: Result):
    score = result.scores[FD]
    name = "RANDOM FEATURES FD"
    assert score.interval_of == f"{name} at 6 clips, not the lower {name} of many"
    assert "KVD" not in result.scores[KD].interval_of
    assert score.unit == "(random features)"
    error = result.scores[KD].deviation
    assert error is not None
    assert result.scores[KD].detectable == pytest.approx(2.8 * error)


def test_distances_of_random_features_compare_with_nothing_else(result: Result):
    """Whatever their name says, they are not FVD."""
    assert not {"fvd", "kvd"} & result.scores.keys()
    real = protocol("longtake")
    named_fvd = result.model_copy(update={"protocol": real, "protocol_hash": real.hash})
    for pair in ([result, named_fvd], [named_fvd, result]):
        with pytest.raises(ValueError, match="distances of random features, which compare with no"):
            check_comparable(pair, ["a", "b"])


def test_unknown_metrics_are_refused():
    assert named("fvd, kvd,fvd") == ["fvd", "kvd"]
    with pytest.raises(ValueError, match="no metric 'fdv'; did you mean 'fvd'"):
        named("fdv")


@pytest.fixture(scope="module")
def result() -> Result:
    return evaluate(world(), world("train"), TRIAL, BOTH, Settings(seed=3))


def test_a_result_says_all_that_it_depends_on_and_reads_back(result: Result, tmp_path: Path):
    result.write(tmp_path / "a.json")
    assert Result.read(tmp_path / "a.json") == result
    assert result.protocol_hash == TRIAL.hash
    assert result.changed["n"] == 6
    assert result.real is not None
    assert result.real.name == "sky:test:16x16"
    assert result.seed == 3
    assert result.seconds["all"] >= result.seconds["features"] > 0
    assert {"longtake", "torch", "python", "device"} <= result.environment.keys()


def test_a_result_changed_by_hand_is_refused(result: Result, tmp_path: Path):
    path = tmp_path / "a.json"
    result.write(path)
    path.write_text(path.read_text().replace('"n": 6', '"n": 2048'))
    with pytest.raises(ValueError, match="it was changed, or made by another version"):
        Result.read(path)


def test_results_of_different_protocols_are_refused_in_one_table(result: Result):
    check_comparable([result, result], ["a", "b"])
    other = evaluate(world(), world("train"), protocol("trial", SMALL, n=7), ["fvd"], Settings())
    with pytest.raises(ValueError, match="a has distances of random features"):
        check_comparable([result, other], ["a", "b"])
    others = [protocol("longtake", n=n) for n in (6, 7)]
    pair = [
        r.model_copy(update={"protocol": o, "protocol_hash": o.hash})
        for r, o in zip((result, other), others, strict=True)
    ]
    with pytest.raises(ValueError, match=r"a and b are of different protocols .*n \(6 and 7\)"):
        check_comparable(pair, ["a", "b"])
    elsewhere = evaluate(world("train"), world("train"), TRIAL, ["fvd"], Settings())
    with pytest.raises(ValueError, match="a and b were measured against different real videos"):
        check_comparable([result, elsewhere], ["a", "b"])


def test_another_network_sees_the_same_generated_clips(tmp_path: Path):
    config = C3DConfig(width=1, hidden=4, classes=3)
    network = C3D(config)
    second = FeatureNetwork(network=network, treat=config.treat, identity={"c3d": 0})
    whole = protocol("trial", ["treatment.size=16", "network.width=8"], n=4)
    side = array(tmp_path / "a.npy", number=4, frames=16)
    work = Settings(cache=FeatureCache(folder=tmp_path / "cache"))
    found = FeatureSets(side, side, whole, work).generated(second)
    usable = usable_videos(side, whole, "generated")
    positions = choose_clips(usable, count=4)
    clips = [torch.from_numpy(clip) for clip in side.read_clips(positions, 16, 1)]
    want = network(torch.stack([config.treat(clip) for clip in clips]))
    torch.testing.assert_close(found, want)
    other = FeatureNetwork(network=network, treat=config.treat, identity={"c3d": 1})
    keys = {
        FeatureRequest(
            source=side, side="real", protocol=whole, positions=positions, seed=0, network=each
        ).key()
        for each in (network_of(whole), second, other)
    }
    assert len(keys) == 3


class Constant(nn.Module):
    """A network whose features are one number."""

    width = 3

    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(value))

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return self.get_buffer("value").expand(len(video), self.width)


@pytest.mark.parametrize("folder", ["", "cache"])
def test_each_network_gets_its_own_features(tmp_path: Path, folder: str):
    source = array(tmp_path / "a.npy")
    cache = FeatureCache(folder=tmp_path / folder if folder else None)
    sets = FeatureSets(source, source, TRIAL, Settings(cache=cache))
    for value in (0.0, 1.0, 0.0):
        network: Any = Constant(value)
        second = FeatureNetwork(network=network, treat=TRIAL.treat, identity={"value": value})
        assert (sets.generated(second) == value).all()
    assert sets.generated().shape == (6, 8)


def test_inception_score_without_weights_names_the_way_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    enough = protocol("trial", n=10)
    with pytest.raises(CheckpointError, match="IS needs the weights of C3D"):
        evaluate(world(), world("train"), enough, ["kvd", "is"], before_work())


@pytest.mark.parametrize(
    ("changes", "n", "fault"),
    [((), 9, "set n of at least 10, got 9"), (("frames=8",), 10, "set frames=16, got 8")],
)
def test_clips_that_inception_score_cannot_take_are_refused_before_work(
    changes: tuple[str, ...], n: int, fault: str
):
    with pytest.raises(ValueError, match=fault):
        evaluate(
            world(), world("train"), protocol("trial", changes, n=n), ["kvd", "is"], before_work()
        )


def test_scores_by_different_networks_are_refused_in_one_table(result: Result):
    def by(network: str) -> Result:
        score = result.scores[FD].model_copy(update={"by": network})
        return result.model_copy(update={"scores": {"is": score}})

    with pytest.raises(ValueError, match=r"is of a uses c3d 1, that of b uses c3d 2, so they"):
        check_comparable([by("c3d 1"), by("c3d 2")], ["a", "b"])
