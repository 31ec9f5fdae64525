"""Servers as users start them: killed, started again, asked by the example."""

import io
import re
import runpy
import sqlite3
import subprocess
import sys
import urllib.error
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
from studio.servers import Server, running

from longtake import cli
from longtake.studio.store import Job, JobStore
from longtake.video import probe

ROOT = Path(__file__).parents[2]
CLIENT, DOCUMENT = ROOT / "examples" / "client.py", ROOT / "docs" / "serve.md"


def frames(server: Server, job: str) -> np.ndarray:
    data = server.ask(f"/api/jobs/{job}/files/video.mp4")
    with av.open(io.BytesIO(data), "r") as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


def test_a_killed_server_finds_its_jobs_and_continues_them(tmp_path: Path, places: dict[str, str]):
    command = ("studio", places["planes"], "--folder", tmp_path)
    with running(*command) as server:
        live = {"kind": "live", "settings": {"model": "planes"}}
        job = server.ask("/api/jobs", live)["id"]
        waits = server.ask("/v1/videos", {"model": "planes", "frames": 24})["id"]
        server.until(f"/api/jobs/{job}", lambda found: found["frames_done"] >= 16)
        server.kill()
    with running(*command) as server:
        found = server.until(f"/api/jobs/{job}", lambda found: found["files"])
        assert found["status"] == "stopped"
        assert "the server was ended" in found["error"]
        before = frames(server, job)
        assert len(before) >= 16
        server.until(f"/v1/videos/{waits}", lambda found: found["status"] == "completed")
        server.ask(f"/api/jobs/{job}/continue", {})
        server.until(f"/api/jobs/{job}", lambda found: found["frames_done"] >= len(before) + 16)
        server.ask(f"/api/jobs/{job}/stop", {})
        after = frames(server, job)
        assert np.array_equal(after[: len(before)], before)
        assert server.stop() == 143


def test_the_example_makes_a_video_with_the_token(
    tmp_path: Path, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LONGTAKE_TOKEN", "secret")
    out = tmp_path / "a.mp4"
    with running("serve", places["planes"], "--folder", tmp_path / "data") as server:
        words = ["--server", server.address, "--prompt", "wind, left", "--seconds", "0.2"]
        monkeypatch.setattr(sys, "argv", ["client.py", *words, "--out", str(out)])
        runpy.run_path(str(CLIENT), run_name="__main__")
    assert probe(out).frames == 24


def test_the_client_of_the_page_makes_a_video(
    tmp_path: Path, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(code.splitlines()) == 10
    monkeypatch.chdir(tmp_path)
    with running("serve", places["planes"], "--folder", tmp_path / "data") as server:
        for text, ours in (
            ("http://127.0.0.1:8643", server.address),
            ("clear sky at night", "wind, left"),
            ('"seconds": "4"', '"seconds": "0.2"'),
        ):
            assert text in code
            code = code.replace(text, ours)
        exec(compile(code, DOCUMENT.name, "exec"), {"__name__": "document"})
    assert probe(tmp_path / "night.mp4").frames == 24


@pytest.mark.parametrize("command", re.findall(r"```bash\n(.*)\n```", DOCUMENT.read_text()))
def test_every_command_of_the_page_starts_a_server(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    with running(*command.split()[1:]) as server:
        with pytest.raises(urllib.error.HTTPError, match="503"):
            server.ask("/health")  # models are being described
        assert b"longtake_jobs" in server.ask("/metrics")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("studio nothing", "nothing: no model folder or shipped model; valid are"),
        ("serve lvdm-sky --host 0.0.0.0", "others can connect, so give --token-file"),
        ("serve lvdm-sky --token-file missing.txt", "missing.txt: No such file"),
        ("serve lvdm-sky --token-file /dev/zero", "/dev/zero: not a regular file"),
        ("serve lvdm-sky --token-file long.txt", "long.txt: the text is longer than 4096 bytes"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "long.txt").write_text("x" * 5000)
    monkeypatch.setattr(sys, "argv", ["longtake", *words.split()])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["text", "torn", "other"])
def test_a_damaged_list_of_jobs_is_named(tmp_path: Path, damage: str):
    path = tmp_path / "studio.sqlite3"
    store = JobStore(path)
    store.save(Job(kind="live", settings={}))
    store.close()
    data = path.read_bytes()
    if damage == "text":
        path.write_text("no database, but a text" * 99)
    elif damage == "torn":
        path.write_bytes(data[:4096] + bytes(len(data) - 4096))
    else:
        path.unlink()
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE jobs (created, something)")
            other.execute("INSERT INTO jobs VALUES (1, 2)")
            other.commit()
    with pytest.raises(ValueError, match=r"studio\.sqlite3: is damaged, or is not a list of jobs"):
        JobStore(path)


def test_without_the_extra_the_command_to_install_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["longtake", "studio"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "pip install 'longtake[studio]'" in capsys.readouterr().err


def test_the_application_loads_no_torch():
    code = "import longtake.studio.app, longtake.cli.serve as s, sys; s.model_places([]); "
    check = f"{code}sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
