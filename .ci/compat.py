"""Runs the tests of each SDK and framework at its oldest supported release and at the newest of the day.

usage: .ci/compat.py [--keep] [DISTRIBUTION ...]

Each is resolved and installed into an environment of its own, without the lock files, beside what its tests import.
The results go to `src/cylestio_monitor/otel/tested_versions.json`, which `cylestio doctor` compares installed versions
with, and from there, by `docs/generate.py`, to `docs/reference/compatibility.md`. Distributions that are not named keep
their results. The exit status is 1 where a newest release fails. `--keep` leaves the environments where they are, and
says where.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from cylestio_monitor.capture.registry import SDKS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "src" / "cylestio_monitor" / "otel" / "tested_versions.json"
TIMEOUT_S = 900
UV = [sys.executable, "-m", "uv", "pip"]
TOOLS = ("pytest", "pytest-asyncio", "hypothesis", "trio")
FRAMEWORKS = "tests/capture/frameworks"


class Suite(NamedTuple):
    """The tests of one distribution.

    Attributes:
        tests: What pytest is given.
        beside: What the tests import beside the distribution itself.
        inside: Whether pytest itself runs in the environment; else it starts programs there.
        below: From this major version of the distribution on, the next suite is for it.
    """

    tests: tuple[str, ...]
    beside: tuple[str, ...] = ()
    inside: bool = False
    below: int = sys.maxsize


def framework(test: str, *beside: str) -> tuple[Suite]:
    """The suite of a framework: one test, which runs a program in the environment."""
    return (Suite((FRAMEWORKS, "-k", test), beside),)


SUITES: dict[str, tuple[Suite, ...]] = {
    "anthropic": (Suite(("tests/capture/test_anthropic.py",), ("anthropic[bedrock,vertex]",), inside=True),),
    "openai": (Suite(("tests/capture/test_openai.py",), inside=True),),
    "mcp": (
        Suite(("tests/capture/test_mcp_previous.py", "-k", "not fast"), below=2),
        Suite(("tests/capture/test_mcp.py",), ("mcp-server-git", "mcp-server-time"), inside=True),
    ),
    "botocore": framework("bedrock", "boto3"),
    "google-genai": framework("google_genai"),
    "langchain-core": framework("langchain", "langchain", "langchain-openai", "langgraph"),
    "openai-agents": framework("openai_agents"),
    # Earlier releases import packages that they do not name: the SDKs of their time had them.
    "litellm": framework("litellm", "openai", "anthropic", "httpx"),
    "pydantic-ai-slim": framework("pydantic_ai", "openai"),
    "llama-index-core": framework("llamaindex", "llama-index-llms-openai"),
    "crewai": framework("crewai", "openai", "litellm"),
    "smolagents": framework("smolagents", "openai"),
    "strands-agents": framework("strands", "openai"),
    "google-adk": framework("google_adk", "deprecated"),
    # The bracket tells the parameter of a test from the name of the file.
    "agent-framework-core": framework("agent_framework]", "agent-framework-openai"),
    "claude-agent-sdk": framework("claude_agent"),
}


class Result(NamedTuple):
    """What became of one release.

    Attributes:
        version: The release.
        date: The day of the run, as `YYYY-MM-DD`.
        passed: How many tests passed.
        failed: The tests that failed; or why nothing could be run.
    """

    version: str
    date: str
    passed: int
    failed: list[str]


def main() -> int:
    """Runs what the command line names; the exit status is 1 where a newest release fails."""
    supported = {}
    for key, sdk in SDKS.items():
        if not sdk.dependencies:  # hooks of no distribution in particular
            continue
        name, versions = requirement(sdk.dependencies[0])
        supported[name] = versions
        # Without a row of its own, the test that is named after it, with nothing beside it.
        SUITES.setdefault(name, framework(key))
    parser = argparse.ArgumentParser(description="Run the tests at the oldest and the newest releases.")
    parser.add_argument("--keep", action="store_true", help="leave the environments where they are")
    parser.add_argument("names", nargs="*", metavar="DISTRIBUTION", help="all without any")
    options = parser.parse_args()
    if unknown := set(options.names) - set(SUITES):
        parser.error(f"no suite for {min(unknown)}; there are {', '.join(sorted(SUITES))}")
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    failed = False
    for name in options.names or sorted(SUITES):
        ranges = supported[name]
        pair = {age: tried(name, ranges, age, keep=options.keep) for age in ("oldest", "newest")}
        failed = failed or bool(pair["newest"].failed)
        rows = {age: result._asdict() for age, result in pair.items()}
        results[name] = {"supported": ranges, "python": platform.python_version(), **rows}
        RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=2) + "\n", "utf-8")
    subprocess.run([sys.executable, ROOT / "docs" / "generate.py"], check=True)  # noqa: S603 -- our own program
    return failed


def requirement(text: str) -> tuple[str, str]:
    """Name and versions of a requirement such as `mcp >= 1.9, < 3`."""
    name, _, versions = text.partition(" ")
    return name, versions.replace(" ", "")


def tried(name: str, versions: str, age: str, *, keep: bool) -> Result:
    """Installs one release and runs its tests."""
    today = dt.datetime.now(tz=dt.timezone.utc).date().isoformat()
    version = "?"
    try:
        version = resolved(name, versions, age)
        suite = next(suite for suite in SUITES[name] if int(version.partition(".")[0]) < suite.below)
        print(f"compat: {name} {version}, the {age}", flush=True)
        with folder(name, version, keep=keep) as place:
            python = installed(place, f"{name}=={version}", suite)
            result = Result(version, today, *outcome(suite, python, place / "report.xml"))
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or str(error)).strip().splitlines()
        result = Result(version, today, 0, [f"cannot be installed: {' '.join(lines)[:300]}"])
    print(f"compat: {result.passed} passed, {len(result.failed)} failed {' '.join(result.failed)}", flush=True)
    return result


def resolved(name: str, versions: str, age: str) -> str:
    """The oldest release that is supported, or the newest that can be installed beside what the tests import."""
    command = [*UV, "compile", "--quiet", "--no-header", "--no-annotate", "--python", sys.executable]
    if age == "oldest":
        command += ["--no-deps", "--resolution", "lowest-direct", "-"]
        wanted: tuple[str, ...] = (f"{name}{versions}",)
    else:
        command += ["pyproject.toml", "-"]
        wanted = (f"{name}{versions}", *SUITES[name][-1].beside)
    found = quietly(command, given="\n".join(wanted))
    match = re.search(rf"^{re.escape(name)}(?:\[[^]]*\])?==(\S+)", found, re.MULTILINE)
    assert match is not None, found
    return match[1]


@contextlib.contextmanager
def folder(name: str, version: str, *, keep: bool) -> Iterator[Path]:
    """A folder for the environment, gone afterwards."""
    if keep:
        place = Path(tempfile.mkdtemp(prefix=f"compat-{name}-{version}-"))
        print(f"compat: {place}", flush=True)
        yield place
        return
    with tempfile.TemporaryDirectory(prefix=f"compat-{name}-{version}-") as place:
        yield Path(place)


def installed(place: Path, pinned: str, suite: Suite) -> Path:
    """The interpreter of a new environment with the release, what the tests import, and this project's dependencies."""
    environment = place / "environment"
    quietly([sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, str(environment)])
    python = environment / "bin" / "python"
    wanted = [pinned, *suite.beside, *(TOOLS if suite.inside else ())]
    quietly([*UV, "install", "--quiet", "--python", str(python), "-r", str(ROOT / "pyproject.toml"), *wanted])
    # Not by a variable alone: the programs that a test starts through an SDK do not inherit all of them.
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "checkout.pth").write_text(f"{ROOT / 'src'}\n", "utf-8")
    return python


