"""A decision, of a policy or of a person, holds for one caller and for the arguments that it was made about."""

from __future__ import annotations

import asyncio
import copy

import anthropic
import pytest

from cylestio_monitor import BlockedError, tool
from cylestio_monitor.identity import identify
from cylestio_monitor.otel import control
from govern.recorded import rows
from wire import ToolCall

TOOLS = [{"name": "send_email", "description": "sends", "input_schema": {"type": "object"}}]
REQUEST = {"model": "claude-wire", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "tools": TOOLS}


@tool
def send_email(to):
    return "sent"


@tool
async def send_email_later(to):
    return "sent"


@pytest.mark.parametrize("session", [None, "s"])
def test_a_decision_about_one_user_is_none_about_another(governed, wire, session):
    governed("mode: block\npolicy: {default: deny, rules: [{id: own, tool: send_email, role: staff, action: allow}]}")
    with anthropic.Anthropic(base_url=wire.url, api_key="k") as client:
        for _ in range(2):
            wire.answer(ToolCall("send_email", {"to": "a"}))
            with identify(user_id="ann", roles=["staff"], session_id=session):
                client.messages.create(**REQUEST)
    for user, roles in (("ann", ["guest"]), ("bob", ["guest"]), (None, None)):
        with identify(user_id=user, roles=roles, session_id=session), pytest.raises(BlockedError):
            send_email(to="a")
    with identify(user_id="ann", roles=["staff"], session_id=session):
        assert send_email(to="a") == "sent"


@pytest.mark.parametrize("kind", ["function", "coroutine"])
@pytest.mark.parametrize(
    ("given", "change"),
    [
        ([["ann"]], lambda to: to[0].append("eve")),
        ([{"a": 1}], lambda to: to[0].update(a=2)),
        ([{"a": {"b": ["x"]}}], lambda to: to[0]["a"]["b"].clear()),
    ],
)
def test_arguments_that_change_while_a_person_decides_are_not_those_that_were_allowed(governed, kind, given, change):
    store = governed("mode: block\npolicy: {rules: [{id: ask, tool: send_*, action: ask}]}")
    given = copy.deepcopy(given)
    control.approval_callbacks.append(lambda _: change(given) or True)
    with pytest.raises(BlockedError, match="rule ask"):
        send_email(given) if kind == "function" else asyncio.run(send_email_later(given))
    assert rows(store, "SELECT event_type FROM event WHERE event_type LIKE 'approval%' ORDER BY id")[-1] == (
        "approval_refused",
    )
