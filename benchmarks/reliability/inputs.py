"""Thousands of broken inputs: how many are tried, accepted and wrong, and what memory they take.

    python benchmarks/reliability/inputs.py --json docs/results/inputs.json [--only tar_files]

Runs the mutation tests of the suite with more draws. A test fails at a traceback, at an answer that
is not a sentence of ours, at 20 seconds of a processor for one input, and if something accepted is
not finite, has another shape or leaves its folder. Configs that hypothesis draws, half as many as
``--draws``, are not counted. With ``--only``, the file keeps its rows of other tests.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
TESTS = (
    *("tests/cli/test_mutated_input.py", "tests/cli/test_mutated_media.py"),
    *("tests/training/test_mutated_states.py", "tests/cli/test_convert_image.py"),
    "tests/studio/test_jobs.py",
)
HANG_SECONDS = "20"  # of a processor


def main() -> None:
    """Print a line per kind of input, and the sum."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--draws", type=int, default=240, help="inputs of most kinds")
    parser.add_argument("--only", default="", help="tests whose names match, as for pytest -k")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider"]
        command += [*TESTS, "-k", chosen.only]
        subprocess.run(
            [*command, f"--junitxml={report}", "-o", "junit_family=xunit1"],
            cwd=ROOT,
            env=os.environ
            | {"LONGTAKE_MUTATIONS": str(chosen.draws), "LONGTAKE_HANG": HANG_SECONDS},
            check=False,
        )
        cases = ElementTree.parse(report).iter("testcase")
        rows = [row for case in cases if (row := tallied(case))]
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    about = {"peak_mb": round(peak_mb), "seconds": round(time.monotonic() - began)}
    if chosen.only and chosen.json and chosen.json.exists():
        former = json.loads(chosen.json.read_text())
        assert former["draws"] == chosen.draws, f"--draws {former['draws']} is that of the file"
        new = {row["of"]: row for row in rows}
        rows = [*({row["of"]: row for row in former["rows"]} | new).values()]
        about["peak_mb"] = max(about["peak_mb"], former["peak_mb"])
        about["seconds"] += former["seconds"]
    for row in rows:
        print("{tried:>6} tried, {accepted:>5} accepted, {wrong} wrong: {of}".format(**row))
    total = {key: sum(row[key] for row in rows) for key in ("tried", "accepted", "wrong")}
    print("{tried} inputs, {wrong} wrong, {peak_mb} MB, {seconds} s".format(**total, **about))
    if chosen.json:
        found = {"draws": chosen.draws, **about, **total, "rows": rows}
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


def tallied(case: ElementTree.Element) -> dict | None:
    """What a test tried; None for one that counts nothing and passed."""
    found = {each.get("name"): int(each.get("value", 0)) for each in case.iter("property")}
    wrong = sum(case.find(kind) is not None for kind in ("failure", "error"))
    if not found and not wrong:
        return None
    of = str(case.get("name")).removeprefix("test_").replace("_", " ")
    return {"of": of, "tried": 0, "accepted": 0, **found, "wrong": wrong}


if __name__ == "__main__":
    main()
