"""Imports point one way: verification may use backup_lib, and nothing uses a command line or a plugin."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for package in ("backup_lib", "verification") for path in (ROOT / package).rglob("*.py"))
EDGES = ("backup_lib.cli", "verification.cli", "verification.plugin")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its direction"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    module, imported = name_of(path), imports_of(path)
    for edge in EDGES:
        if not is_inside(module, edge):
            assert not [name for name in imported if is_inside(name, edge)], f"{module} imports {edge}"
    if is_inside(module, "backup_lib") and not is_inside(module, "backup_lib.cli"):
        assert not [name for name in imported if is_inside(name, "verification")], f"{module} imports verification"
