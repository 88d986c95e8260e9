"""Tools of frameworks under a policy that redacts: the tool and the framework get tokens, in the framework's types."""

from __future__ import annotations

from pathlib import Path

import pytest

from peers import environment, run

PROGRAM = Path(__file__).parents[2] / "peers" / "framework_redaction.py"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("frameworks")]


@pytest.fixture(scope="module")
def python():
    return environment("frameworks")


@pytest.mark.parametrize("name", ["langchain", "langchain_message", "llamaindex", "crewai", "openai_agents"])
def test_arguments_and_results_of_a_tool_are_redacted(python, tmp_path, name):
    done = run(python, PROGRAM, name, str(tmp_path), CREWAI_DISABLE_TELEMETRY="true")
    assert done["got"] == ["[EMAIL_1]"]
    assert done["answer"] == "sent to [EMAIL_1] and [EMAIL_2]"
