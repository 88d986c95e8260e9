"""Tests of an agent with one tool."""

import pytest

from cylestio_monitor import BlockedError, tool
from cylestio_monitor.testing import assert_no_findings, assert_refused, assert_tool_called


@tool
def run_command(command: str) -> str:
    return f"ran {command}"


def test_the_agent_lists_files(cylestio_recorder):
    with cylestio_recorder(agent_id="files") as recording:
        run_command("ls -l")
    assert_tool_called(recording, "run_command", arguments={"command": "ls -l"}, times=1)
    assert_no_findings(recording)


def test_the_agent_cannot_delete_everything(cylestio_recorder):
    with cylestio_recorder(mode="block") as recording, pytest.raises(BlockedError):
        run_command("rm -rf / --no-preserve-root")
    assert_refused(recording, tool="run_command")


def test_no_secret_reaches_the_tool(cylestio_recorder):
    with cylestio_recorder() as recording:
        run_command("git status")
    assert_no_findings(recording, category="secret")
    assert [span.arguments for span in recording.tool_calls] == [{"command": "git status"}]
