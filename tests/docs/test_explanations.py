"""Statements of the explanation pages that a tool can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "cylestio_monitor"
MODEL = (ROOT / "docs" / "explanation" / "threat-model.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
PROMISES = re.findall(r"^\| (.+) \| `(tests/[\w/]+\.py)::(\w+)` \|$", MODEL, re.MULTILINE)


def test_every_promise_names_a_test():
    rows = [line for line in MODEL.splitlines() if line.startswith("| ") and "held by" not in line]
    assert len(rows) == len(PROMISES) > 30


@pytest.mark.parametrize(
    ("file", "name"), [promise[1:] for promise in PROMISES], ids=lambda value: value.split("/")[-1]
)
def test_the_test_of_a_promise_exists(file, name):
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    assert name in functions


def packages():
    """Returns every package of the first two levels; an SDK or a framework is no subject of its own."""
    found = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")} - {"."}
    return sorted(name for name in found if name.count("/") < 2)


@pytest.mark.parametrize("name", packages())
def test_every_sub_package_is_described(name):
    assert f"`{name}/`" in ARCHITECTURE


def test_every_module_at_the_top_is_described():
    for path in PACKAGE.glob("*.py"):
        if path.name != "__init__.py":
            assert f"`{path.name}`" in ARCHITECTURE, path.name


def test_every_path_on_the_page_exists():
    for name in re.findall(r"`([\w./-]+(?:/|\.py|\.yaml|\.toml))`", ARCHITECTURE):
        places = (PACKAGE / name, ROOT / name)
        assert any(place.exists() for place in places), name


def test_every_name_of_the_life_of_a_call_exists():
    block = re.search(r"```text\n(.*?)```", ARCHITECTURE, re.DOTALL)[1]
    names = re.findall(r"([\w/]+\.py) +(\w+(?:\.\w+)?)", block)
    assert len(names) >= 8
    for file, name in names:
        source = (PACKAGE / file).read_text("utf-8")
        owner, _, member = name.rpartition(".")
        assert not owner or f"class {owner}" in source, f"{file}: {owner}"
        assert re.search(rf"(def|class) {member}\b", source), f"{file}: {member}"
