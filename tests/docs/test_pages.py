"""Every example on a page runs as it stands, and every link leads somewhere."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
EXAMPLES = sorted((DOCS / "how-to" / "examples").glob("*.py"))
TESTS = sorted((DOCS / "how-to" / "examples" / "tests").glob("*.py"))
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")

EVENTS = {
    "ai_errors.py": [("llm_call_failed", "LLM", "ERROR")] * 3 + [("llm_fallback_used", "LLM", "WARNING")],
    "content_moderation.py": [
        *[("content_moderation", "TOOL", "INFO"), ("tool_call", "TOOL", "INFO")],
        *[("content_moderation", "TOOL", "WARNING"), ("tool_call", "TOOL", "WARNING")],
    ],
    "identify_users.py": [("request_served", "WEB", "INFO")],
    "user_authentication.py": [("user_authentication", "AUTH", "WARNING")] * 3
    + [("user_authentication", "AUTH", "INFO"), ("session_started", "AUTH", "INFO")],
}
"""What each example is there to write: event type, channel and level, in order."""


def environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "CYLESTIO_"))}
    tools = str(Path(sys.executable).parent)
    return {**kept, "CYLESTIO_DB_PATH": str(folder / "cylestio.db"), "PATH": tools + os.pathsep + kept["PATH"]}


def blocks(kind):
    fence = re.compile(rf"<!-- {kind}(?:: (\S+))? -->\n```(\w+)\n(.*?)```", re.DOTALL)
    return [
        pytest.param(page, match[1], match[2], match[3], id=f"{page.stem}:{match.start()}")
        for page in PAGES
        for match in fence.finditer(page.read_text("utf-8"))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_writes_its_events(example, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", example],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    with sqlite3.connect(tmp_path / "cylestio.db") as connection:
        rows = connection.execute("SELECT event_type, channel, level FROM events ORDER BY id").fetchall()
    connection.close()
    assert rows == EVENTS[example.name]


@pytest.mark.slow
@pytest.mark.parametrize("example", TESTS, ids=lambda path: path.stem)
def test_an_example_of_tests_passes(example, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, example],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("page", "file", "_language", "text"), blocks("example"))
def test_an_example_on_a_page_is_the_file_that_is_run(page, file, _language, text):
    assert text == (page.parent / file).read_text("utf-8")
    assert (page.parent / file).resolve() in [*EXAMPLES, *TESTS]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "_file", "language", "text"), blocks("run"))
def test_a_block_marked_to_be_run_runs(page, _file, language, text, tmp_path):
    assert language == "console", f"{page.name}: only console blocks are run"
    for line in text.splitlines():
        if not line.startswith("$ "):
            continue
        command, _, expected = line[2:].partition("  # exit ")
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"],
            cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == int(expected or 0), f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(page):
    for target in LINK.findall(page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_is_in_the_index():
    listed = {(DOCS / target).resolve() for target in LINK.findall((DOCS / "README.md").read_text("utf-8"))}
    pages = {page for page in DOCS.rglob("*.md") if page != DOCS / "README.md"}
    assert pages <= listed, f"not in docs/README.md: {sorted(str(page.relative_to(DOCS)) for page in pages - listed)}"


def test_commands_on_pages_exist():
    from click import Group

    from cylestio_monitor.cli import main

    for page in PAGES:
        for line in re.findall(r"(?:`|\$ )(?:\S*/)?cylestio ([a-z][^`\n;|&>#]*)", page.read_text("utf-8")):
            words = shlex.split(line, comments=True)
            command = main
            while isinstance(command, Group) and words:
                name = words.pop(0)
                assert command.get_command(None, name), f"{page.name}: cylestio {line}"
                command = command.get_command(None, name)
