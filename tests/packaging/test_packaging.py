"""What `pyproject.toml`, the lock files and the pages say of each other."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cylestio_monitor.capture.registry import SDKS

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"^([\w.-]+)==([^\s;]+)(?: ; (.+?))? \\$", re.MULTILINE)


def requirements(source: str) -> list[Requirement]:
    lines = (ROOT / "requirements" / source).read_text("utf-8").splitlines()
    names = [line.partition("#")[0].strip() for line in lines]
    return [Requirement(name) for name in names if name and not name.startswith("-")]


def declared() -> list[Requirement]:
    return [Requirement(line) for line in importlib.metadata.requires("cylestio-monitor") or []]


def own() -> list[Requirement]:
    return [requirement for requirement in declared() if "extra" not in str(requirement.marker or "")]


def extras() -> list[Requirement]:
    return [requirement for requirement in declared() if "extra" in str(requirement.marker or "")]


def pinned(lock: str) -> dict[str, set[Version]]:
    versions: dict[str, set[Version]] = {}
    for name, version, _ in PINNED.findall((ROOT / "requirements" / lock).read_text("utf-8")):
        versions.setdefault(name, set()).add(Version(version))
    return versions


ENVIRONMENTS = sorted(file.stem for file in (ROOT / "requirements").glob("*.in"))
LAUNCHER = ["launcher-bare", "launcher-sdk", "launcher-distro"]


def test_every_environment_is_locked_and_every_lock_file_has_its_requirements():
    assert sorted(file.stem for file in (ROOT / "requirements").glob("*.txt")) == ENVIRONMENTS


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_lock_files_hold_what_is_asked_for(name):
    versions = pinned(f"{name}.txt")
    wanted = requirements(f"{name}.in") + (own() if name not in {"bootstrap", "browser", "docs"} else [])
    for requirement in wanted:
        key = canonicalize_name(requirement.name)
        assert key in versions, f"{requirement.name} is missing: run `make lock`"
        for version in versions[key]:
            assert requirement.specifier.contains(version, prereleases=True)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_locked_package_has_hashes_and_no_address(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(PINNED.findall(text))
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


@pytest.mark.parametrize("name", LAUNCHER)
def test_the_launchers_environments_have_the_versions_of_the_others(name):
    launcher, dev = pinned(f"{name}.txt"), pinned("dev.txt")
    assert {name: launcher[name] for name in launcher.keys() & dev.keys()} == {
        name: dev[name] for name in launcher.keys() & dev.keys()
    }


def test_every_dependency_has_its_reason_and_no_reason_stands_alone():
    page = (ROOT / "docs" / "explanation" / "dependencies.md").read_text("utf-8")
    named = {name.lower() for name in re.findall(r"^\| `([\w.-]+)` \|", page, re.MULTILINE)}
    assert named == {requirement.name.lower() for requirement in own()}


def test_no_sdk_is_a_dependency_and_no_extra_stops_the_launcher():
    assert not {"anthropic", "openai", "mcp"} & {requirement.name for requirement in own()}
    # The launcher refuses every instrumentor of a distribution that declares `instruments` which are not all there.
    assert not [requirement for requirement in extras() if "instruments" in str(requirement.marker)]


def entry_points():
    return [
        pytest.param(entry, id=f"{entry.group}:{entry.name}")
        for entry in importlib.metadata.distribution("cylestio-monitor").entry_points
    ]


@pytest.mark.parametrize("entry", entry_points())
def test_every_entry_point_leads_somewhere(entry):
    module = importlib.import_module(entry.module)
    for name in entry.attr.split(".") if entry.attr else []:
        module = getattr(module, name)
    assert module


def capture_modules() -> list[tuple[str, Path]]:
    source = ROOT / "src"
    return [
        (".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"), path)
        for path in sorted((source / "cylestio_monitor" / "capture").rglob("*.py"))
    ]


def test_every_instrumentor_of_the_package_has_an_entry_point():
    group = importlib.metadata.distribution("cylestio-monitor").entry_points.select(group="opentelemetry_instrumentor")
    expected = {f"cylestio_{sdk}": f"cylestio_monitor.capture.{sdk}:{row.class_name}" for sdk, row in SDKS.items()}
    assert {entry.name: entry.value for entry in group} == expected


def test_importing_any_capture_module_imports_no_sdk():
    names = [name for name, _ in capture_modules()]
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print([name for name in ('anthropic', 'openai', 'mcp', 'httpx', 'langchain_core') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
