"""Every number in a table of measurements is in a result file that its section names.

A section is what stands below a heading of the second level. A table of a section that names no
file of ``docs/results`` holds no measurements. Of its tables each cell that begins with a number is
looked up, to the digits that are printed, among all values of the files, as they are or in
millions. What a page computes from the files is listed in ``COMPUTED``, with its formula. A wrong
number passes if another value of the files happens to be equal: of numbers with decimals whose last
digits are changed, three of four are noticed.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "results"
PAGES = (
    *("results", "evaluate", "drift", "cpu", "reliability", "gpu", "scale"),
    "volume-or-triplane",
)
NAMED = re.compile(r"\b\w+\.json\b")
TABLE = re.compile(r"(?m)^\|.*(?:\n\|.*)+")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?(?![\w])")
VALUE, WORD, WORDS = re.compile(r"[-+*(]*\d"), re.compile("[a-z]{2,}"), 4
SCALES = (1.0, 1e-6)


def numbers(found: Any) -> Iterator[float]:
    """All numbers of JSON data, also those inside of its texts and keys."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from numbers(key)
            yield from numbers(value)
    elif isinstance(found, list):
        for value in found:
            yield from numbers(value)
    elif isinstance(found, str):
        yield from (float(number.replace(",", "")) for number in NUMBER.findall(found))
    elif found is not None and not isinstance(found, bool):
        yield float(found)


@cache
def result(name: str) -> Any:
    return json.loads((RESULTS / name).read_text())


@cache
def values_of(name: str) -> list[float]:
    return sorted({scale * value for value in numbers(result(name)) for scale in SCALES})


def ratios(values: list[float]) -> list[float]:
    return [above / below for above in values for below in values if below]


def of_memory() -> list[float]:
    return [
        ratio
        for name in ("memory.json", "memory_lvdm_sky.json")
        for rows in result(name).values()
        for ratio in ratios([row["peak_mb"] for row in rows])
    ]


def of_threads() -> list[float]:
    return [
        ratio
        for ways in result("threads.json")["seconds"].values()
        for ratio in ratios([median(seconds) for seconds in ways.values()])
    ]


def of_objectives() -> list[float]:
    rows = result("objectives.json")["rows"]
    names = {row["objective"] for row in rows}
    cost = "cpu_seconds_a_step"
    return [fmean(row[cost] for row in rows if row["objective"] == name) for name in names]


def of_index_and_start() -> list[float]:
    rows = result("index.json")["rows"]
    rates = [row["videos"] / row["cpu_seconds"] for row in rows]
    start = result("start.json")
    seconds, memory = start["cpu_seconds"], start["memory"]
    without = [seconds[name] - seconds["import torch"] for name in ("before", "after")]
    growth = [grown / memory["weights_mb"] for grown in memory["peak_growth_mb"].values()]
    return [*rates, *ratios(rates), *without, *growth]


def of_drift() -> list[float]:
    rows = result("drift.json")["rows"]
    keys = ("found", "beyond")
    pairs = {(row[key], row["of"]) for row in rows for key in keys if key in row}
    return [100 * end for found, of in pairs for end in exact_interval(found, of)]


def exact_interval(found: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share by Clopper and Pearson."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, found, of - found + 1)) if found else 0.0
    return low, float(beta.ppf(0.975, found + 1, of - found)) if found < of else 1.0


def of_latents_and_clips() -> list[float]:
    rows = result("volume_or_triplane.json")["rows"]
    shapes = [row["latent"] for row in rows] + [[3, *row["clip"]] for row in rows]
    products = []
    for shape in shapes:
        product = 1
        for size in shape:
            product *= size
        products.append(float(product))
    return products


COMPUTED: dict[str, Callable[[], list[float]]] = {
    "Memory of a long video": of_memory,
    "Threads beside other work": of_threads,
    "Objectives and training times": of_objectives,
    "Many short videos, and start-up": of_index_and_start,
    "How well it finds faults": of_drift,
    "Volume or triplane?": of_latents_and_clips,
}


def sections() -> Iterator[tuple[str, str, list[str], str]]:
    """Page, title, files and table of each table of measurements."""
    for page in PAGES:
        for part in re.split(r"(?m)^##? ", (DOCS / f"{page}.md").read_text()):
            named = [name for name in NAMED.findall(part) if (RESULTS / name).exists()]
            for table in TABLE.findall(part) if named else []:
                yield page, part.split("\n", 1)[0], list(dict.fromkeys(named)), table


FOUND = list(sections())


def cells(table: str) -> Iterator[str]:
    """Cells of a table's body with values: they begin with a number and have few words."""
    for row in table.splitlines()[2:]:
        shown = (re.sub(r"`[^`]*`", "", cell).strip() for cell in row.strip("|").split(" | "))
        yield from (
            cell for cell in shown if VALUE.match(cell) and len(WORD.findall(cell)) <= WORDS
        )


def is_among(number: str, values: list[float]) -> bool:
    """Whether a value, rounded to the printed digits, is the printed number."""
    mantissa, _, exponent = number.replace(",", "").partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    shown, margin = float(number.replace(",", "")), 0.5001 * unit
    place = bisect_left(values, shown - margin)
    return place < len(values) and values[place] <= shown + margin


@pytest.mark.parametrize(
    ("page", "title", "files", "table"), FOUND, ids=[f"{f[0]}-{f[1]}" for f in FOUND]
)
def test_the_numbers_of_a_table_are_in_its_files(
    page: str, title: str, files: list[str], table: str
):
    computed = sorted(COMPUTED[title]()) if title in COMPUTED else []
    sources = [*map(values_of, files), computed]
    for cell in cells(table):
        for number in NUMBER.findall(cell):
            assert any(is_among(number, values) for values in sources), f"{page}, {title}: {cell}"


@pytest.mark.parametrize("page", PAGES)
def test_a_result_file_that_a_page_names_exists(page: str):
    named = re.findall(r"docs/results/(\w+\.jsonl?)", (DOCS / f"{page}.md").read_text())
    assert named
    assert all((RESULTS / name).exists() for name in named)


def test_a_number_that_is_wrong_is_noticed():
    assert is_among("36.9", [36.93])
    assert not is_among("37.1", [36.93])
    assert is_among("2e-06", [1.7e-6])
    assert not is_among("1,231", [1230.0, 1232.0])
