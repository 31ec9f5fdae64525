"""benchmarks/error_sources.py: no clip is compared with its own original."""

import benchmark_scripts
import pytest

from longtake.data.synthetic.sky import CLASSES


@pytest.mark.parametrize("videos", [1, 24, 64, 100])
def test_encoded_videos_follow_those_of_the_clips_and_have_the_classes_of_sampled_ones(videos):
    script = benchmark_scripts.load("error_sources")
    after = script.encoded_from(videos) - videos * script.CLIPS_PER_VIDEO
    assert 0 <= after < len(CLASSES)
    assert script.encoded_from(videos) % len(CLASSES) == 0
