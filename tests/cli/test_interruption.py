"""Every command stops on SIGINT, SIGTERM and SIGHUP, and says how to continue."""

import signal
from pathlib import Path

import pytest

from longtake import cli, interruption
from longtake.checkpoint import check_free
from longtake.cli import progress
from longtake.reconstruct import Reconstruction
from longtake.training.trainer import TrainingProgress


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_exits_with_the_code_of_its_signal(
    longtake, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    monkeypatch.setattr("longtake.cli.show._line", lambda *_: signal.raise_signal(number))
    before = [signal.getsignal(each) for each in interruption.SIGNALS]
    called = longtake("doctor")
    assert called.code == 128 + number
    assert called.err == "stopped; the same command begins again\n"
    assert [signal.getsignal(each) for each in interruption.SIGNALS] == before


@pytest.mark.parametrize(
    ("command", "continues"),
    [
        ("generate lvdm-sky", True),
        ("evaluate sky:train lvdm-sky", True),
        ("evaluate reconstruction lvdm-sky sky", False),
        ("data export sky -o out", True),
        ("data check footage", False),
        ("drift out/film.mp4", False),
    ],
)
def test_a_stopped_command_says_that_it_continues_only_where_it_does(command: str, continues: bool):
    assert cli._continues(command.split()) == continues


@pytest.mark.parametrize(
    ("command", "function"),
    [("prepare", "prepare.prepare"), ("export", "export.export_world")],
)
def test_data_that_is_written_continues(
    longtake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, function: str
):
    def interrupt(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(f"longtake.data.{function}", interrupt)
    called = longtake("data", command, "sky", "-o", tmp_path / "out")
    assert called.code == 130
    assert called.err.endswith("stopped; the same command continues from here\n")


def test_a_second_signal_does_not_disturb_what_saves_itself():
    with interruption.raising() as arrived:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert arrived.exit_code == 143


def test_a_signal_can_wait():
    with interruption.raising() as outer:
        with interruption.deferred() as arrived:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
            assert arrived.exit_code == 129
        with interruption.deferred(insist=False):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
    assert outer.number is None


def test_under_nohup_a_closed_terminal_stops_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption.raising() as arrived:
            signal.raise_signal(signal.SIGHUP)
        assert arrived.number is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_reconstruction_of_a_folder_continues_where_it_was_stopped(
    longtake, monkeypatch: pytest.MonkeyPatch, tiny_run_folder: Path, tmp_path: Path
):
    made, stops = list[str](), ["b"]

    def reconstruct_file(_: object, path: Path, out: Path, **options: object) -> Reconstruction:
        if path.stem in stops:
            stops.remove(path.stem)
            raise KeyboardInterrupt
        check_free(out, bool(options["overwrite"])).touch()
        made.append(path.stem)
        return Reconstruction(path=out, frames=1, psnr=1.0)

    monkeypatch.setattr("longtake.reconstruct.reconstruct_file", reconstruct_file)
    for name in "abc":
        (tmp_path / "films" / f"{name}.mp4").parent.mkdir(exist_ok=True)
        (tmp_path / "films" / f"{name}.mp4").touch()
    command = ("reconstruct", tiny_run_folder, tmp_path / "films", "-o", tmp_path / "out")
    assert longtake(*command).code == 130
    assert longtake(*command, "--size", "8").code == 2  # other settings: a file exists
    assert longtake(*command).code == 0
    assert made == ["a", "b", "c"]
    assert longtake(*command).code == 2  # nothing was stopped: files exist
    assert longtake(*command, "--overwrite").code == 0
    assert made == [*"abc", *"abc"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.mp4", "b.mp4", "c.mp4"]


def test_progress_is_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.stages(unit=" clips") as report:
        for done in range(100):
            now[0] += 1
            report("encode", done + 1, 100, 2.0, "loss 1")
            report("quick", done + 1, 100) if done < 5 else None
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "encode: 11 of 100",
        "encode: 71 of 100",
        "encode: 100 of 100",
    ]
    assert all(", 2 clips/s" in line and line.endswith("loss 1") for line in lines)


def test_the_speed_of_a_training_names_its_unit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.training("stage 1 of 2") as callbacks:
        callbacks.encoding(1, 6)
        now[0] += 20
        callbacks.encoding(5, 6)
        callbacks.training(TrainingProgress(20, 2800, 8.412, {"loss": 0.7}))
        now[0] += 20
        callbacks.training(TrainingProgress(40, 2800, 8.412, {"loss": 0.5}))
    encoded, trained = capsys.readouterr().err.splitlines()
    assert encoded == "stage 1 of 2: encode clips: 5 of 6, 0.2 clips/s, 0:00:05 left"
    expected = "stage 1 of 2: train steps: 40 of 2800, 8.412 samples/s, 0:46:00 left loss 0.5"
    assert trained == expected


def test_hidden_progress_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    with progress.stages(shown=False) as report:
        report("encode", 1, 2)
    assert capsys.readouterr().err == ""
