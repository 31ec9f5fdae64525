"""Classes that combine parts, whose embeddings are sums."""

from itertools import product

import pytest
import torch

from longtake.config import ConfigError, parse
from longtake.denoisers import TriplaneUNetConfig, VolumeUNetConfig
from longtake.denoisers.unet_config import SummedTable, Table
from longtake.training.initial_weights import start_from

PARTS = (4, 3, 2)


def table() -> SummedTable:
    torch.manual_seed(0)
    return SummedTable(PARTS, 5).double()


def test_the_embedding_of_a_class_is_the_sum_of_those_of_its_parts():
    summed = table()
    rows = [part.weight for part in summed.tables if isinstance(part, Table)]
    classes = list(product(*(range(size) for size in PARTS)))
    chosen = [torch.stack([row[i] for row, i in zip(rows, c, strict=True)]) for c in classes]
    wanted = torch.stack(chosen).sum(1)
    torch.testing.assert_close(summed(torch.arange(24)), wanted)
    assert torch.equal(summed(torch.tensor([-1, -7])), torch.zeros(2, 5, dtype=torch.float64))


def test_sums_are_found_again_and_of_other_tables_the_nearest_are():
    summed, other = table(), SummedTable(PARTS, 5).double()
    classes = torch.arange(24)
    with torch.no_grad():
        other.load_state_dict(other.nearest(summed(classes)))
        torch.testing.assert_close(other(classes), summed(classes))
        free = torch.randn(24, 5, dtype=torch.float64)
        other.load_state_dict(other.nearest(free))
        rest = (free - other(classes)).view(*PARTS, 5)
    for axis in range(3):  # least squares: what is left has no mean for any value of any part
        others = [a for a in range(3) if a != axis]
        assert rest.mean(others).abs().max() < 1e-12


@pytest.mark.parametrize("kind", [VolumeUNetConfig, TriplaneUNetConfig])
def test_a_network_of_parts_begins_with_the_nearest_sums_of_one_of_classes(kind):
    small = {"model_channels": 8, "channel_mult": (1, 2), "num_res_blocks": 1, "groups": 4}
    small |= {"latent": (3, 4, 4, 4), "attention_resolutions": (2,), "num_classes": 6}
    plain = parse(kind, small).build()
    network = parse(kind, {**small, "class_parts": (3, 2)}).build()
    start_from(network, plain, "plain")
    given, own = plain.state_dict(), network.state_dict()
    free = given.pop("label_embed.weight").view(3, 2, -1)
    sums = free.mean(0, keepdim=True) + free.mean(1, keepdim=True) - free.mean((0, 1))
    with torch.no_grad():
        found = network.get_submodule("label_embed")(torch.arange(6))
    torch.testing.assert_close(found, sums.flatten(0, 1))
    assert all(torch.equal(own[name], value) for name, value in given.items())
    again = parse(kind, small).build()
    start_from(again, network, "parts")  # a table begins with the sums themselves
    torch.testing.assert_close(again.get_submodule("label_embed")(torch.arange(6)), found)


@pytest.mark.parametrize("classes", [24, None, "auto"])
def test_parts_must_make_the_number_of_classes(classes):
    made = rf"class_parts=\[3, 2\] make 6 classes, but num_classes is {classes}; "
    with pytest.raises(ConfigError, match=made + r"set num_classes=6, or class_parts=\[\]"):
        parse(VolumeUNetConfig, {"num_classes": classes, "class_parts": [3, 2]})
