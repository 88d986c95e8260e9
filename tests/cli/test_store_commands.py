"""The commands over a real store, filled through the real span processor; and what hostile content can do: nothing."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
import unicodedata
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from cylestio_monitor import config, semconv
from cylestio_monitor.model import Finding
from cylestio_monitor.otel.processor import CylestioSpanProcessor
from cylestio_monitor.store import Event, Store

SGR = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.exe\u200b\r\nFAKE LINE [bold red]:smile: \x7f"


@contextmanager
def filling(place):
    """A tracer over a store at the place the settings name."""
    store = Store.open(place / "cylestio.db", config.Settings().store)
    provider = TracerProvider(
        resource=Resource({"service.name": "shop", "service.instance.id": str(uuid.uuid4())}), shutdown_on_exit=False
    )
    provider.add_span_processor(CylestioSpanProcessor(lambda: store))
    try:
        yield provider.get_tracer(semconv.SCOPE), store
    finally:
        provider.shutdown()
        store.close()


def call(tracer, name="chat m", *, text="", **attributes):
    """A span of a scanned call with one finding; `text` stands wherever a stranger's text can stand."""
    span = tracer.start_span(name + text)
    span.set_attributes(
        {
            semconv.SCANNED: True,
            semconv.OPERATION_NAME: "chat",
            semconv.REQUEST_MODEL: f"m{text}",
            semconv.ALERT: "dangerous",
            semconv.SEVERITY: "high",
            semconv.SEVERITY_NUMBER: 3,
            semconv.FINDING_COUNT: 1,
            semconv.ACTION: "audit",
            semconv.RULES: [f"secret.x{text}"],
            semconv.USAGE_INPUT_TOKENS: 12,
            semconv.USAGE_OUTPUT_TOKENS: 3,
            **attributes,
        }
    )
    span.add_event(
        semconv.EVENT_FINDING,
        {
            semconv.FINDING_RULE: f"secret.x{text}",
            semconv.FINDING_CATEGORY: "secret",
            semconv.FINDING_SEVERITY: "high",
            semconv.FINDING_ALERT: "dangerous",
            semconv.FINDING_TARGET: "input",
            semconv.FINDING_SUBTYPE: "tool_result",
            semconv.FINDING_PATH: f"messages[0]{text}",
            semconv.FINDING_START: 3,
            semconv.FINDING_END: 9,
            semconv.FINDING_OWASP: ["LLM02:2025"],
            semconv.FINDING_ATLAS: [],
        },
    )
    span.end()
    return span.get_span_context()


def log(store, **values):
    given = {"agent_id": None, "event_type": "note", "channel": "SYSTEM", "level": "INFO", "data": {}, **values}
    store.add_event(Event(timestamp_ns=time.time_ns(), trace_id=None, span_id=None, **given))


def test_a_trace_shows_its_findings_below_the_span_they_are_of(cylestio, place):
    with filling(place) as (tracer, _), tracer.start_as_current_span("answer"):
        context = call(tracer)
    trace_id = format(context.trace_id, "032x")
    answer = cylestio("trace", trace_id[:12], "--json")
    assert answer.code == 0
    (document,) = answer.json["traces"]
    assert document["trace_id"] == trace_id
    root, child = document["spans"]
    assert (root["name"], root["parent_span_id"], root["findings"]) == ("answer", None, [])
    assert (child["name"], child["parent_span_id"]) == ("chat m", root["span_id"])
    assert child["findings"][0]["owasp"] == ["LLM02:2025"]
    lines = cylestio("trace").out.splitlines()
    assert lines[0].startswith("answer  ")
    assert "chat m" in lines[1]
    assert "12 → 3 tokens" in lines[1]
    assert "● high      secret.x  messages[0] 3-9  LLM02:2025" in lines[2]


def test_without_an_id_everything_the_last_program_did_is_shown(cylestio, place):
    with filling(place) as (tracer, _):
        call(tracer, "chat of an earlier run")
    with filling(place) as (tracer, _):
        call(tracer, "chat one")
        call(tracer, "chat two")
    out = cylestio("trace").out
    assert out.index("chat one") < out.index("chat two")
    assert "earlier" not in out


def test_a_trace_that_is_not_there_is_no(cylestio, place):
    with filling(place) as (tracer, _):
        call(tracer)
    answer = cylestio("trace", "0" * 32)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"no trace {'0' * 32}\n"


