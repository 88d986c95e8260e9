"""The command as a program in a process of its own would run it, with a store and settings of the test's."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import pytest
from click.testing import CliRunner

from cylestio_monitor.cli import main


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory, and no setting from outside."""
    for name in [name for name in os.environ if name.startswith(("CYLESTIO_", "OTEL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CYLESTIO_DB_PATH", str(tmp_path / "cylestio.db"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cylestio(place):
    """Runs a command line; gives its exit code, its output and what it said beside it."""

    def run(*words, stdin=None):
        done = CliRunner().invoke(main, [str(word) for word in words], input=stdin)
        return Answer(done.exit_code, done.stdout, done.stderr)

    return run
