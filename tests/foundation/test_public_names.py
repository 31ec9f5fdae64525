"""``import longtake`` is light; its public names are imported when they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import longtake

LOADED = "import sys, longtake; print('torch' in sys.modules, 'diffusers' in sys.modules)"
FOLDER = Path(longtake.__file__).parent


def test_importing_longtake_loads_neither_torch_nor_diffusers():
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("name", vars(longtake)["__all__"])
def test_a_public_name_is_imported_from_its_module(name: str):
    assert getattr(longtake, name).__name__ == name
    assert name in dir(longtake)


def test_type_checkers_see_the_same_names():
    stub = ast.parse((FOLDER / "__init__.pyi").read_text())
    imported = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    names = {(alias.asname, node.module) for node in imported for alias in node.names}
    modules = vars(longtake)["_MODULES"]
    assert names == {(name, f"longtake.{module}") for name, module in modules.items()}
    assert (FOLDER / "py.typed").exists()


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'VideoModle'"):
        longtake.VideoModle  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