def test_spans_that_name_each_other_as_parents_are_shown_once_each(cylestio, place):
    with filling(place) as (tracer, _), tracer.start_as_current_span("one"), tracer.start_as_current_span("two"):
        pass
    with sqlite3.connect(place / "cylestio.db") as connection:
        connection.execute(
            "UPDATE span SET parent_span_id = (SELECT span_id FROM span WHERE name = 'two') WHERE name = 'one'"
        )
    connection.close()
    out = cylestio("trace").out
    assert (out.count("one"), out.count("two")) == (1, 1)


def test_a_trace_a_thousand_spans_deep_is_drawn(cylestio, place):
    with filling(place) as (tracer, _):
        context = None
        from opentelemetry import trace

        for number in range(1000):
            span = tracer.start_span(f"span-{number}.", context=context)
            context = trace.set_span_in_context(span)
            span.end()
    answer = cylestio("trace")
    assert answer.code == 0
    assert len(cylestio("trace", "--json").json["traces"][0]["spans"]) == 1000
    assert all(answer.out.count(f"span-{number}.") == 1 for number in range(1000))


def test_findings_are_listed_filtered_and_as_json(cylestio, place):
    with filling(place) as (tracer, _):
        context = call(tracer)
    (row,) = cylestio("findings", "--json").lines
    assert row["rule_id"] == "secret.x"
    assert row["trace_id"] == format(context.trace_id, "032x")
    assert (row["start"], row["end"], row["path"]) == (3, 9, "messages[0]")
    for words, rows in [
        (("--severity", "high"), 1),
        (("--severity", "critical"), 0),
        (("--category", "secret"), 1),
        (("--rule", "secret.*"), 1),
        (("--rule", "pii.*"), 0),
        (("--agent", "other"), 0),
        (("--since", "1h"), 1),
        (("--since", "2999-01-01"), 0),
    ]:
        assert len(cylestio("findings", "--json", *words).lines) == rows, words
    assert "secret.x" in cylestio("findings").out


def test_events_are_listed_filtered_and_as_json(cylestio, place):
    with filling(place) as (tracer, store):
        call(tracer)
        log(store, agent_id="a1", event_type="sign_in", channel="AUTH", level="WARNING", data={"user": "Ada"})
    rows = cylestio("events", "--json").lines
    assert [row["event_type"] for row in rows] == ["sign_in", "llm_call"]
    assert set(rows[0]) >= {"id", "agent_id", "event_type", "channel", "level", "timestamp", "data"}
    assert rows[1]["data"]["alert"] == "dangerous"
    for words, kinds in [
        (("--type", "sign_in"), ["sign_in"]),
        (("--channel", "auth"), ["sign_in"]),
        (("--level", "error"), []),
        (("--level", "warning"), ["sign_in", "llm_call"]),
        (("--alert", "dangerous"), ["llm_call"]),
        (("--agent", "a1"), ["sign_in"]),
        (("--search", "ADA"), ["sign_in"]),
        (("--since", "5m", "--limit", "1"), ["sign_in"]),
        (("--until", "2020-01-01T00:00:00Z"), []),
    ]:
        assert [row["event_type"] for row in cylestio("events", "--json", *words).lines] == kinds, words
    out = cylestio("events").out
    assert "user=Ada" in out
    assert "chat m" in out


@pytest.mark.parametrize(
    "words", [("events", "--since", "soon"), ("findings", "--since", "999999w"), ("events", "-n", "0")]
)
def test_a_wrong_option_is_a_usage_error(cylestio, words):
    assert cylestio(*words).code == 2


def test_status_counts_what_is_stored(cylestio, place):
    empty = cylestio("status", "--json")
    assert (empty.code, empty.json["store"]) == (0, None)
    with filling(place) as (tracer, store):
        call(tracer)
        tracer.start_span("other").end()
        log(store)
    held = cylestio("status", "--json").json["store"]
    assert {key: held[key] for key in ("spans", "flagged", "findings", "events")} == {
        "spans": 2, "flagged": 1, "findings": 1, "events": 1
    }  # fmt: skip
    text = cylestio("status")
    assert text.code == 0
    assert "2 spans, 1 of them with a finding; 1 finding; 1 logged event\n" in text.out
    assert str(place / "cylestio.db") in text.out


