import torch
from torch import Tensor

from longtake.noise import SampleNoise, derive, generator


def test_a_row_depends_on_its_seed_alone():
    together = SampleNoise([3, 4, 5]).normal((2, 3))
    assert torch.equal(together[1:2], SampleNoise([4]).normal((2, 3)))


def test_noise_drawn_ahead_is_that_of_one_draw_after_another(monkeypatch):
    one, many = SampleNoise([3, 4]), SampleNoise([3, 4])
    want = [one.normal((2, 3)) for _ in range(5)]
    assert all(map(torch.equal, many.ahead((2, 3), 5), want))
    monkeypatch.setattr("longtake.noise.AHEAD_VALUES", 24)
    device = SampleNoise([3, 4], "meta")
    drawn: list[Tensor] = []
    normal = device._drawn
    monkeypatch.setattr(device, "_drawn", lambda shape: drawn.append(normal(shape)) or drawn[-1])
    steps = device.ahead((2, 3), 5)
    assert next(steps).device.type == "meta"
    assert len(drawn) == 2
    assert len([*steps]) == 4
    assert all(map(torch.equal, drawn, want))


def test_a_derived_seed_depends_on_every_part_of_its_path():
    paths = [(0,), (1,), (0, 1), (0, "1"), (0, "a", 1), (0, "a1")]
    assert len({derive(*path) for path in paths}) == len(paths)


def test_a_derived_seed_never_changes_between_versions():
    assert derive(7, "clip", 12) == derive(7, "clip", 12)
    assert 0 <= derive(7, "clip", 12) < 2**63


def test_a_generator_is_fresh_each_time():
    a, b = generator(1, "x"), generator(1, "x")
    assert torch.equal(torch.rand(3, generator=a), torch.rand(3, generator=b))
