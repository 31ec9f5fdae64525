"""One path for every kind of model: nothing asks which it is; config unions alone name them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import longtake
from longtake.config import Config

SOURCE = Path(longtake.__file__).parent
CONVERTERS = "convert"  # of one system each, so they may
NETWORKS = ("Autoencoder", "UNet")


def questions(tree: ast.AST) -> Iterator[ast.AST]:
    """Comparisons of a ``kind``, and ``isinstance`` with a network or its config."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            compared = [node.left, *node.comparators]
            if any(isinstance(x, ast.Attribute) and x.attr == "kind" for x in compared):
                yield node
        if isinstance(node, ast.Match) and getattr(node.subject, "attr", "") == "kind":
            yield node
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            names = [n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)]
            if any(n.removesuffix("Config").endswith(NETWORKS) for n in names):
                yield node


def test_nothing_branches_on_the_kind_of_a_model():
    found = [
        f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}"
        for path in SOURCE.rglob("*.py")
        if path.parent.name != CONVERTERS
        for node in questions(ast.parse(path.read_text()))
    ]
    assert found == []


def test_the_search_finds_such_branches():
    code = "a.kind == 'x'\nmatch a.kind:\n    case _: pass\nisinstance(m, TriplaneUNet | int)\n"
    assert len(list(questions(ast.parse(code)))) == 3
    assert "kind" not in Config.model_fields
