"""The pytest plug-in: recordings hold what happened, and each assertion fails with a message that helps."""

from __future__ import annotations

import pytest

from cylestio_monitor import BlockedError, identify, log_event, tool
from cylestio_monitor.testing import Recording, assert_no_findings, assert_refused, assert_tool_called

pytestmark = pytest.mark.slow


@tool
def shell(command):
    return f"ran {command}"


@pytest.fixture
def alone(monkeypatch, tmp_path):
    for name in ("CYLESTIO_MODE", "CYLESTIO_DB_PATH", "CYLESTIO_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(alone, cylestio_recorder):
    with cylestio_recorder(mode="block") as recording:
        with identify(agent_id="a", session_id="s"):
            shell("ls")
        log_event("checked", {"score": 1}, "LLM", "warning")
        with pytest.raises(BlockedError):
            shell("rm -rf / --no-preserve-root")
    return recording


def test_a_recording_holds_spans_findings_and_events(refused):
    assert [(span.tool, span.arguments, span.action) for span in refused.spans] == [
        ("shell", {"command": "ls"}, "allow"),
        ("shell", {"command": "rm -rf / --no-preserve-root"}, "block"),
    ]
    assert (refused.spans[0].agent_id, refused.spans[0].session_id) == ("a", "s")
    assert [(event.event_type, event.channel, event.level, event.data) for event in refused.events] == [
        ("checked", "LLM", "WARNING", {"score": 1})
    ]
    assert {finding.category for finding in refused.findings} == {"destructive_command"}


def test_the_assertions_hold(refused):
    assert assert_refused(refused, tool="shell", rule=refused.findings[0].rule_id).action == "block"
    assert len(assert_tool_called(refused, "shell", arguments={"command": "ls"}, times=1)) == 1
    assert assert_tool_called(refused, "other", times=0) == []
    assert_no_findings(refused, category="secret")
    assert_no_findings(refused, rule="secret.generic-assignment")
    assert_no_findings(Recording())


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (assert_no_findings, r"(?s)\d+ findings?:\n  critical .* at arguments\.command"),
        (lambda recording: assert_no_findings(recording, severity="critical"), "critical"),
        (
            lambda recording: assert_refused(recording, tool="mail"),
            "no call of tool 'mail' was refused; the calls were",
        ),
        (lambda recording: assert_refused(recording, rule="no.rule"), "no call was refused by rule no.rule"),
        (lambda recording: assert_refused(Recording()), "no call was refused; the calls were:\n  none"),
        (
            lambda recording: assert_tool_called(recording, "shel"),
            r"shel\(\) was called 0 times, expected at least once",
        ),
        (lambda recording: assert_tool_called(recording, "shell", times=2), "was called 1 time, expected 2 times"),
        (
            lambda recording: assert_tool_called(recording, "shell", arguments={"command": "pwd"}),
            r"shell\(command='pwd'\) was called 0 times",
        ),
    ],
)
def test_a_failed_assertion_says_what_happened(refused, check, message):
    with pytest.raises(AssertionError, match=message):
        check(refused)


def test_blocks_are_apart_and_an_exception_still_fills_the_recording(alone, cylestio_recorder):
    def fails(recorder):
        with recorder as recording:
            recordings.append(recording)
            shell("ls")
            raise KeyError

    recordings = []
    with pytest.raises(KeyError):
        fails(cylestio_recorder())
    (first,) = recordings
    with cylestio_recorder() as second:
        pass
    assert (len(first.spans), len(second.spans)) == (1, 0)


def test_monitoring_that_was_on_before_is_on_again(alone, cylestio_recorder, tmp_path):
    from cylestio_monitor.otel import setup

    setup.start({"store": {"path": str(tmp_path / "own.db")}, "agent_id": "mine"})
    try:
        with cylestio_recorder() as recording:
            shell("ls")
        assert recording.spans[0].agent_id is None
        assert setup.running().loaded.settings.agent_id == "mine"
    finally:
        setup.stop()