@pytest.mark.parametrize("words", [("events",), ("findings",), ("trace",)])
def test_without_a_store_one_line_says_so(cylestio, words):
    answer = cylestio(*words)
    assert (answer.code, answer.out) == (3, "")
    assert "no store yet" in answer.err


@pytest.mark.parametrize("words", [("events",), ("findings",), ("trace",), ("status",)])
def test_a_file_that_is_no_store_is_one_line_and_no_traceback(cylestio, place, words):
    (place / "cylestio.db").write_bytes(b"not a database at all" * 300)
    answer = cylestio(*words)
    assert answer.code == 3
    assert answer.err.startswith("error: ")
    assert len(answer.err.splitlines()) == 1


def test_tail_follows_a_store_from_before_it_exists(place):
    out = place / "tail.jsonl"
    with out.open("w") as stream:
        program = subprocess.Popen(
            [Path(sys.executable).with_name("cylestio"), "tail", "--json", "--interval", "0.05"],
            cwd=place, stdout=stream, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    try:
        assert program.stderr.readline().endswith("there is no store yet\n")
        with filling(place) as (tracer, _):
            for name in ("chat first", "chat second"):
                call(tracer, name)
                deadline = time.monotonic() + 20
                while name not in out.read_text():
                    assert time.monotonic() < deadline, f"{name} did not arrive"
                    time.sleep(0.05)
    finally:
        program.send_signal(signal.SIGINT)
        _, said = program.communicate(timeout=10)
    assert [json.loads(line)["data"]["name"] for line in out.read_text().splitlines()] == ["chat first", "chat second"]
    assert program.returncode == 130
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "words",
    [
        ("config", "check"),
        ("config", "show"),
        ("doctor", "--no-probe"),
        ("events",),
        ("scan", "-"),
        ("status",),
        ("trace",),
    ],
    ids=" ".join,
)
def test_the_keys_of_a_json_answer_are_the_documented_ones(cylestio, place, words):
    with filling(place) as (tracer, _):
        call(tracer)
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md").read_text("utf-8")
    command = " ".join(word for word in words if not word.startswith("-"))
    keys = next(line for line in page.splitlines() if line.startswith(f"| `cylestio {command}`")).split("|")[3]
    top_level = set(re.findall(r"`(\w+)`", keys.partition(":")[0]))
    answer = json.loads(cylestio(*words, "--json", stdin="nothing").out)
    assert set(answer) == top_level


COMMANDS = (("trace",), ("findings",), ("events",), ("status",))


def shows_only_glyphs(text):
    return all(char == "\n" or char.isprintable() or unicodedata.category(char) == "Zs" for char in SGR.sub("", text))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_hostile_content_reaches_a_terminal_as_glyphs_only(cylestio, place, monkeypatch, words):
    with filling(place) as (tracer, store):
        call(tracer, text=HOSTILE)
        log(store, event_type=HOSTILE, channel=HOSTILE, agent_id=HOSTILE, data={HOSTILE: HOSTILE})
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "5000")
    answer = cylestio(*words)
    assert answer.code == 0
    assert shows_only_glyphs(answer.out)
    if words != ("status",):
        assert "\\x1b[2J" in answer.out
        assert "[bold red]:smile:" in answer.out
        assert not any(line.startswith("FAKE LINE") for line in SGR.sub("", answer.out).splitlines())
    machine = cylestio(*words, "--json").out
    assert machine.isascii()
    assert not set(machine) & {chr(code) for code in (*range(10), *range(11, 32), 127)}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(codec=None, categories=None), max_size=60))
def test_no_text_at_all_reaches_a_terminal_unescaped(cylestio, place, text):
    for leftover in place.glob("cylestio.db*"):
        leftover.unlink()
    with filling(place) as (tracer, store):
        call(tracer, text=text)
        log(store, event_type=f"e{text}", data={"text": text})
        store.add_findings(
            1, 1, [Finding(f"r{text}", "secret", "low", "suspicious", "input", "llm", text, 0, 1)],
            agent_id=text, session_id=text, service_name=text, action=text, operation=text, model=text, tool=text,
        )  # fmt: skip
    for words in COMMANDS:
        answer = cylestio(*words)
        assert answer.code == 0
        assert shows_only_glyphs(answer.out)
