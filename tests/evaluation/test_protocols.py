"""A protocol is all its fields: none can change unseen."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from longtake.config import ConfigError, parse, to_dict
from longtake.data.clips import ClipPlan
from longtake.data.source import ClipPosition, VideoSource
from longtake.data.synthetic import SkyWorld
from longtake.evaluation.extraction import FeatureNetwork, FeatureRequest
from longtake.evaluation.protocols import ABOUT, READY, Protocol, protocol
from longtake.features.random_features import RandomFeaturesConfig
from longtake.features.treatment import Treatment
from longtake.video import to_pixels

HASHES = {
    "longtake": "112cc88f84f0bc1d",
    "pvdm-fvd16": "2b4dfc6f2a61795d",
    "pvdm-fvd128": "5b19b89a08d649ca",
    "stylegan-v-fvd16": "6c8917a1085e1e54",
    "stylegan-v-fvd128": "406a33b57153f2e9",
    "lvdm-10x2048": "abf827cd8fa4662d",
    "latte-2048": "8e5039618df0d508",
    "tats": "b02b254d379ab217",
    "trial": "42b4ff25daeb9bcd",
}

OTHER = {
    "real_start": "first",
    "generated_start": "first",
    "resize": "squash",
    "unfit": "skip",
    "rates": "any",
    "levels": "truncate",
    "fit": "crop",
    "grid": "top_left",
    "output": "pooled",
    "resolution": 96,
    "sha256": "0" * 64,
    "filter": "lanczos",
    "jpeg": 75,
    "real_order": "sorted",
    "fewer": "take",
    "needs": "strides",
    "covariance": "n",
    "precision": "bfloat16",
}
FIXED = {"kind", "weights"}
WORLD = SkyWorld(plan=ClipPlan(height=8, width=8))
NETWORK = RandomFeaturesConfig().build()


def places(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from places(value, (*path, key))
        elif key not in FIXED:
            yield (*path, key)


def changed(data: Any, path: tuple[str, ...]) -> Any:
    key, *rest = path
    if rest:
        return {**data, key: changed(data[key], tuple(rest))}
    value = data[key]
    if key in OTHER:
        return {**data, key: OTHER[key]}
    if isinstance(value, bool):
        return {**data, key: not value}
    return {**data, key: f"{value} too" if isinstance(value, str) else value * 2 + 1}


def key(
    of: Protocol,
    seed: int = 0,
    positions: tuple[ClipPosition, ...] = (ClipPosition(0, 0),),
    source: VideoSource = WORLD,
    identity: str = "",
) -> str:
    network = FeatureNetwork(network=NETWORK, treat=of.treat, identity=identity)
    return FeatureRequest(
        source=source, side="real", protocol=of, positions=positions, seed=seed, network=network
    ).key()


@pytest.mark.parametrize("name", ["longtake", "trial"])
@given(data=st.data())
def test_whatever_field_changes_the_hash_changes_and_the_cache_misses(name: str, data: Any):
    ready = READY[name]
    path = data.draw(st.sampled_from(list(places(to_dict(ready)))))
    other = parse(Protocol, changed(to_dict(ready), path))
    assert other.hash != ready.hash, path
    assert key(other) != key(ready), path


def test_the_cache_misses_for_other_clips_seeds_sources_and_networks():
    ready = READY["trial"]
    wider = SkyWorld(plan=ClipPlan(height=8, width=9))
    keys = [
        key(ready),
        key(ready, seed=1),
        key(ready, positions=(ClipPosition(0, 1),)),
        key(ready, source=wider),
        key(ready, identity="another"),
    ]
    assert len(set(keys)) == len(keys)


def test_ready_protocols_measure_what_they_measured_when_they_were_published():
    assert {name: ready.hash for name, ready in READY.items()} == HASHES
    assert ABOUT.keys() == READY.keys()


def test_a_protocol_read_back_has_its_hash():
    for ready in READY.values():
        assert parse(Protocol, to_dict(ready)).hash == ready.hash


def test_latte_strides_over_real_videos_only():
    latte = READY["latte-2048"]
    assert (latte.span("real"), latte.span("generated")) == (46, 16)
    assert (latte.stride("real"), latte.stride("generated")) == (3, 1)
    assert (latte.needed("real"), latte.needed("generated")) == (48, 16)


def test_the_protocols_of_papers_are_those_of_the_papers():
    fvd16, fvd128, lvdm, ours = (
        READY[n] for n in ("pvdm-fvd16", "pvdm-fvd128", "lvdm-10x2048", "longtake")
    )
    assert (fvd16.frames, fvd128.frames, fvd16.n, fvd16.resolution) == (16, 128, 2048, 256)
    assert (lvdm.draws, lvdm.treatment.levels, lvdm.treatment.fit) == (10, "truncate", "squash")
    assert [p.network.epsilon for p in (fvd16, lvdm, ours) if p.network.kind == "i3d"] == [
        1e-5,
        1e-5,
        1e-3,
    ]
    assert (ours.treatment.fit, ours.treatment.antialias, ours.treatment.levels) == (
        "squash",
        False,
        "round",
    )


def test_a_changed_protocol_says_what_is_changed():
    assert protocol("longtake").changed() == {}
    found = protocol("longtake", ["treatment.antialias=true"], n=64)
    assert found.changed() == {"n": 64, "treatment.antialias": True}
    assert found.hash != READY["longtake"].hash


def test_an_unknown_protocol_or_setting_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="no protocol 'lvdm-2048'; did you mean 'lvdm-"):
        protocol("lvdm-2048")
    with pytest.raises(ConfigError, match="no field 'strid'; did you mean"):
        protocol("longtake", ["real_strid=2", "strid=2"])


def test_weights_are_named_by_hash_never_by_place():
    with pytest.raises(ConfigError, match="a path is not part of a protocol"):
        protocol("longtake", ["network.weights=here.safetensors"])
    with pytest.raises(ConfigError, match="names the weights by their hash"):
        protocol("longtake", ["network.sha256=null"])


def test_real_frames_are_resized_to_the_resolution_then_for_the_network():
    ready = protocol("trial", ["resolution=12", "treatment.size=8", "treatment.levels=truncate"])
    clip = torch.randint(0, 256, (2, 20, 30, 3), dtype=torch.uint8)
    middle = Treatment(size=12, fit="crop")(clip)
    pixels = torch.from_numpy(to_pixels(middle, "truncate"))
    assert torch.equal(ready.treat(clip), ready.treatment(pixels))
    assert torch.equal(ready.treat(pixels), ready.treatment(pixels))


def test_levels_are_rounded_or_truncated():
    video = ((torch.tensor([0.0, 99.6, 254.9]) / 127.5) - 1).expand(3, 1, 1, 3)
    assert to_pixels(video, "round")[0, 0, :, 0].tolist() == [0, 100, 255]
    assert to_pixels(video, "truncate")[0, 0, :, 0].tolist() == [0, 99, 254]


def frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_real_frames_are_those_that_stylegan_v_stores():
    """Pillow's Lanczos to the shorter side, the longer rounded down, the middle, JPEG at 75."""
    clip = frame(240, 320)[None]
    image = Image.fromarray(clip[0]).resize((341, 256), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.crop((42, 0, 298, 256)).save(file, "JPEG", q=95)  # as their code says: not an option
    found = READY["stylegan-v-fvd16"].stored(clip)
    assert np.array_equal(found[0], np.asarray(Image.open(file)))
    assert READY["pvdm-fvd16"].stored(clip) is clip


def test_latte_takes_the_middle_square_before_it_resizes():
    clip = frame(30, 41)[None]
    latte = protocol("latte-2048", ["resolution=16", "jpeg=null"])
    square = Image.fromarray(clip[0]).crop((6, 0, 36, 30))  # torchvision: round(5.5) is 6
    want = square.resize((16, 16), Image.Resampling.LANCZOS)
    assert np.array_equal(latte.stored(clip)[0], np.asarray(want))


def test_lvdm_rounds_the_longer_side_down():
    lvdm = READY["lvdm-10x2048"]
    clip = torch.from_numpy(frame(240, 320))[None]
    whole = torch.nn.functional.interpolate(
        clip.permute(0, 3, 1, 2).float(), (256, 341), mode="bilinear"
    )
    middle = whole[..., 42:298].permute(1, 0, 2, 3) / 127.5 - 1
    assert torch.equal(Treatment(size=256, fit=lvdm.resize)(clip), middle)
    assert READY["tats"].resize == "crop"
