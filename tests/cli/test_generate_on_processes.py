"""Processes of one job share the videos, and the clips, of one command."""

import json
from pathlib import Path

import numpy as np
import pytest
from ranks import run_ranks

from longtake.video import stream_video

SCRIPT = """
import json, sys

from longtake.cli import main

for command in json.loads(sys.argv[1]):
    sys.argv = ["longtake", *command]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise
"""


@pytest.mark.slow
def test_two_processes_make_the_videos_and_the_metrics_of_one(
    longtake, tiny_run_folder: Path, tmp_path: Path
):
    generate = ["generate", str(tiny_run_folder), "sampler.steps=1", "--frames", "12"]
    generate += ["--seed", "0..2", "--format", "mkv", "--device", "cpu", "-o"]
    evaluate = ["evaluate", "sky:train", str(tiny_run_folder), "--protocol", "trial", "--n", "66"]
    evaluate += ["frames=2", "treatment.size=8", "network.width=4", "sampler.steps=1", "--no-floor"]

    def commands(name: str) -> list[list[str]]:
        place = tmp_path / name
        kept = ["--cache", str(place / "features"), "--json", str(place / "result.json")]
        return [[*generate, str(place)], [*evaluate, *kept]]

    for command in commands("one"):
        called = longtake(*command)
        assert called.code == 0, called.err
    run_ranks(tmp_path, SCRIPT, json.dumps(commands("two")))
    names = [path.name for path in sorted((tmp_path / "one").glob("*.mkv"))]
    assert names == ["seed_0000.mkv", "seed_0001.mkv", "seed_0002.mkv"]
    assert names == [path.name for path in sorted((tmp_path / "two").glob("*.mkv"))]
    for name in names:
        one, two = (list(stream_video(tmp_path / folder / name)) for folder in ("one", "two"))
        assert np.array_equal(np.concatenate(one), np.concatenate(two))
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")]
    assert [result.pop("environment")["processes"] for result in results] == ["1", "2"]
    for result in results:
        del result["seconds"]
    assert results[0] == results[1]
