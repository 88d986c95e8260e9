"""A hook changes nothing of what it wraps: what Python's own tools see of every replaced attribute is as without us."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cylestio_monitor.capture.registry import SDKS
from peers import environment, run

PROGRAM = Path(__file__).parents[2] / "peers" / "hook_effects.py"
OWN = ("anthropic", "openai", "mcp")  # in the environment of this test
ENVIRONMENTS = {
    **dict.fromkeys(
        ["smolagents", "strands", "google_adk", "agent_framework", "claude_agent_sdk"], "frameworks-agents"
    ),
    **dict.fromkeys(["stainless", "plain_http"], "sdk-others"),
}
WITHOUT_FUNCTIONS = {"pydantic_ai"}  # the default of its agents is set, by its documented name; no function is replaced

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("frameworks")]


def assert_nothing_changed(done):
    assert done["state"] == "hooked"
    assert done["targets"] > 0
    assert done["differences"] == []
    assert done["left"] == [], "uninstrument did not restore the original"


@pytest.mark.parametrize("sdk", OWN)
@pytest.mark.case("A hook keeps identity, type, signature, pickling and exceptions of what it wraps")
def test_of_the_sdks(sdk):
    assert_nothing_changed(run(Path(sys.executable), PROGRAM, sdk))


@pytest.mark.parametrize("sdk", sorted(SDKS.keys() - set(OWN) - WITHOUT_FUNCTIONS))
def test_of_the_frameworks(sdk):
    assert_nothing_changed(run(environment(ENVIRONMENTS.get(sdk, "frameworks")), PROGRAM, sdk))
