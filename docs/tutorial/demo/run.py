"""`make demo`: an unchanged agent under the launcher, and the trace that comes of it with the findings in place.

No key, no account, no network: the model is a loopback server that follows a script, the MCP server works on a
repository made for the occasion. `CYLESTIO_MODE=block` shows the same agent with blocking switched on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import model
import repository

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BIN = Path(sys.executable).parent
QUESTION = "Write the release notes for version 2.4."


def main() -> int:
    """Runs the agent, shows its trace; the exit status is 0 where both could be done."""
    if shutil.which("git") is None:
        print("demo: needs git, for the repository that the agent reads", file=sys.stderr)
        return 1
    folder = Path(os.environ.get("DEMO_FOLDER") or ROOT / ".demo")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store = folder / "cylestio.db"
    with tempfile.TemporaryDirectory() as place, model.serve() as address:
        repository.make(Path(place))
        show("opentelemetry-instrument python agent.py")
        agent = [BIN / "opentelemetry-instrument", sys.executable, HERE / "agent.py", place, QUESTION]
        done = subprocess.run(agent, env=environment(address, store), capture_output=True, text=True, check=False)  # noqa: S603 -- our own
    print(done.stdout.strip() or last_error(done.stderr))
    command = [BIN / "cylestio", "--db", store]
    show("cylestio trace")
    shown = subprocess.run([*command, "trace"], check=False)  # noqa: S603 -- our own
    if shown.returncode:
        print(done.stderr, file=sys.stderr)
        return 1
    print("\nNext, what each finding is and where it stands:\n")
    print(f"  {short(BIN / 'cylestio')} --db {short(store)} findings")
    return 0


def environment(address: str, store: Path) -> dict[str, str]:
    """The agent's environment: the demo's model and store, and nothing that sends telemetry elsewhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "ANTHROPIC_"))}
    return {
        **kept,
        "ANTHROPIC_BASE_URL": address,
        "ANTHROPIC_API_KEY": "none-needed",
        "CYLESTIO_DB_PATH": str(store),
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
