"""The demo runs, shows what it promises, and writes only what the reference documents."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
DEMO = DOCS / "tutorial" / "demo"
CYLESTIO = Path(sys.executable).with_name("cylestio")
KINDS = {"bool": bool, "int": int, "double": (int, float), "string": str, "string[]": list}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]


def demo(folder, **variables):
    return subprocess.run(
        [sys.executable, DEMO / "run.py"],
        env={**os.environ, "DEMO_FOLDER": str(folder), **variables}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def read(folder, *words):
    command = [CYLESTIO, "--db", folder / "cylestio.db", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def spans_of(folder, *trace_id):
    (trace,) = json.loads(read(folder, "trace", *trace_id, "--json"))["traces"]
    return trace["spans"]


def first_and_last(folder):
    """The spans of the agent that was observed, and of the one that a policy controlled."""
    runs = [json.loads(line)["trace_id"] for line in read(folder, "traces", "--json").splitlines()]
    assert len(runs) == 2
    last = spans_of(folder)
    (first,) = {*runs} - {last[0]["trace_id"]}
    return spans_of(folder, first), last


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return demo(folder), folder


def test_it_shows_the_trace_and_the_next_command(done):
    run, _ = done
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert "$ opentelemetry-instrument python agent.py" in run.stdout
    assert "Release 2.4" in run.stdout
    command = run.stdout.splitlines()[-1].split()
    assert command[-1] == "findings"
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert not re.search(r"\x1b", run.stdout)


def test_each_finding_stands_at_the_call_it_was_made_in(done):
    _, folder = done
    root, *calls = first_and_last(folder)[0]
    assert root["name"] == "write release notes"
    calls = [call for call in calls if call["name"].startswith(("chat", "tools/call")) and call["kind"] == "client"]
    chat, call = "chat claude-sonnet-4-5", "tools/call"
    names = [one["name"] for one in calls]
    assert names == [chat, f"{call} git_log", chat, f"{call} git_show", chat, f"{call} run_sql", chat]
    found = [{finding["category"] for finding in one["findings"]} for one in calls]
    assert found[0] == set()
    assert "prompt_injection" in found[1], "the poisoned tool result"
    assert "prompt_injection" in found[2], "the same as the model is given it"
    assert found[3] == {"secret"}, "the leaked key"
    assert found[4] == {"destructive_command", "secret", "prompt_injection"}, (
        "the call that the poisoned text asked for"
    )
    assert found[5] == {"destructive_command"}, "the call as it runs"
    assert found[6] == set()
    assert {finding["subtype"] for finding in calls[1]["findings"]} == {"tool_result"}
    asked = [finding for finding in calls[4]["findings"] if finding["category"] == "destructive_command"]
    assert [(finding["target"], finding["subtype"], finding["alert"]) for finding in asked] == [
        ("output", "tool_call", "dangerous")
    ]


def test_under_a_learned_policy_the_destructive_call_is_held_and_denied(done):
    run, folder = done
    shown = run.stdout[run.stdout.index("$ cylestio policy learn") :]
    for command in ("approvals", "deny", "trace", "policy explain"):
        assert f"\n$ cylestio {command}" in shown
    assert "tool: releases/run_sql" in shown, "what the agent did on an ordinary day is allowed"
    assert "BlockedError: Cylestio blocked this call of tool run_sql: rule ask-about-untrusted-values" in shown
    assert "Release 2.4" not in shown
    (approval,) = map(json.loads, read(folder, "approvals", "--all", "--json").splitlines())
    assert (approval["state"], approval["tool"], approval["rule"]) == (
        "denied",
        "releases/run_sql",
        "ask-about-untrusted-values",
    )
    last = first_and_last(folder)[1][-1]
    assert (last["name"], last["attributes"]["cylestio.security.action"]) == ("tools/call run_sql", "block")
    assert re.search(r"ask  rule ask-about-untrusted-values  .*\n  Only a tool result has said this value\.", shown)


def test_the_trace_shows_which_span_introduced_the_value(done):
    run, folder = done
    _, spans = first_and_last(folder)
    (source,) = [span for span in spans if span["name"] == "tools/call git_log"]
    ((asking, value),) = [(span, value) for span in spans for value in span["values"]]
    assert (value["source_span_id"], value["argument"]) == (source["span_id"], "statement")
    assert f"← statement first said by tools/call git_log  {source['span_id']}" in run.stdout
    assert f"$ cylestio policy explain {asking['span_id']}" in run.stdout


def test_no_secret_is_in_the_store_and_no_text_but_the_words_around_findings(done):
    _, folder = done
    sys.path.insert(0, str(DEMO))
    try:
        import repository
    finally:
        sys.path.remove(str(DEMO))
    for file in folder.glob("*.db*"):
        stored = file.read_bytes()
        assert repository.leaked_key().encode() not in stored
        assert b"Release 2.4" not in stored
    for span in [one for spans in first_and_last(folder) for one in spans]:
        assert "previous instructions" not in json.dumps([span["attributes"], span["events"]])


def test_every_attribute_it_writes_is_documented_with_its_type(done):
    _, folder = done
    page = (DOCS / "reference" / "attributes.md").read_text("utf-8")
    documented = dict(re.findall(r"^\| `([a-z_][\w.]*)` \| (\S+) \|", page, re.MULTILINE))
    for span in [span for spans in first_and_last(folder) for span in spans[1:]]:
        for attributes in (span["attributes"], *(event["attributes"] for event in span["events"])):
            for name, value in attributes.items():
                assert isinstance(value, KINDS[documented[name]]), f"{name} = {value!r} is no {documented[name]}"


def test_the_agent_knows_nothing_of_the_monitoring():
    assert "cylestio" not in (DEMO / "agent.py").read_text("utf-8")


def test_with_blocking_on_the_agent_is_stopped_before_the_dangerous_call(tmp_path):
    run = demo(tmp_path, CYLESTIO_MODE="block")
    assert run.returncode == 0, run.stderr
    assert "BlockedError" in run.stdout
    assert "Release 2.4" not in run.stdout
    assert spans_of(tmp_path)[-1]["attributes"]["cylestio.security.action"] == "block"
    assert "policy" not in run.stdout
    assert "git_show" not in run.stdout, "what the poisoned result asks for is never reached"


def test_the_picture_is_of_this_demo_and_knows_no_machine(done):
    run, _ = done
    picture = (DOCS / "tutorial" / "demo.svg").read_text("utf-8")
    shown = re.sub(r"<[^>]*>", " ", picture).replace("&#160;", " ")
    for rule in set(re.findall(r"● +\w+ +(\S+)", run.stdout)):
        assert rule in shown, f"{rule} is not in the picture: run `make demo-picture`"
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"/(home|root|tmp|Users)\b", picture)


def without_what_varies(screen):
    """A screen without ids, times and durations, and without the ends of lines."""
    text = re.sub(r"\b[0-9a-f]{8}\b|\b[0-9a-f]{12}\b|\b[0-9a-f]{16}\b|\b[0-9a-f]{32}\b", "ID", screen)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "TIME", re.sub(r"[\d,]+ ms", "N ms", text))
    return [line.rstrip() for line in text.splitlines()]


def test_the_screens_of_the_tutorial_are_what_the_commands_print(tmp_path):
    page = (DOCS / "tutorial" / "from-a-wheel.md").read_text("utf-8")
    screens = re.findall(r"<!-- screen -->\n```console\n\$ cylestio ([^\n]*)\n(.*?)```", page, re.DOTALL)
    assert len(screens) == 3
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CYLESTIO_", "OTEL_"))}
    trace = ""
    for words, screen in screens:
        command = [CYLESTIO, *re.sub(r"\b[0-9a-f]{12}\b", trace, words).split()]
        done = subprocess.run(
            command, cwd=tmp_path, env={**kept, "COLUMNS": "80"}, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=120, check=True,
        )  # fmt: skip
        assert without_what_varies(done.stdout) == without_what_varies(screen)
        trace = trace or re.search(r"trace ([0-9a-f]{12})", done.stdout)[1]
