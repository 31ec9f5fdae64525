"""Batches are a function of the seed and the step, whoever reads them."""

from itertools import islice

import pytest
import torch

from longtake.data.clips import Clip, ClipPlan
from longtake.data.loader import Batch, Loader
from longtake.data.order import Order
from longtake.data.synthetic import SkyWorld
from longtake.video import VideoError

SKY = SkyWorld(videos=5, plan=ClipPlan(frames=2, height=16, width=16))


def batches(steps: int = 2, first_step: int = 0, **settings: int) -> list[Batch]:
    loader = Loader(source=SKY, batch=4, seed=1, **settings)
    return list(islice(loader.batches(first_step), steps))


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.video, b.video) and a.number == b.number


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_processes_that_read_ahead_give_what_the_loop_would_have_read():
    alone, ahead = batches(), batches(workers=2)
    assert all(same(a, b) for a, b in zip(alone, ahead, strict=True))


def test_ranks_read_parts_of_the_batch_that_one_would_read():
    whole = batches()
    parts = [batches(rank=rank, size=2) for rank in range(2)]
    for step, batch in enumerate(whole):
        dealt = torch.stack([part[step].video for part in parts], 1).flatten(0, 1)
        assert torch.equal(dealt, batch.video)
        assert sorted(n for part in parts for n in part[step].number) == list(batch.number)


def test_reading_from_a_later_step_gives_its_batch():
    assert same(batches(1, first_step=2)[0], batches(3)[2])


def test_a_video_is_cut_again_each_epoch():
    shown: dict[int, list[torch.Tensor]] = {}
    order = Order(1, len(SKY))
    for batch in batches(3):
        for video, number in zip(batch.video, batch.number, strict=True):
            shown.setdefault(order(number)[1], []).append(video)
    twice = [videos for videos in shown.values() if len(videos) > 1]
    assert all(not torch.equal(videos[0], videos[1]) for videos in twice)


def test_pixels_are_from_minus_one_to_one():
    batch = batches(1)[0]
    assert batch.video.shape == (4, 3, 2, 16, 16)
    assert batch.video.abs().max() <= 1


class Damaged(SkyWorld):
    """Video 2 cannot be read."""

    def clip(self, index: int, generator: torch.Generator, start_frame: int | None = None) -> Clip:
        if index == 2:
            raise VideoError("2.mp4: frame 7 is broken")
        return super().clip(index, generator, start_frame)


def test_a_damaged_clip_is_replaced_logged_once_and_the_others_stay(
    caplog: pytest.LogCaptureFixture,
):
    order, source = Order(1, len(SKY)), Damaged(videos=SKY.videos, plan=SKY.plan)
    loader = Loader(source=source, batch=4, seed=1)
    whole, found, again = batches(5), *(list(islice(loader.batches(), 5)) for _ in range(2))
    for batch, replaced, twice in zip(whole, found, again, strict=True):
        assert same(replaced, twice)
        for row, number in enumerate(batch.number):
            stays = torch.equal(batch.video[row], replaced.video[row])
            assert stays == (order(number)[1] != 2)
    assert caplog.messages[0].startswith("2.mp4: frame 7 is broken; another clip takes its place")
    assert len(caplog.messages) == 2  # one for each of the two loaders
