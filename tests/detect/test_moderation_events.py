"""Moderation from the call of an SDK to the tables of the store, in a process of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest

from detect.moderation_server import ModerationServer

pytestmark = pytest.mark.slow

PROGRAM = """
import os, anthropic
import cylestio_monitor as c
client = anthropic.Anthropic(base_url=os.environ["WIRE_URL"], api_key="k", max_retries=0)
def call(text):
    return client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": text}])
"""


@pytest.fixture
def run(tmp_path, wire):
    def program(text, **variables):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "CYLESTIO_"))}
        own = {"CYLESTIO_DB_PATH": str(tmp_path / "cylestio.db"), "WIRE_URL": wire.url, **variables}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM + textwrap.dedent(text)],
            cwd=tmp_path, env={**kept, **own}, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return program


@pytest.fixture
def rows(tmp_path):
    def read(query):
        with closing(sqlite3.connect(tmp_path / "cylestio.db")) as connection:
            return connection.execute(query).fetchall()

    return read


EVENTS = "SELECT level, agent_id, data FROM events WHERE event_type = 'content_moderation' ORDER BY id"


def test_a_hosted_service_refuses_and_its_answers_are_events_in_the_audit_trail(run, rows, wire):
    server = ModerationServer()
    try:
        out = run(
            f"""
            c.start_monitoring("shop", {{"mode": "block", "moderation": {{
                "use": ["openai"], "url": "{server.url}", "key": "MODERATION_KEY", "wait": True, "budget_ms": 20000,
            }}}})
            call("hello")
            try:
                call("attack him")
            except c.BlockedError as error:
                print(error)
            c.stop_monitoring()
            """,
            MODERATION_KEY="k-1",
        )
    finally:
        server.close()
    assert "moderator.openai" in out
    events = [(level, agent, json.loads(data)) for level, agent, data in rows(EVENTS)]
    assert [(level, agent) for level, agent, _ in events] == [("INFO", "shop"), ("INFO", "shop"), ("WARNING", "shop")]
    allowed, reply, denied = [data for *_, data in events]
    assert (allowed["alert"], allowed["verdict"], allowed["flagged"], allowed["direction"]) == (
        "none", "allow", False, "input",
    )  # fmt: skip
    assert reply["direction"] == "output"
    assert (denied["alert"], denied["verdict"], denied["categories"]) == ("dangerous", "deny", ["violence"])
    assert (denied["moderator"], denied["path"]) == ("openai", "messages[0].content")
    assert denied["cylestio.security.rules"] == ["moderator.openai"]
    found = rows("SELECT rule_id, severity, action, trace_id, span_id FROM findings")
    blocked = "json_extract(attributes, '$.\"cylestio.security.action\"') = 'block'"
    spans = rows(f"SELECT trace_id, span_id FROM spans WHERE {blocked}")
    assert [(row[:3]) for row in found] == [("moderator.openai", "high", "block")]
    assert [row[3:] for row in found] == spans
    kinds = [kind for (kind,) in rows("SELECT kind FROM audit")]
    assert kinds.count("event") == 3
    assert "attack him" not in json.dumps(events)
    # The service is asked once about each text, and neither request is a span.
    assert [body["input"] for *_, body in server.requests][::2] == ["hello", "attack him"]
    assert len(rows("SELECT span_id FROM spans")) == 2


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_function_of_the_application_added_while_calls_run(run, rows, kind):
    run(
        f"""
        c.start_monitoring("shop", {{"moderation": {{"wait": True, "budget_ms": 20000, "sides": ["input"]}}}})
        call("attack him")

        {kind} judge(text, *, target, subtype):
            return c.Moderation("deny" if "attack" in text else "allow", ("violence",))

        c.on_moderation(judge, name="house")
        with c.identify(agent_id="other"):
            call("attack him again")
        c.stop_monitoring()
        """
    )
    ((level, agent, data),) = rows(EVENTS)
    assert (level, agent, json.loads(data)["moderator"]) == ("WARNING", "other", "house")
    assert rows("SELECT rule_id, action FROM findings") == [("moderator.house", "audit")]
