"""The path of one call through the package: a clean call enters few modules on the caller's thread."""

import json
import os
import subprocess
import sys
from pathlib import Path

MOST_MODULES = 20
TESTS = Path(__file__).parents[1]

# A process of its own: tests that ran before in this one may have left spans and wrappers of other libraries.
PROGRAM = f"""
import json
import sys

sys.path.insert(0, {str(TESTS)!r})

import anthropic

from cylestio_monitor import start_monitoring, stop_monitoring
from wire import WireServer

start_monitoring("agent")
entered = set()


def profile(frame, event, _):
    if event == "call":
        name = frame.f_globals.get("__name__", "")
        if name.startswith("cylestio_monitor"):
            entered.add(name)


with WireServer() as wire, anthropic.Anthropic(api_key="k", base_url=wire.url, max_retries=0) as client:
    for number in range(3):
        sys.setprofile(profile if number == 2 else None)
        client.messages.create(
            model="claude-test", max_tokens=10, messages=[{{"role": "user", "content": "hello there"}}]
        )
    sys.setprofile(None)
stop_monitoring()
print(json.dumps(sorted(entered)))
"""


def test_a_clean_call_enters_few_modules(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "CYLESTIO_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environment, "CYLESTIO_DB_PATH": str(tmp_path / "store.db")},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    entered = json.loads(done.stdout)
    assert "cylestio_monitor.pipeline" in entered
    assert len(entered) <= MOST_MODULES, entered
    assert not [name for name in entered if ".external_spans" in name]
