"""Writes the tables of docs/reliability.md from the files of docs/results.

    python benchmarks/reliability/report.py

`make reliability` measures first, and then calls this. A table stands between the lines
`<!-- NAME -->` and `<!-- end -->`; everything else on the page stays.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CASES = {
    "[True]": "[zip]",
    "[False]": "[torch's former format]",
    "-False": "",
    "-True": ", compressed",
}
PAGE, RESULTS = ROOT / "docs" / "reliability.md", ROOT / "docs" / "results"


def main() -> None:
    """Replace the tables."""
    page = PAGE.read_text()
    tables = {"kills": kills(), "inputs": inputs(), "soak": soak(), "slopes": slopes()}
    for name, rows in {**tables, "processes": processes(), "million": million()}.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        page = re.sub(pattern, lambda m, r=rows: f"{m[1]}{r}{m[2]}", page, flags=re.DOTALL)
    PAGE.write_text(page)


def kills() -> str:
    """Kills by command."""
    heads = ["command", "disk operations", "kills before one", "kills at random times"]
    rows = "".join(f"{line(row)}\n" for row in read("kills")["rows"])
    return table([*heads, "ended equal", "already complete", "faults"], []) + rows


def slopes() -> str:
    """Growth of peak memory by command."""
    found = read("slopes")
    heads = [f"peak MB at {amount:,}" for amount in found["amounts"]]
    rows = [
        [
            f"`{row['command']}`",
            row["unit"],
            *map(round, row["peak_mb"]),
            f"{row['mb_per_1000']:.1f}",
        ]
        for row in found["rows"]
    ]
    return table(["command", "amount of", *heads, "MB per 1,000"], rows)


def inputs() -> str:
    """Broken inputs by kind."""
    found = read("inputs")
    rows = [
        [_kind(row["of"]), *(row[k] for k in ("tried", "accepted", "wrong"))]
        for row in found["rows"]
    ]
    total = ["all", found["tried"], sum(row["accepted"] for row in found["rows"]), found["wrong"]]
    return table(["kind", "tried", "accepted", "wrong"], [*rows, total])


def _kind(test: str) -> str:
    """What a test breaks, by its name and parameters, such as ``... are refused[.npz-True]``."""
    name, _, parameters = test.partition(" are refused")
    for former, new in CASES.items():
        parameters = parameters.replace(former, new)
    return name + parameters.replace("[", " (").replace("]", ")")


def soak() -> str:
    """Odd videos by the first stage that differs."""
    about = ("videos", "minutes", "load", "memory_mb")
    rows = [
        [*(f"{row[key]:g}" for key in about), *row["odd"].values()] for row in read("soak")["rows"]
    ]
    stages = ["latents", "decoded frames", "8-bit pixels", "YUV frames", "mp4 files", "mkv files"]
    return table(["videos", "minutes", "busy processes", "MiB of memory filled", *stages], rows)


def processes() -> str:
    """Greatest differences of losses from those of one process, by run."""
    ways, found = ("two", "one_then_two", "two_then_one"), read("processes")
    rows = []
    for run in found["trainings"]:
        killed = found.get("kills", {}).get(run["run"])
        equal = "" if killed is None else f"{killed['kills']} kills" if killed["equal"] else "no"
        rows.append([f"`{run['run']}`", *(f"{run[way]:.1e}" for way in ways), equal])
    return table(["run", "2 processes", "1, then 2", "2, then 1", "byte for byte after"], rows)


def million() -> str:
    """Opening a latent cache of a million clips."""
    steps = {"open": "opened", "order": "an order of 1,000", "read_1000": "1,000 clips read"}
    names = [f"{of}: {unit}" for of in steps.values() for unit in ("CPU s", "MB")]
    rows = [
        [row["opening"], f"{row['clips']:,}"]
        + [f"{row[step][key]:.2g}" for step in steps for key in ("cpu_seconds", "mb")]
        for row in read("million")["rows"]
    ]
    return table(["opening", "clips", *names], rows)


def line(row: Mapping[str, Any]) -> str:
    """A row of the table of kills."""
    kills = row["kills_before_changes"], row["kills_at_random"]
    counts = row["changes"], *kills, row["equal"], row["complete"], len(row["faults"])
    return f"| `{row['command']}` | {' | '.join(map(str, counts))} |"


def read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; the first column is text."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


if __name__ == "__main__":
    main()
