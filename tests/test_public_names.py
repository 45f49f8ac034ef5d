"""The names of ``icl_core`` itself: all there, told to type checkers too, and fetched without a slow import."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys

import pytest

import icl_core
from icl_core.settings import project_path


@pytest.mark.parametrize("name", icl_core.__all__)
def test_a_name_is_that_of_its_module(name: str) -> None:
    module = importlib.import_module(f"icl_core.{icl_core._MODULE_BY_NAME[name]}")
    assert name in module.__all__ and getattr(icl_core, name) is getattr(module, name)


def test_type_checkers_are_told_the_same() -> None:
    stub = ast.parse((project_path() / "icl_core" / "__init__.pyi").read_text())
    told = {
        alias.asname: str(node.module) for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert told == {name: f"icl_core.{module}" for name, module in icl_core._MODULE_BY_NAME.items()}


def test_other_names_are_refused_and_listed_nowhere() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compete'"):
        icl_core.compete  # noqa: B018  # the access is the test
    assert set(icl_core.__all__) <= set(dir(icl_core))


def test_the_import_loads_nothing_and_most_names_no_torch() -> None:
    code = (
        "import sys, icl_core\n"
        "assert not [name for name in sys.modules if name.startswith('icl_core.') or name == 'numpy']\n"
        "for name in set(icl_core.__all__) - {'score_requests'}:\n"
        "    getattr(icl_core, name)\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=project_path(), capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