def outcome(suite: Suite, python: Path, report: Path) -> tuple[int, list[str]]:
    """How many tests passed, and the names of those that failed."""
    own = {"CYLESTIO_TEST_PYTHON": str(python), "PYTHONPATH": str(ROOT / "src")}
    command = [python if suite.inside else sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(  # noqa: S603 -- our own tests
            [*map(str, command), f"--junitxml={report}", *suite.tests],
            cwd=ROOT,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if not report.exists():
            return 0, [f"did not run: {(done.stderr or done.stdout).strip()[-300:]}"]
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 -- pytest wrote it
        failed = [reason for case in cases for child in case if (reason := failure(case.get("name", "?"), child))]
        skipped = sum(any(child.tag == "skipped" for child in case) for case in cases)
        return len(cases) - len(failed) - skipped, failed
    return 0, [f"no end within {TIMEOUT_S} s"]


def failure(name: str, said: ET.Element) -> str:
    """Why a test failed, from what pytest reports of it; nothing where it did not."""
    if said.tag == "failure":
        return name
    if said.tag != "error":
        return ""
    # It could not be collected or set up: the last line names the exception.
    told = [line for line in (said.text or "").splitlines() if line.startswith("E ")]
    reason = re.sub(r" \(/[^)]*\)", "", told[-1].removeprefix("E").strip()) if told else ""
    return f"{name}: {reason[:200]}" if reason else name


def quietly(command: list[str], given: str | None = None) -> str:
    """What a command prints.

    Raises:
        subprocess.CalledProcessError: It failed; the error holds what it wrote.
    """
    return subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=True).stdout  # noqa: S603 -- our own command


if __name__ == "__main__":
    sys.exit(main())
