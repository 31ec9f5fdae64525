"""Docstrings name the arguments and fields that are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import longtake

SOURCE = Path(longtake.__file__).parent


def documented(docstring: str, section: str) -> list[str]:
    """Names under ``Args:`` or ``Attributes:``."""
    found = re.search(rf"^{section}:\n((?:    .*\n?|\n)*)", docstring, re.MULTILINE)
    return re.findall(r"^    (\w+):", found[1], re.MULTILINE) if found else []


def fields(node: ast.ClassDef) -> list[str]:
    """Names of a class's public fields."""
    return [
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and not item.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(item.annotation)
    ]


def parameters(node: ast.FunctionDef) -> list[str]:
    """Names of a function's parameters."""
    found = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    found += [x for x in (node.args.vararg, node.args.kwarg) if x]
    return [x.arg for x in found if x.arg not in ("self", "cls")]


def expected(node: ast.ClassDef | ast.FunctionDef) -> list[str]:
    """What ``Args:`` of a function or class should list."""
    if isinstance(node, ast.FunctionDef):
        return parameters(node)
    functions = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    init = [item for item in functions if item.name == "__init__"]
    return parameters(init[0]) if init else fields(node)


def documented_nodes() -> Iterator[tuple[str, str, ast.ClassDef | ast.FunctionDef]]:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                where = f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}"
                yield where, ast.get_docstring(node) or "", node


def test_args_are_the_parameters():
    for where, docstring, node in documented_nodes():
        if names := documented(docstring, "Args"):
            assert sorted(names) == sorted(expected(node)), where


def test_attributes_leave_out_no_field_of_a_class():
    classes = [(w, d, n) for w, d, n in documented_nodes() if isinstance(n, ast.ClassDef)]
    listed = {node.name: documented(docstring, "Attributes") for _, docstring, node in classes}
    for where, docstring, node in classes:
        if names := documented(docstring, "Attributes"):
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            inherited = [name for base in bases for name in listed.get(base, [])]
            assert set(fields(node)) <= {"kind", *names, *inherited}, where
