"""``longtake evaluate``, as a user calls it."""

import json
from pathlib import Path

import numpy as np
import pytest

from longtake.evaluation.protocols import READY
from longtake.features.i3d import cache_path
from longtake.video import VideoWriter

FD = "RANDOM FEATURES FD"
SMALL = ("frames=8", "treatment.size=16", "network.width=4")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    folder = tmp_path / "footage"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        with VideoWriter(folder / f"{number}.mkv", 8) as writer:
            writer.write(random.integers(0, 256, (10, 16, 16, 3), dtype=np.uint8))
    return folder


def trial(*names: object, n: int = 4) -> tuple[object, ...]:
    return ("evaluate", *names, "--protocol", "trial", "--n", n, *SMALL)


def test_protocols_are_listed_with_their_hashes(longtake):
    called = longtake("protocols")
    for name, ready in READY.items():
        assert f"{name} " in called.out
        assert ready.hash in called.out


def test_two_sides_are_measured_and_the_result_is_kept(longtake, footage: Path, tmp_path: Path):
    place = tmp_path / "results" / "a.json"
    called = longtake(*trial("sky:test", footage), "--json", place)
    assert called.code == 0, called.err
    for words in (
        "not trial's own: frames=8, n=4",
        "sky:test:16x16",
        "footage, 4 videos",
        "RANDOM FEATURES FD",
    ):
        assert words in called.out, called.out
    found = json.loads(place.read_text())
    assert set(found["scores"]) == {"random_features_fd", "random_features_kd"}
    assert found["scores"]["random_features_fd"]["floor"] > 0
    assert "95 % interval of RANDOM FEATURES FD" in called.out
    assert "FD at 4 clips, not the lower RANDOM FEATURES FD of many" in called.out
    assert "these distances are not FVD or KVD" in called.out
    again = longtake(*trial("sky:test", footage), "--json", place)
    assert again.code == 2
    assert "exists; choose another path or pass --overwrite" in again.err


def test_results_are_set_side_by_side(longtake, footage: Path, tmp_path: Path):
    places = [tmp_path / "noise.json", tmp_path / "train.json", tmp_path / "more.json"]
    longtake(*trial("sky:test:16", footage), "--json", places[0])
    longtake(*trial("sky:test:16", "sky:train"), "--json", places[1])
    longtake(*trial("sky:test:16", "sky:train", n=5), "--json", places[2])
    called = longtake("compare", *places[:2])
    assert called.code == 0, called.err
    assert all(
        word in called.out for word in ("noise", "train", "real against real", "RANDOM FEATURES KD")
    )
    assert "sky:train:16x16" in called.out  # not an emoji
    assert "after ±: standard error" in called.out
    assert "these distances are not FVD or KVD" in called.out
    refused = longtake("compare", *places)
    assert refused.code == 2
    assert "has distances of random features, which compare with nothing" in refused.err


def test_a_model_is_sampled_and_its_videos_kept_where_asked(
    longtake, tiny_run_folder: Path, tmp_path: Path
):
    kept = tmp_path / "kept"
    asked = trial("sky:test", tiny_run_folder, "sampler.steps=1")
    called = longtake(*asked, "--metrics", "fvd", "--keep", kept, "--label", "left")
    assert called.code == 0, called.err
    assert "averaged weights, ddim 1, seeds 0 to 3" in called.out
    assert sorted(path.name for path in kept.glob("*.mkv")) == [
        f"seed_{seed:05d}.mkv" for seed in range(4)
    ]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("nowhere",), "no such file, folder, data set or model"),
        (("sky", "sky:test", "--protocol", "fvd"), "there is no protocol 'fvd'"),
        (("sky", "sky:test", "--metrics", "lpips"), "there is no metric 'lpips'"),
        (("sky", "sky:test", "strid=2"), "there is no field 'strid'"),
        (("sky:test",), "alone cannot be measured"),
        (("a", "b", "c"), "got 3 names"),
        (("--compare", "a.json"), "--compare is now a command: longtake compare A.json B.json"),
        (("a", "--drift", "-o", "b"), "--drift is now a command: longtake drift [REAL] VIDEO"),
        (("--protocols",), "--protocols is now a command: longtake protocols"),
    ],
)
def test_mistakes_are_one_sentence(longtake, arguments: tuple[str, ...], fault: str):
    called = longtake("evaluate", *arguments)
    assert called.code == 2
    assert fault in called.err
    assert len(called.err.strip().splitlines()) == 1


