"""The page's programs import nothing of the project, so that what they understand, the page says."""

import ast
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAMS = ("reader", "writer", "states", "sealing", "cutter")
LIBRARIES = {"blake3", "zstandard", "cryptography"}
OURS = {f"tests.conformance.format.{name}" for name in PROGRAMS}


def imported(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or ".")
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_imports_nothing_of_the_project(name: str) -> None:
    foreign = imported((HERE / f"{name}.py").read_text(encoding="utf-8")) - OURS
    assert {module.partition(".")[0] for module in foreign} <= sys.stdlib_module_names | LIBRARIES
