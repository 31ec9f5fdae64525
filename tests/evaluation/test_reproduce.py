"""Papers' tables: their numbers have sources, and the whole path runs on tiny networks."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from longtake import runs
from longtake.checkpoint import file_hash
from longtake.cli import app
from longtake.config import ConfigError, parse
from longtake.evaluation.opening import LAYOUTS
from longtake.evaluation.protocols import READY
from longtake.evaluation.result import Result
from longtake.features.random_features import RandomFeaturesConfig
from longtake.model import sampling_with
from longtake.reproduce.measure import Outcome, read_outcome
from longtake.reproduce.requirements import (
    Folders,
    missing,
    protocol_of,
    training_command,
    training_run,
)
from longtake.reproduce.table import Published, table, tables

FOLDERS = Folders(data=Path("data"), models=Path("runs"), out=Path("out"))


def reproduce(*words: str) -> tuple[int, str]:
    ran = CliRunner().invoke(app, ["reproduce", *words], catch_exceptions=False)
    return ran.exit_code, ran.stdout


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def outcome(folder: str) -> Outcome:
    found = read_outcome(Path(folder))
    assert found is not None
    return found


@pytest.mark.parametrize("name", tables())
def test_a_table_names_presets_protocols_and_data_that_there_are(name: str):
    found = table(name)
    assert found.name == name
    assert len({row.name for row in found.rows}) == len(found.rows)
    assert found.tiny.changes.keys() == {row.protocol for row in found.rows}
    for row in found.rows:
        assert protocol_of(row).name in READY
        layout, split, folder = FOLDERS.real(row).split(":")
        real = LAYOUTS[layout](path=Path(folder), split=split)
        for training in row.trainings:
            data = training_run(training, FOLDERS).data
            assert training_run(training, FOLDERS) == runs.read_run(training.preset)
            assert isinstance(data, LAYOUTS[layout])
            assert getattr(data, "path", None) == real.path


def test_a_number_of_a_paper_has_a_source():
    with pytest.raises(ConfigError, match="has no source"):
        parse(Published, {"value": 372.0})
    for unfit in ({}, {"value": 1.0, "source": "the paper", "absent": "not verified"}):
        with pytest.raises(ConfigError, match="not both"):
            parse(Published, unfit)


def test_a_number_that_nobody_verified_is_not_printed(no_weights: None):
    _, output = reproduce("lvdm", "--rows", "ucf101")
    assert output.count("not verified") == 2
    assert "372" not in output


def test_nothing_is_trained_unless_it_is_asked_for(no_weights: None):
    code, output = reproduce("lvdm", "--rows", "sky", "--models", "elsewhere", "--data", "films")
    assert code == 2
    assert "95.2 ± 2.3*" in output
    assert "* quoted, from" in output
    assert "films/sky_timelapse is not a folder" in output
    assert "no model in elsewhere/lvdm_sky_short" in output
    assert (
        "longtake fit lvdm_sky_autoencoder data.path=films/sky_timelapse "
        "validation.path=films/sky_timelapse -o elsewhere/lvdm_sky_autoencoder"
    ) in output
    assert "model=elsewhere/lvdm_sky_autoencoder -o elsewhere/lvdm_sky_short" in output
    assert not Path("elsewhere").exists()
    row = outcome("reproduced/lvdm").rows[0]
    assert not row.scores
    assert row.lacks.model == "elsewhere/lvdm_sky_short"


def test_pvdm_s_takes_fewer_steps_for_next_clips():
    for row in table("pvdm").chosen(["ucf101-s-fvd16", "sky-s-fvd128"]).rows:
        preset = training_run(row.trainings[-1], FOLDERS)
        assert isinstance(preset, runs.DiffusionRun)
        sampling = sampling_with(preset.sampling, row.sampling)
        steps = [sampling.of(role).sampler.steps for role in ("first", "next")]
        assert steps == [100, 20]


def test_default_folders_need_no_overrides():
    trainings = table("pvdm").rows[0].trainings
    assert [training_command(training, FOLDERS) for training in trainings] == [
        "longtake fit pvdm_ucf101_autoencoder",
        "longtake fit pvdm_ucf101_l",
    ]


def test_a_single_model_serves_rows_of_one_model_only(tiny_run_folder: Path):
    found = table("pvdm")
    folders = Folders(data=Path("data"), models=tiny_run_folder, out=Path("out"))
    with pytest.raises(ValueError, match="is one model, and the rows are of"):
        folders.check(found)
    one = found.chosen(["sky-l-fvd16", "sky-l-fvd128"])
    folders.check(one)
    assert not missing(one.rows[0], folders).model


def test_a_name_that_is_near_is_named():
    with pytest.raises(ConfigError, match="unknown table 'lvmd'; did you mean 'lvdm'"):
        table("lvmd")
    with pytest.raises(ConfigError, match="no row 'skyy'; did you mean 'sky'"):
        table("lvdm").chosen(["skyy"])


@pytest.mark.parametrize("name", ["lvdm-long", "ablations"])
def test_a_tiny_trial_of_an_ablation_keeps_how_each_row_is_sampled(name: str):
    rows, tiny = table(name).rows, table(name).shrunk().rows
    assert [row.name for row in tiny] == [row.name for row in rows]
    for row, small in zip(rows, tiny, strict=True):
        assert small.sampling[: len(row.sampling)] == row.sampling
        assert len({small.sampling for small in tiny}) == len(tiny)
        run = training_run(row.trainings[-1], FOLDERS)
        assert isinstance(run, runs.DiffusionRun)
        sampling_with(run.sampling, row.sampling)


def test_tables_are_listed_with_their_rows():
    code, output = reproduce()
    assert code == 0
    for name in tables():
        assert name in output
    assert "rows: sky, taichi, ucf101" in output


@pytest.mark.slow
@pytest.mark.parametrize("name", tables())
def test_the_whole_path_runs_on_tiny_networks(name: str, no_weights: None):
    """Trains, samples, measures; a second time nothing is repeated."""
    code, output = reproduce(name, "--tiny")
    assert code == 0
    assert "all numbers are meaningless" in output
    assert "tiny trial, after ±: standard error" in output
    found = outcome(f"reproduced/{name}-tiny")
    assert found.tiny
    assert found.untrained
    assert {row.protocol for row in found.rows} == {row.protocol for row in table(name).rows}
    files = [Path(f"reproduced/{name}-tiny") / row.result for row in found.rows]
    for row, file in zip(found.rows, files, strict=True):
        names = RandomFeaturesConfig.metrics
        assert row.scores.keys() >= {names.get(metric, metric) for metric in row.published}
        assert row.changed["n"] == 4
        assert row.protocol_hash == Result.read(file).protocol_hash
    before = [file_hash(file) for file in files]
    assert reproduce(name, "--tiny") == (0, output)
    assert [file_hash(file) for file in files] == before


@pytest.mark.slow
def test_an_interrupted_table_continues_with_the_remaining_rows(no_weights: None):
    reproduce("pvdm", "--tiny", "--rows", "sky-l-fvd16")
    place = Path("reproduced/pvdm-tiny")
    first = (place / "sky-l-fvd16.json").read_bytes()
    assert reproduce("pvdm", "--tiny", "--rows", "sky-l-fvd128")[0] == 0
    assert [row.name for row in outcome(str(place)).rows] == ["sky-l-fvd16", "sky-l-fvd128"]
    data = json.loads((place / "table.json").read_text())
    data["rows"][0]["key"] = "of another model"
    (place / "table.json").write_text(json.dumps(data))
    assert reproduce("pvdm", "--tiny", "--rows", "sky-l-fvd16")[0] == 0
    assert (place / "sky-l-fvd16.json").read_bytes() != first
