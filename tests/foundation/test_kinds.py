"""One path for every kind: the registry lists kinds, and nothing asks which one a value is."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import longtake
from longtake import registry, run_registry
from longtake.config import Config

SOURCE = Path(longtake.__file__).parent
CONVERTERS = "convert"  # each reads the files of one system, so it may
LISTS = (
    "registry",
    "run_registry",
    "training.methods.distillation",
    "runs",
    "reproduce.table",
    "studio.kinds",
)
"""Modules whose unions list kinds: runs and tables are made of those before them, the last is of
jobs."""
ALONE = {"C3DConfig", "CollapseRule", "AutoencoderLossConfig", "Plateau"}
"""Configs that nothing chooses between: their ``kind`` only names them in files."""


def kinds() -> set[type[Config]]:
    """Every config class of the package that has a ``kind``."""
    for module in pkgutil.walk_packages(longtake.__path__, "longtake."):
        if not module.name.startswith(("longtake.cli", "longtake.nn.kernels.triton")):
            importlib.import_module(module.name)
    found, left = set(), [Config]
    while left:
        left.extend(children := left.pop().__subclasses__())
        found.update(c for c in children if "kind" in c.__annotations__)
    return {kind for kind in found if kind.__module__.startswith("longtake.")}


def listed() -> set[type]:
    """Every class in a union of the modules that list kinds."""
    modules = [importlib.import_module(f"longtake.{name}") for name in LISTS]
    unions = [
        get_args(value)[0]
        for module in modules
        for name, value in vars(module).items()
        if get_args(value) and (name.startswith("Any") or name == "Attention")
    ]
    return {kind for union in unions for kind in get_args(union)}


def test_every_kind_stands_in_a_union():
    missing = {kind.__name__ for kind in kinds()} - {kind.__name__ for kind in listed()}
    assert missing == ALONE


def test_the_registry_exports_all_it_lists():
    imported = [
        alias
        for module in (registry, run_registry)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    unions = {a.name for a in imported if a.name.startswith("Any")} | {"Attention"}
    exported = {a.name for a in imported if a.asname == a.name}  # so type checkers understand it
    assert exported == unions


NETWORKS = [
    kind
    for union in (registry.AnyAutoencoder, registry.AnyDenoiser)
    for kind in get_args(get_args(union)[0])
]


def questions(tree: ast.AST) -> Iterator[ast.AST]:
    """Comparisons of a ``kind``, and ``isinstance`` with a network or its config."""
    networks = {kind.__name__.removesuffix("Config") for kind in NETWORKS}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            compared = [node.left, *node.comparators]
            if any(isinstance(x, ast.Attribute) and x.attr == "kind" for x in compared):
                yield node
        if isinstance(node, ast.Match) and getattr(node.subject, "attr", "") == "kind":
            yield node
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            names = [n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)]
            if any(n.removesuffix("Config") in networks for n in names):
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
