"""The same tests with the major versions before, each in an environment of its own; and the table that they make."""

from __future__ import annotations

import os
import subprocess

import pytest

from capture.coverage import PAGE, VERSIONS, outcomes
from peers.environment import ROOT, environment

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("sdk-environments")]

FILES = {
    "sdk-previous": ("anthropic", "openai", "clouds", "hooks", "endings", "async_endings"),
    # Older ones are out of support; how their streams end is measured when the page of coverage is written.
    "sdk-older": ("anthropic", "openai"),
    "sdk-others": ("other_sdks", "plain_http"),
}


@pytest.mark.parametrize("name", [name for name in VERSIONS if name != "current"])
def test_with_the_versions_before(name, tmp_path):
    found = tmp_path / "cases.json"
    files = [f"tests/capture/test_{file}.py" for file in FILES[name]]
    done = subprocess.run(
        [environment(name), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--cases", found, *files],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    page = PAGE.read_text("utf-8")
    named = {title: title.split(": ", 1)[-1] for title, passed in outcomes(found).items() if passed}
    missing = [title for title, name in named.items() if f"| {name} |" not in page]
    assert missing == [], f"run tests/capture/coverage.py to write {PAGE}"
