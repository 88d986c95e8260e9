"""`make demo`: an unchanged agent under the launcher, its trace with the findings in place, and its policy.

No key, no account, no network: the model is a loopback server that follows a script, the MCP servers work on a
repository and a database made for the occasion. The second part runs the agent again under a policy that was learned
from an ordinary day: the destructive call waits for a person, who denies it. `CYLESTIO_MODE=block` shows, in place of
that, what is refused without a policy.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import model
import repository

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BIN = Path(sys.executable).parent
QUESTION = "Write the release notes for version 2.4."


MODE = "mode: block  # added by hand: the policy is enforced\n"
RULE = """\
  # added by hand: where no user has named a value, a person decides
  - id: ask-about-untrusted-values
    from: {severity: medium}
    action: ask
    reason: Only a tool result has said this value.
"""
WAIT_S = 60


def main() -> int:
    """Runs both parts; the exit status is 0 where everything could be done."""
    if shutil.which("git") is None:
        print("demo: needs git, for the repository that the agent reads", file=sys.stderr)
        return 1
    folder = Path(os.environ.get("DEMO_FOLDER") or ROOT / ".demo")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place, model.serve() as address:
        demo = Demo(folder, Path(place), address)
        is_controlled = os.environ.get("CYLESTIO_MODE") != "block"
        ordinary = demo.start_ordinary() if is_controlled else None
        is_shown = demo.observe()
        if ordinary is not None:
            is_shown = demo.control(ordinary) and is_shown
    if not is_shown:
        return 1
    print("\nNext, what each finding is and where it stands:\n")
    print(f"  {short(BIN / 'cylestio')} --db {short(demo.store)} findings")
    return 0


class Demo:
    """The agent with its repository, its model and the store of what it does."""

    def __init__(self, folder: Path, place: Path, address: str) -> None:
        """Takes where stores go, where repositories are made, and the address of the model."""
        self.folder = folder
        self.store = folder / "cylestio.db"
        self.place = place
        self.address = address

    def start(self, name: str, store: Path, *, is_ordinary: bool = False, **variables: str) -> subprocess.Popen[str]:
        """Starts the agent on a repository of its own."""
        (self.place / name).mkdir()
        repository.make(self.place / name, is_ordinary=is_ordinary)
        return subprocess.Popen(  # noqa: S603 -- our own
            [BIN / "opentelemetry-instrument", sys.executable, HERE / "agent.py", self.place / name, QUESTION],
            env={**environment(self.address, store), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start_ordinary(self) -> subprocess.Popen[str]:
        """Starts the agent on an ordinary repository, with a store of its own: what it does there is its work."""
        return self.start("ordinary", self.folder / "ordinary.db", is_ordinary=True)

    def observe(self) -> bool:
        """Runs the agent and shows its trace."""
        show("opentelemetry-instrument python agent.py")
        stdout, stderr = self.start("observed", self.store).communicate()
        print(stdout.strip() or last_error(stderr))
        if self.cylestio("trace"):
            return True
        print(stderr, file=sys.stderr)
        return False

    def control(self, ordinary: subprocess.Popen[str]) -> bool:
        """Learns a policy from an ordinary day, runs the agent under it, and denies the call that waits."""
        _, stderr = ordinary.communicate()
        learned = self.read("policy", "learn", store=self.folder / "ordinary.db")
        show("cylestio policy learn > policy.yaml; $EDITOR policy.yaml; cat policy.yaml")
        head, _, rest = learned.partition("\n")
        policy = self.folder / "policy.yaml"
        policy.write_text(f"{head}\n{MODE}{rest}{RULE}", "utf-8")
        (self.folder / "cylestio.yaml").write_text(f"policy: {policy.name}\n", "utf-8")
        print(policy.read_text("utf-8").strip())
        show("CYLESTIO_CONFIG=cylestio.yaml opentelemetry-instrument python agent.py &")
        settings = str(self.folder / "cylestio.yaml")
        agent = self.start("controlled", self.store, CYLESTIO_CONFIG=settings)
        waiting = self.wait_for_a_call(agent)
        if waiting is not None:
            self.cylestio("approvals")
            self.cylestio("deny", waiting)
        stdout, failed = agent.communicate()
        print(stdout.strip() or last_error(failed))
        if waiting is None:
            print(f"demo: no call waited for a person\n{stderr}\n{failed}", file=sys.stderr)
            return False
        return self.cylestio("trace") and self.cylestio("policy", "explain", self.asking_span())

    def wait_for_a_call(self, agent: subprocess.Popen[str]) -> str | None:
        """The id of the call that the agent wants a person to decide about."""
        until = time.monotonic() + WAIT_S
        with closing(sqlite3.connect(self.store)) as connection:
            while agent.poll() is None and time.monotonic() < until:
                row = connection.execute("SELECT id FROM approval WHERE state = 'waiting'").fetchone()
                if row is not None:
                    return str(row[0])
                time.sleep(0.05)
        agent.kill()
        return None

    def asking_span(self) -> str:
        """The span of the model's answer that asked for the denied call."""
        (trace,) = json.loads(self.read("trace", "--json"))["traces"]
        return next(str(span["span_id"]) for span in trace["spans"] if span["values"])

    def cylestio(self, *words: str) -> bool:
        """Shows a command and what it prints; whether it succeeded."""
        show(f"cylestio {' '.join(words)}")
        command = [BIN / "cylestio", "--db", self.store, *words]
        return subprocess.run(command, stderr=subprocess.STDOUT, check=False).returncode == 0  # noqa: S603 -- our own

    def read(self, *words: str, store: Path | None = None) -> str:
        """What a command prints about a store, by default that of the demo."""
        command = [BIN / "cylestio", "--db", store or self.store, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 -- our own


def environment(address: str, store: Path) -> dict[str, str]:
    """The agent's environment: the demo's model and store, and nothing that sends telemetry elsewhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "ANTHROPIC_"))}
    return {
        **kept,
        "ANTHROPIC_BASE_URL": address,
        "ANTHROPIC_API_KEY": "none-needed",
        "CYLESTIO_DB_PATH": str(store),
        "CYLESTIO_SESSION_ID": "release-2.4",
        "OTEL_SERVICE_NAME": "release-assistant",
    }


def show(command: str) -> None:
    """Prints a command the way it would be typed."""
    print(f"\n$ {command}\n", flush=True)


def last_error(traceback: str) -> str:
    """The line that names the exception, also where an exception group frames it."""
    lines = [line.strip(" |") for line in traceback.splitlines()]
    return next((line for line in reversed(lines) if "Error: " in line), traceback)


def short(path: Path) -> str:
    """The path as it is typed from the working directory."""
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
