"""A view changes frames or order of a source; all else that the source says is unchanged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from longtake.data.clips import ClipPlan, ClipSource
from longtake.data.folders import VideoFolder
from longtake.data.forward import ForwardVideos
from longtake.data.synthetic import SkyWorld
from longtake.data.views import MirroredVideos, ResizedVideos, TrainingClips, View
from longtake.video import VideoWriter, write_image

PLAN = ClipPlan(frames=2, height=8, width=8)
VIEWS: list[Callable[[ClipSource], View]] = [
    lambda source: ResizedVideos(source, 8, 8),
    MirroredVideos,
    lambda source: TrainingClips(source, PLAN),
    lambda source: ForwardVideos(source, PLAN),
]


@pytest.mark.parametrize("view_of", VIEWS)
def test_a_view_has_the_labels_of_its_source(view_of: Callable[[ClipSource], View]):
    source = SkyWorld(plan=PLAN, videos=2, video_frames=4)
    view = view_of(source)
    assert source.label_parts
    for name in ("classes", "label_parts", "label_sizes"):
        assert getattr(view, name) == getattr(source, name)


@pytest.mark.parametrize("view_of", VIEWS)
def test_a_view_names_the_files_that_its_source_does_not_use(
    view_of: Callable[[ClipSource], View], tmp_path: Path
):
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    with VideoWriter(tmp_path / "sea.mp4", 8) as writer:
        writer.write(frames)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    write_image(tmp_path / "cover.png", frames[0])
    source = VideoFolder(path=tmp_path, plan=PLAN)
    view = view_of(source)
    assert [len(source.rejected()), len(source.passed_over())] == [1, 1]
    assert [view.rejected(), view.passed_over()] == [source.rejected(), source.passed_over()]
