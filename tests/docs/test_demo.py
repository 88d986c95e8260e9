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


def spans_of(folder):
    answer = subprocess.run(
        [CYLESTIO, "--db", folder / "cylestio.db", "trace", "--json"], capture_output=True, text=True, check=True
    )
    (trace,) = json.loads(answer.stdout)["traces"]
    return trace["spans"]


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
    root, *calls = spans_of(folder)
    assert root["name"] == "write release notes"
    chat = "chat claude-sonnet-4-5"
    names = [call["name"] for call in calls if call["name"].startswith(("chat", "tools/call"))]
    assert names == [chat, "tools/call git_log", chat, "tools/call git_show", chat, chat]
    found = [{finding["category"] for finding in call["findings"]} for call in calls[-6:]]
    assert found[0] == set()
    assert "prompt_injection" in found[1], "the poisoned tool result"
    assert "prompt_injection" in found[2], "the same as the model is given it"
    assert found[3] == {"secret"}, "the leaked key"
    assert found[4] == {"destructive_command", "secret", "prompt_injection"}, (
        "the call that the poisoned text asked for"
    )
    assert found[5] == set()
    assert {finding["subtype"] for finding in calls[-5]["findings"]} == {"tool_result"}
    asked = [finding for finding in calls[-2]["findings"] if finding["category"] == "destructive_command"]
    assert [(finding["target"], finding["subtype"], finding["alert"]) for finding in asked] == [
        ("output", "tool_call", "dangerous")
    ]


def test_no_secret_and_no_content_is_in_the_store(done):
    _, folder = done
    sys.path.insert(0, str(DEMO))
    try:
        import repository
    finally:
        sys.path.remove(str(DEMO))
    for file in folder.iterdir():
        stored = file.read_bytes()
        assert repository.leaked_key().encode() not in stored
        assert b"previous instructions" not in stored


def test_every_attribute_it_writes_is_documented_with_its_type(done):
    _, folder = done
    page = (DOCS / "reference" / "attributes.md").read_text("utf-8")
    documented = dict(re.findall(r"^\| `([a-z_][\w.]*)` \| (\S+) \|", page, re.MULTILINE))
    for span in spans_of(folder)[1:]:
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
    assert "git_show" not in run.stdout, "what the poisoned result asks for is never reached"


def test_the_picture_is_of_this_demo_and_knows_no_machine(done):
    run, _ = done
    picture = (DOCS / "tutorial" / "demo.svg").read_text("utf-8")
    shown = re.sub(r"<[^>]*>", " ", picture).replace("&#160;", " ")
    for rule in set(re.findall(r"● +\w+ +(\S+)", run.stdout)):
        assert rule in shown, f"{rule} is not in the picture: run `make demo-picture`"
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"/(home|root|tmp|Users)\b", picture)
