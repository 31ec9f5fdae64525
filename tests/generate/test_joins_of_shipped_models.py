"""Where generated frames meet given ones, shipped models change no more than real videos do."""

from dataclasses import replace

import benchmark_scripts
import numpy as np
import pytest

from longtake import VideoModel
from longtake.data.clips import ClipPlan
from longtake.data.synthetic import SkyWorld
from longtake.model import sampling_with


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("lvdm-sky", {"start image", "continue", "interpolate", "loop"}),
        ("pvdm-sky", {"start image", "continue"}),
    ],
)
def test_a_join_is_within_the_95th_percentile_of_changes_inside_real_videos(
    name: str, ways: set[str]
):
    """The mean join of two test videos; ``benchmarks/given_frames.py`` also has the greatest."""
    benchmark = benchmark_scripts.load("given_frames")
    model = VideoModel.from_pretrained(name)
    few = sampling_with(model.index.sampling, ["sampler.steps=4"])
    model = replace(model, index=model.index.model_copy(update={"sampling": few}))
    height, width = model.denoisers["first"].spec.clip[1:]
    world = SkyWorld(split="test", plan=ClipPlan(height=height, width=width))
    real = np.concatenate([benchmark.steps(world.read(i, 0, 16)) for i in range(64)])
    found: dict[str, list[float]] = {}
    for index in range(2):
        for way, values in benchmark.joins(model, world, index, benchmark.WAYS):
            found.setdefault(way, []).extend(values)
    assert found.keys() == ways
    limit = np.percentile(real, 95)
    assert all(np.mean(values) <= limit for values in found.values()), (found, limit)
