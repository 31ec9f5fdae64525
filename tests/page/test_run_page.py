"""The page of a run says what its log, previews and settings say, without scripts or network."""

import json
import random
import re
from pathlib import Path

import pytest
from mutations import COUNT, TEXTS, Tally, changed
from training import tiny_runs

from longtake.page.charts import line_chart
from longtake.page.run_page import RunFiles, write_run_page
from longtake.training.log import Log


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "a run <1>"
    tiny_runs.train(tiny_runs.autoencoder_run(sample_every=3), folder)
    return folder


def test_a_run_writes_its_page(run: Path):
    text = (run / "index.html").read_text()
    assert "step 7 of 7" in text
    assert "finished" in text
    assert "training loss" in text
    assert "a run &lt;1&gt;" in text
    assert len(re.findall("<svg", text)) >= 2


def test_every_file_that_the_page_shows_lies_in_the_folder(run: Path):
    shown = re.findall('src="([^"]+)"', (run / "index.html").read_text())
    assert len(shown) >= 3
    assert all((run / src).is_file() for src in shown)


def test_the_page_needs_no_script_and_no_network(run: Path):
    text = (run / "index.html").read_text()
    assert "<script" not in text
    assert "http://" not in text
    assert "https://" not in text


def test_only_a_running_page_is_loaded_again(run: Path, tmp_path: Path):
    assert 'http-equiv="refresh"' not in (run / "index.html").read_text()
    (tmp_path / "log.jsonl").write_text((run / "log.jsonl").read_text())
    write_run_page(tmp_path, running=True)
    assert 'http-equiv="refresh"' in (tmp_path / "index.html").read_text()


def test_what_is_torn_or_missing_is_left_out(tmp_path: Path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    (tmp_path / "config.yaml").write_text("training: [")
    write_run_page(tmp_path, running=False)
    assert "step 1" in (tmp_path / "index.html").read_text()


def test_charts_of_fvd_name_protocol_and_clips_and_no_others_do(tmp_path: Path):
    lines = [{"step": n, "loss": 0.5, "fvd": 90.0, "kvd": 2.0, "rfvd": 3.0} for n in range(3)]
    lines[1]["protocol"] = "longtake, 64 clips, 0a1b"  # pyright: ignore[reportArgumentType]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    write_run_page(tmp_path, running=False)
    page = (tmp_path / "index.html").read_text()
    assert "FVD of samples; longtake, 64 clips, 0a1b" in page
    assert "KVD of samples; longtake, 64 clips, 0a1b" in page
    assert "FVD of reconstructions; longtake, 64 clips, 0a1b" in page
    assert "training loss;" not in page


def test_whatever_a_log_holds_the_page_is_written(tmp_path: Path, tally: Tally):
    draw = random.Random(0)
    whole = {"step": 2, "seconds": 2.5, "loss": 0.5, "samples_per_second": 3.0}
    lines = [json.dumps({**whole, "step": step}) for step in (1, 2)]
    for _ in range(COUNT):
        broken = [json.dumps(changed(whole, draw)) for _ in range(3)]
        text = [*lines, *(draw.choice(TEXTS).replace("\n", " ") for _ in range(3)), *broken]
        (tmp_path / "log.jsonl").write_text("\n".join(text))
        assert tally(lambda: write_run_page(tmp_path, running=False) or True)
    (tmp_path / "log.jsonl").write_bytes("\n".join(lines).encode() + b"\n\xff")
    write_run_page(tmp_path, running=False)
    assert "step 2" in (tmp_path / "index.html").read_text()


def test_the_time_left_follows_from_the_last_logging_steps(tmp_path: Path):
    lines = [{"step": n, "seconds": 2.0 * n, "samples_per_second": 1.0} for n in range(1, 11)]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "config.yaml").write_text("training: {steps: 100}\n")
    assert RunFiles(tmp_path).seconds_left == pytest.approx(180.0)


def test_seconds_of_the_log_continue_after_a_stop(tmp_path: Path):
    (tmp_path / "log.jsonl").write_text(
        '{"step": 1, "seconds": 50.0}\n{"step": 2, "seconds": 90.0}\n'
    )
    Log(tmp_path, first_step=1).write(2, {"loss": 1.0})
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert 50.0 <= last["seconds"] < 90.0


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0, -3.0, 2.0], [1e-6, 1.0, 1e3], [5.0] * 1000])
def test_a_line_stays_within_its_chart(values: list[float]):
    chart = line_chart("loss", [float(n) for n in range(len(values))], values, "steps")
    (points,) = re.findall('points="([^"]+)"', chart)
    for pair in points.split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= 460
        assert 0 <= y <= 190
