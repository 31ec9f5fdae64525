"""Our metrics have the numbers of independent tools."""

import benchmark_scripts
import pytest

AGREEMENT = benchmark_scripts.load("agreement")
OTHER_RULES = ("uniform window", "counts the border")


def check(rows: list[dict[str, object]]) -> None:
    assert rows
    for row in rows:
        another_rule = any(words in str(row["how"]) for words in OTHER_RULES)
        assert row["equal"] is not another_rule, row


def test_every_metric_has_the_number_of_tools_of_the_same_rule():
    rows = list(AGREEMENT.rows())
    check(rows)
    equal = {row["metric"] for row in rows if row["equal"]}
    assert equal == {"SSIM", "PSNR", "FRAME PSNR", "FVD", "KVD", "IS"}


@pytest.mark.parametrize("module", AGREEMENT.OTHERS)
def test_so_it_is_with_tools_that_are_installed_apart(module: str):
    if not AGREEMENT.imported(module):
        pytest.skip(f"{module} cannot be imported")
    check(list(AGREEMENT.OTHERS[module]()))