def test_without_weights_the_way_to_them_is_named(longtake):
    assert not cache_path().exists()
    called = longtake("evaluate", "sky:test:16", "sky:train:16", "--n", 4)
    assert called.code == 2
    assert "FVD needs the weights of I3D" in called.err


def test_reconstructions_are_measured(longtake, tiny_run_folder: Path, tmp_path: Path):
    place = tmp_path / "r.json"
    asked = ("evaluate", "reconstruction", tiny_run_folder, "sky:test", "--protocol", "trial")
    called = longtake(*asked, "--n", 4, "--json", place)
    assert called.code == 0, called.err
    for words in ("reconstructions by", "RANDOM FEATURES RFD", "PSNR", "FRAME PSNR", "SSIM", "dB"):
        assert words in called.out
    assert {"random_features_rfd", "psnr", "frame_psnr", "ssim"} <= json.loads(place.read_text())[
        "scores"
    ].keys()


def test_a_models_videos_are_reconstructed_like_any_others(longtake, tiny_run_folder: Path):
    asked = ("evaluate", "reconstruction", tiny_run_folder, tiny_run_folder)
    called = longtake(*asked, "--protocol", "trial", "--n", 4)
    assert called.code == 0, called.err
    assert "PSNR" in called.out


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("compare", "a.json"), "compare needs at least two result files, got 1"),
        (("drift", "a", "b", "c"), "real videos or a data set; got 3 names"),
        (
            ("reconstruct", "pvdm-sky", "sky:test", "--metrics", "--n", "4"),
            "--metrics is now a command: longtake evaluate reconstruction MODEL SOURCE",
        ),
    ],
)
def test_mistakes_of_other_commands_are_one_sentence(longtake, arguments, fault: str):
    called = longtake(*arguments)
    assert called.code == 2
    assert fault in called.err
    assert len(called.err.strip().splitlines()) == 1


@pytest.mark.parametrize("options", [("--protocol", "trial"), ("--seed", "1")])
def test_options_may_come_before_the_sources(longtake, footage: Path, options: tuple[str, ...]):
    called = longtake("evaluate", *options, *trial("sky:test", footage)[1:])
    assert called.code == 0, called.err


def test_evaluate_shows_both_its_commands(longtake):
    called = longtake("evaluate", "--help")
    assert called.code == 0
    assert "reconstruction" in called.out
    assert "[REAL] GENERATED" in longtake("evaluate", "videos", "--help").out


def test_a_model_is_measured_in_half_precision(longtake, tiny_run_folder: Path, tmp_path: Path):
    asked = trial("sky:test", tiny_run_folder, "sampler.steps=1")
    results = [tmp_path / "full.json", tmp_path / "half.json"]
    assert longtake(*asked, "--json", results[0]).code == 0
    called = longtake(*asked, "--precision", "bfloat16", "--json", results[1])
    assert called.code == 0, called.err
    full, half = (json.loads(path.read_text()) for path in results)
    assert full["generated"]["contents"] != half["generated"]["contents"]
    assert full["real"]["contents"] == half["real"]["contents"]


def test_a_report_without_weights_names_the_command_that_gets_them(longtake, tmp_path: Path):
    with VideoWriter(tmp_path / "a.mkv", 8) as writer:
        writer.write(np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8))
    called = longtake("drift", tmp_path / "a.mkv", "--window", 9, "-o", tmp_path / "report")
    assert "longtake convert i3d" in called.out
    assert "convert_i3d" not in called.out
