"""Changes the code of the decisions one place at a time, and tells which changes no test notices.

usage: .ci/mutants.py [--changed] [--seconds N] [MODULE ...]

Runs mutmut over the modules that `[tool.mutmut]` of pyproject.toml names, or over those given as
`cylestio_monitor.pipeline`. `--changed` takes those that differ from the merge base with the main branch; where there
is none, or nothing differs, nothing is run. After `--seconds` the run stops, and what was not tried is said.

A surviving mutant that changes nothing anybody can observe stands in `.ci/equivalent_mutants.yaml` with its reason. The
exit status is 1 where any other one survives. A survivor is tried twice more before it is reported.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = ROOT / ".ci" / "equivalent_mutants.yaml"
WORK = ROOT / "mutants"
MUTMUT = [sys.executable, "-m", "mutmut"]
RETRIES = 2
# mutmut waits for the running tests when it is interrupted.
STOP_S = 30


class Mutant(NamedTuple):
    """One change of one function: the lines that go and those that come, without their indentation."""

    function: str
    was: str
    becomes: str


def main() -> int:
    """Runs the mutants that the command line asks for; the exit status is 1 where one survives."""
    parser = argparse.ArgumentParser(description="Tell which changes of the code no test notices.")
    parser.add_argument("--changed", action="store_true", help="only modules that differ from the merge base")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="all that pyproject.toml names without any")
    options = parser.parse_args()
    modules = set(options.modules) or covered()
    if unknown := modules - covered():
        parser.error(f"{min(unknown)} is not covered by [tool.mutmut] of pyproject.toml")
    if options.changed:
        modules &= changed()
    if not modules:
        print("mutants: no module that they cover has changed")
        return 0
    names = [f"{module}.x*" for module in sorted(modules)]
    prepare(modules)
    try:
        finished = run(names, options.seconds)
    except subprocess.CalledProcessError as error:
        # The suite itself has told of a test that fails; here it may be one that the machine was too busy for.
        print(f"mutants: not tried, mutmut stopped: {' '.join(str(error.output).split())[-400:]}")
        return int(not options.changed)
    states = {name: state for name, state in results().items() if any(fnmatch.fnmatch(name, one) for one in names)}
    return report(states, finished=finished, whole=not options.changed and not options.modules)


def prepare(modules: set[str]) -> None:
    """Copies what is needed into the folder where mutmut works, with these modules as the ones to be mutated."""
    shutil.rmtree(WORK, ignore_errors=True)
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, WORK / name, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    files = ", ".join(f'"{path.as_posix()}"' for path in (source(module) for module in sorted(modules)))
    text = re.sub(r"(?ms)^only_mutate = \[.*?^\]", f"only_mutate = [{files}]", text)
    (WORK / "pyproject.toml").write_text(text, "utf-8")


def source(module: str) -> Path:
    """The file of a module, relative to the root."""
    place = Path("src", *module.split("."))
    return place / "__init__.py" if (ROOT / place).is_dir() else place.with_suffix(".py")


def covered() -> set[str]:
    """The modules that `[tool.mutmut]` names, with dots."""
    text = (ROOT / "pyproject.toml").read_text("utf-8").partition("\n[tool.mutmut]")[2].partition("\n[")[0]
    patterns = re.findall(r'"(src/[^"]+\.py)"', text)
    files = {file for pattern in patterns for file in ROOT.glob(pattern)}
    return {".".join(file.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__") for file in files}


def changed() -> set[str]:
    """The modules that differ from the merge base with the main branch; none where there is no such base."""
    for branch in ("origin/main", "main"):
        base = git("merge-base", "HEAD", branch)
        if base:
            break
    else:
        return set()
    files = [Path(name) for name in git("diff", "--name-only", base, "--", "src").splitlines()]
    return {".".join(file.with_suffix("").parts[1:]).removesuffix(".__init__") for file in files}


def git(*words: str) -> str:
    """What git prints; nothing where it fails."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603, S607 -- git is where PATH has it
    return done.stdout.strip() if done.returncode == 0 else ""


def run(names: list[str], seconds: float | None) -> bool:
    """Tries the mutants that match the names; false where the time was over before all were tried.

    Raises:
        subprocess.CalledProcessError: mutmut could not begin, because a test fails without any mutant.
    """
    command = [*MUTMUT, "run", *names]
    # mutmut finds mypy by its name.
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(command, cwd=WORK, env=environment, stdout=output, stderr=output) as process,  # noqa: S603 -- our own command
    ):
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
            return False
        if process.returncode:
            output.seek(0)
            raise subprocess.CalledProcessError(process.returncode, command, output.read())
    return True


def results() -> dict[str, str]:
    """The state of each mutant by its name: `killed`, `survived`, `no tests`, `not checked`, `timeout` and others."""
    done = subprocess.run([*MUTMUT, "results", "--all", "true"], cwd=WORK, capture_output=True, text=True, check=True)  # noqa: S603 -- our own command
    return dict(line.strip().rsplit(": ", 1) for line in done.stdout.splitlines() if ": " in line)


def report(states: dict[str, str], *, finished: bool, whole: bool) -> int:
    """Prints what survived and what is out of date in the list of equivalent mutants; returns the exit status."""
    surviving = {name: mutant(name) for name, state in states.items() if state in {"survived", "no tests"}}
    listed = equivalent()
    unknown = {name: one for name, one in surviving.items() if one not in listed}
    for _ in range(RETRIES):
        if unknown and finished:
            run(sorted(unknown), None)
            after = results()
            unknown = {name: one for name, one in unknown.items() if after[name] in {"survived", "no tests"}}
    for one in unknown.values():
        print(f"mutants: no test notices in {one.function}\n  - {one.was}\n  + {one.becomes}")
    stale = listed - set(surviving.values()) if whole and finished else set()
    for one in stale:
        print(
            f"mutants: .ci/equivalent_mutants.yaml lists one that no longer survives, in {one.function}: {one.becomes}"
        )
    waiting = sum(state == "not checked" for state in states.values())
    tried, excused = len(states) - waiting, len(surviving) - len(unknown)
    rest = "" if finished else f"; the time was over before {waiting} more were tried"
    print(f"mutants: {tried} tried, {len(unknown)} survive, {excused} equivalent{rest}")
    return bool(unknown or stale)


def mutant(name: str) -> Mutant:
    """What a mutant changes."""
    done = subprocess.run([*MUTMUT, "show", name], cwd=WORK, capture_output=True, text=True, check=True)  # noqa: S603 -- our own command
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("---", "+++"))]
    was, becomes = ("\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    function = re.sub(r"__mutmut_\d+$", "", name)
    module, _, key = function.rpartition(".x")
    return Mutant(f"{module}.{key.lstrip('_').replace('ǁ', '.').lstrip('.')}", was, becomes)


def equivalent() -> set[Mutant]:
    """The mutants that change nothing anybody can observe."""
    entries = yaml.safe_load(EQUIVALENT.read_text("utf-8")) or []
    for entry in entries:
        if not entry.get("because", "").strip():
            raise SystemExit(f"{EQUIVALENT.name}: the entry of {entry.get('in')} has no reason")
    return {Mutant(entry["in"], entry["was"].strip(), entry["becomes"].strip()) for entry in entries}


if __name__ == "__main__":
    sys.exit(main())
