from __future__ import annotations

import shutil
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from otel import environments
from otel.environments import Ended
from otel.receiver import Receiver
from wire import WireServer

AGENT = """
import os, anthropic
client = anthropic.Anthropic(base_url=os.environ["WIRE_URL"], api_key="k", max_retries=0)
answer = client.messages.create(
    model="claude-of-the-wire", max_tokens=64, messages=[{"role": "user", "content": os.environ.get("PROMPT", "Hello")}]
)
print(answer.content[0].text)
"""


class Machine:
    """A user's machine: environments, a home, a collector, a provider of models."""

    def __init__(self, home: Path, made: dict[str, Path], wire: WireServer) -> None:
        self.home = home
        self.wire = wire
        self.made = made
        self.database = home / ".local" / "share" / "cylestio-monitor" / "cylestio.db"
        (home / "agent.py").write_text(AGENT)

    def run(self, environment: str, *words: str, stdin: str | None = None, **variables: str) -> Ended:
        """Runs a command in an environment, in the home folder."""
        own = {"WIRE_URL": self.wire.url, "XDG_CACHE_HOME": str(self.made["cache"]), **variables}
        started = time.monotonic()
        done = subprocess.run(
            words,
            cwd=self.home,
            env=environments.environ(self.made[environment], self.home, own),
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
            input=stdin or "",
        )
        return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - started)

    def launch(self, environment: str, *words: str, **variables: str) -> Ended:
        """Runs a program under the launcher; without words, the agent."""
        return self.run(environment, "opentelemetry-instrument", *(words or ("python", "agent.py")), **variables)

    def write(self, name: str, text: str) -> str:
        (self.home / name).write_text(text)
        return name

    def rows(self, query: str, database: Path | None = None) -> list[tuple]:
        with closing(sqlite3.connect(f"file:{database or self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def spans(self, database: Path | None = None) -> list[tuple[str, str]]:
        """Scope and name of every span in the store."""
        return self.rows("SELECT scope, name FROM spans ORDER BY start_ns", database)


@pytest.fixture(scope="session")
def made():
    """Three environments: without an SDK, with one, and with the distribution as well."""
    folder = Path(tempfile.mkdtemp(prefix="launcher-"))
    wheel = environments.build_wheel(folder)
    bare = environments.make(folder / "bare", "launcher-bare", wheel)
    environments.compile_rules(bare, folder)
    yield {
        "cache": folder / "cache",
        "bare": bare,
        "sdk": environments.make(folder / "sdk", "launcher-sdk", wheel),
        "distro": environments.make(folder / "distro", "launcher-distro", wheel),
    }
    shutil.rmtree(folder)


@pytest.fixture
def machine(tmp_path, made):
    with WireServer() as wire:
        yield Machine(tmp_path, made, wire)


@pytest.fixture
def receiver():
    with Receiver() as server:
        yield server
