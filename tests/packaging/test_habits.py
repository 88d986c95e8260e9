"""What a change goes through: the hooks, the workflow file and the guide run what `.ci/run` runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
RUN = (ROOT / ".ci" / "run").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))


def made_by(text: str) -> set[str]:
    """The targets of the Makefile that a script runs."""
    return set(re.findall(r"\bmake (?:--\S+ )*([\w-]+)", text))


def test_each_hook_runs_a_target_that_the_whole_run_has():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    (repository,) = hooks["repos"]
    assert repository["repo"] == "local"
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert set.union(*map(made_by, entries)) == {"lint", "unit", "mutants"}
    assert {"lint", "unit", "mutants", "test", "e2e"} <= made_by(RUN)
    mutants = next(entry for entry in entries if "mutants" in entry)
    assert mutants in RUN


def test_the_hooks_are_valid():
    command = [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_runs_the_whole_run_with_every_supported_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    steps = workflow["jobs"]["all"]["steps"]
    assert steps[-1] == {"run": ".ci/run"}
    (pythons,) = [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")]
    supported = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert sorted(pythons.split()) == sorted(supported)


def test_the_guide_goes_from_clone_to_green_in_five_commands():
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    commands = re.search(r"## One change.*?```sh\n(.*?)```", guide, re.DOTALL)[1].splitlines()
    assert len(commands) == 5
    assert commands[-1].startswith(".ci/run")
    assert set.union(*map(made_by, commands)) <= TARGETS
    assert made_by(" ".join(re.findall(r"`(make [^`]+)`", guide))) <= TARGETS


def test_every_target_of_the_guide_and_of_the_whole_run_exists():
    assert made_by(RUN) <= TARGETS
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())
    assert phony == TARGETS
