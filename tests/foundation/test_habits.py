"""Rules of the repository that a program can check."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "longtake"
FILES = sorted(SOURCE.rglob("*.py"))
LIBRARY = [path for path in FILES if "cli" not in path.relative_to(SOURCE).parts]
MAX_LINES, MAX_ARGUMENTS = 60, 8
SLOW_IMPORTS = {"torchmetrics", "diffusers", "transformers", "scipy", "openvino"}
OPENED_BY_DIFFUSERS = SOURCE / "convert" / "diffusers_pipeline.py"
FLAG = re.compile(r"(?<![\w-])--[a-z]")
COMMAND = re.compile(
    r"\blongtake (train|fit|generate|reconstruct|evaluate|compare|drift|reproduce|convert|inspect"
    r"|data)\b"
)

COUNTED = re.compile(r" (video|frame|clip|file|scene|step|thread|prompt|seed|class|other)(e?s)\b")

COUNTING = ("cli", "pipeline", "data", "runs", "given")  # packages whose messages count things

Function = ast.FunctionDef | ast.AsyncFunctionDef


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)} {getattr(node, 'name', '')}"


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def test_no_function_has_over_60_lines():
    found = [
        place(path, node)
        for path in FILES
        for node in functions(path)
        if (node.end_lineno or 0) - node.lineno + 1 > MAX_LINES
    ]
    assert found == []


def test_no_function_of_the_library_has_over_8_arguments():
    def count(node: Function) -> int:
        if any(isinstance(name, ast.Name) and name.id == "_jit" for name in node.decorator_list):
            return 0  # kernels of Triton take pointers and sizes alone
        named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        return len([argument for argument in named if argument.arg not in ("self", "cls")])

    found = [
        place(path, node)
        for path in LIBRARY
        for node in functions(path)
        if count(node) > MAX_ARGUMENTS
    ]
    assert found == []


def test_messages_of_the_library_name_no_commands_or_flags():
    found = [
        place(path, node)
        for path in LIBRARY
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and (FLAG.search(node.value.partition("pip download")[0]) or COMMAND.search(node.value))
    ]
    assert found == []


def uncounted(text: ast.JoinedStr) -> Iterator[str]:
    """Numbers of an f-string before a noun in the plural, unless they are constants or totals."""
    for before, number, after in zip(
        [None, *text.values], text.values, text.values[1:], strict=False
    ):
        if not (isinstance(number, ast.FormattedValue) and isinstance(after, ast.Constant)):
            continue
        source = ast.unparse(number.value)
        total = isinstance(before, ast.Constant) and str(before.value).endswith(" of ")
        if COUNTED.match(str(after.value)) and not (
            total or source.isupper() or number.format_spec
        ):
            yield f"{{{source}}}{str(after.value)[:20]}"


def test_a_number_in_the_terminal_is_followed_by_its_noun_in_the_singular_or_plural():
    """``plural(1, "video")``; in ``1 of 1 videos``, the noun follows a total."""
    paths = [p for name in COUNTING for p in (SOURCE / name).rglob("*.py")]
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {text}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.JoinedStr)
        for text in uncounted(node)
    ]
    assert wrong == []


def test_packages_that_take_seconds_are_imported_where_they_are_used():
    found = [
        place(path, node)
        for path in FILES
        if path != OPENED_BY_DIFFUSERS
        for node in ast.parse(path.read_text()).body
        for name in imported(node)
        if name in SLOW_IMPORTS
    ]
    assert found == []


def imported(node: ast.stmt) -> list[str]:
    """Packages that an import statement imports."""
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [node.module]
    return [name.split(".")[0] for name in names]


def test_text_files_are_utf_8_whatever_the_locale():
    def named(call: ast.Call) -> bool:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        mode = str(getattr(call.args[0], "value", "")) if call.args else ""
        opened = name == "open" and mode[:1] in tuple("rwax") and "b" not in mode
        text = opened or name in ("read_text", "write_text")
        return not text or "encoding" in [word.arg for word in call.keywords]

    found = [
        place(path, node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and not named(node)
    ]
    assert found == []


def test_no_layer_imports_from_above():
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_pre_commit_runs_the_versions_of_the_constraints():
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    (ruff,) = re.findall(r"ruff-pre-commit\n\s*rev: v(\S+)", hooks)
    assert ruff == pinned["ruff"]
    assert "entry: .venv/bin/pyright" in hooks


def test_everything_that_can_be_installed_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = {line.split("==")[0].lower() for line in lines}
    names = {re.split(r"[=<>\[]", each)[0].lower() for each in wanted}
    assert names - pinned == set()


@pytest.mark.parametrize(
    ("subject", "code"),
    [("Add a sampler", 0), ("add a sampler", 1), ("Add a sampler.", 1), ("Add" * 24, 1)],
)
def test_a_commit_subject_is_checked(subject: str, code: int, tmp_path: Path):
    message = tmp_path / "message"
    message.write_text(f"{subject}\n\nWhy.\n")
    done = subprocess.run([ROOT / ".ci" / "commit-subject", message], capture_output=True)
    assert done.returncode == code


def test_ci_runs_every_check():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    rule = (ROOT / "Makefile").read_text().split("\ntest: setup\n")[1].split("\n\n")[0]
    for tool in (
        "ruff check",
        "ruff format --check",
        "pyright",
        "lint-imports",
        "pytest",
        "mkdocs",
    ):
        assert tool in rule
