"""Links lead somewhere, every page is in the navigation, quoted messages are in the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import longtake
from longtake.cli.arguments import on_command_line

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
ELSEWHERE = ("of the shell", "of PyTorch", "part of a message")  # in the cell of such a message
SHORTEST = 8  # letters of a message between two gaps that must be found


def has(page: Path, anchor: str) -> bool:
    """Whether a page has an anchor: of a heading, or of an object that mkdocstrings documents."""
    modules = re.findall(r"^::: (\S+)$", page.read_text(), flags=re.MULTILINE)
    return anchor in anchors(page) or any(anchor.startswith(f"{name}.") for name in modules)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as MkDocs makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    words = [re.sub(r"[^\w\s-]", "", head).strip().lower() for head in heads]
    return {re.sub(r"[-\s]+", "-", head) for head in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path):
    for name, anchor in LINK.findall(re.sub(r"`[^`]*`", "", page.read_text())):
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {name}"
        assert not anchor or has(target, anchor), f"{page.name}: {name}#{anchor}"


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]
    named = re.findall(r": (\S+\.md)$", nav, flags=re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_architecture_page_lists_every_layer():
    layers = (ROOT / "pyproject.toml").read_text().split("layers = [")[1].split("]")[0]
    modules = {name.strip() for line in re.findall(r'"(.*)"', layers) for name in line.split("|")}
    page = (DOCS / "architecture.md").read_text().split("## Five ideas")[0]
    assert {f"longtake.{name}" for name in re.findall(r"`(\w+)`", page)} >= modules


def message(node: ast.AST) -> str | None:
    """A text in the code, with a gap for each value in it."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
        return "".join(map(str, parts))
    return None


def quoted() -> Iterator[str]:
    """Messages in the first column of the tables of the page on errors."""
    for line in (DOCS / "troubleshooting.md").read_text().splitlines():
        cell = line.split(" | ")[0]
        if cell.startswith("| `") and not any(words in cell for words in ELSEWHERE):
            yield from re.findall(r"`([^`]+)`", cell)


def test_messages_on_the_page_of_errors_are_those_of_the_code():
    trees = [ast.parse(path.read_text()) for path in Path(longtake.__file__).parent.rglob("*.py")]
    found = (message(node) for tree in trees for node in ast.walk(tree))
    texts = {on_command_line(text) for text in found if text}
    for shown in quoted():
        parts = [part.strip() for part in re.split(r"\.\.\.", shown) if len(part) >= SHORTEST]
        pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
        assert any(pattern.search(text) for text in texts), shown


def test_the_documentation_builds_with_checks_that_count():
    """``mkdocs build --quiet --strict`` passes with broken links: it counts shown warnings only."""
    makefile = (ROOT / "Makefile").read_text()
    assert "mkdocs build" in makefile
    assert "--quiet --strict" not in makefile
    checks = yaml.safe_load((ROOT / "mkdocs.yml").read_text().split("\ntheme:")[0])["validation"]
    assert set(checks["links"].values()) | set(checks["nav"].values()) == {"warn"}
