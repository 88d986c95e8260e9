"""`make mutants` tries what a change touches, knows equivalent mutants by their lines, and needs a merge base."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mutants():
    spec = importlib.util.spec_from_file_location("mutants_script", ROOT / ".ci" / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(mutants, tmp_path, monkeypatch):
    """A checkout of its own with one commit on its main branch; gives git."""

    def git(*words):
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    for name in ("pipeline.py", "policy/__init__.py", "other.py"):
        (tmp_path / "src" / "cylestio_monitor" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / "cylestio_monitor" / name).write_text("a = 1\n")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return git


def test_each_module_of_the_configuration_exists(mutants):
    assert {"cylestio_monitor.pipeline", "cylestio_monitor.inspection", "cylestio_monitor.runtime"} <= mutants.covered()


def test_nothing_has_changed_on_the_main_branch_itself(mutants, checkout):
    assert mutants.changed() == set()


def test_what_differs_from_the_merge_base_has_changed_committed_or_not(mutants, checkout):
    source = mutants.ROOT / "src" / "cylestio_monitor"
    checkout("checkout", "-q", "-b", "change")
    (source / "pipeline.py").write_text("a = 2\n")
    checkout("commit", "-q", "-a", "-m", "second")
    (source / "policy" / "__init__.py").write_text("a = 2\n")
    assert mutants.changed() == {"cylestio_monitor.pipeline", "cylestio_monitor.policy"}


def test_without_a_merge_base_nothing_has_changed(mutants, checkout):
    checkout("branch", "-m", "main", "trunk")
    (mutants.ROOT / "src" / "cylestio_monitor" / "pipeline.py").write_text("a = 2\n")
    assert mutants.changed() == set()


def test_outside_of_a_checkout_nothing_has_changed(mutants, tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert mutants.changed() == set()


def test_every_equivalent_mutant_has_a_reason(mutants, tmp_path, monkeypatch):
    assert all(one.function.startswith("cylestio_monitor.") for one in mutants.equivalent())
    listed = tmp_path / "equivalent.yaml"
    listed.write_text("- {in: cylestio_monitor.a.b, was: x = 1, becomes: x = 2}\n")
    monkeypatch.setattr(mutants, "EQUIVALENT", listed)
    with pytest.raises(SystemExit, match=r"the entry of cylestio_monitor\.a\.b has no reason"):
        mutants.equivalent()


def test_survivors_are_told_apart_from_equivalent_ones(mutants, monkeypatch, capsys):
    one = mutants.Mutant("cylestio_monitor.a.b", "x = 1", "x = 2")
    two = mutants.Mutant("cylestio_monitor.a.b", "x = 1", "x = None")
    states = {"a.x_b__mutmut_1": "survived", "a.x_b__mutmut_2": "no tests", "a.x_b__mutmut_3": "killed"}
    monkeypatch.setattr(mutants, "mutant", lambda name: {"1": one, "2": two}[name[-1]])
    monkeypatch.setattr(mutants, "run", lambda names, seconds: True)
    monkeypatch.setattr(mutants, "results", lambda: states)
    monkeypatch.setattr(mutants, "equivalent", lambda: {one, two})
    assert mutants.report(states, finished=True, whole=True) == 0
    assert "3 tried, 0 survive, 2 equivalent" in capsys.readouterr().out
    monkeypatch.setattr(mutants, "equivalent", lambda: {one})
    assert mutants.report(states, finished=True, whole=True) == 1
    assert "+ x = None" in capsys.readouterr().out
    monkeypatch.setattr(mutants, "equivalent", lambda: {one, two, mutants.Mutant("cylestio_monitor.gone", "a", "b")})
    assert mutants.report(states, finished=True, whole=True) == 1
    assert mutants.report(states, finished=True, whole=False) == 0
    assert mutants.report({**states, "a.x_b__mutmut_4": "not checked"}, finished=False, whole=False) == 0
    assert "the time was over before 1 more were tried" in capsys.readouterr().out
