"""The action `redact` in calls of tools: functions of the application, and MCP."""

from __future__ import annotations

import asyncio
import dataclasses

import anthropic
import anyio
import pytest
from mcp.client import Client
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

from cylestio_monitor import BlockedError, tool
from cylestio_monitor.identity import identify
from govern.recorded import last, rows
from wire import ToolCall

MAIL, OTHER = "ann.lee@corp-example.net", "bob.ray@corp-example.net"
ALL = "mode: block\npolicy: {version: '3', rules: [{id: mask, action: redact}]}"
TOOLS = [{"name": "send_email", "input_schema": {"type": "object"}}]


# --- functions of the application


class Person(BaseModel):
    mail: str
    age: int


@dataclasses.dataclass
class Note:
    text: str


VALUES = [
    (f"to {MAIL}", "to [EMAIL_1]"),
    ({"to": [MAIL, OTHER, MAIL]}, {"to": ["[EMAIL_1]", "[EMAIL_2]", "[EMAIL_1]"]}),
    ((MAIL, 7), ("[EMAIL_1]", 7)),
    (Person(mail=MAIL, age=3), Person(mail="[EMAIL_1]", age=3)),
    (Note(MAIL), Note("[EMAIL_1]")),
    (MAIL.encode(), b"[EMAIL_1]"),
    ({MAIL: 1}, {"[EMAIL_1]": 1}),
    (4111111111111111, "[CARD_1]"),
    (4111111111111111.0, "[CARD_1]"),
    (-4111111111111111, "[CARD_1]"),
    ({4111111111111111: 1}, {"[CARD_1]": 1}),
    ({MAIL.encode(): 1}, {b"[EMAIL_1]": 1}),
    ({(MAIL,): 1}, {("[EMAIL_1]",): 1}),
    (memoryview(MAIL.encode()), b"[EMAIL_1]"),
]


@pytest.mark.parametrize(("given", "passed"), VALUES)
@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_arguments_and_results_of_a_function_are_redacted_in_their_types(governed, hooked, given, passed, kind):
    governed(ALL)
    got = []

    @tool
    def function(value):
        got.append(value)
        return given

    @tool
    async def coroutine(value):
        got.append(value)
        return given

    answer = function(given) if kind == "function" else asyncio.run(coroutine(value=given))
    assert got == [passed]
    assert answer == passed
    assert type(answer) is type(passed)
    attributes = last(hooked, f"execute_tool {kind}").attributes
    assert attributes["cylestio.policy.action"] == "redact"
    assert attributes["cylestio.policy.enforced"] is True
    assert attributes["cylestio.policy.redacted.surfaces"] == ("arguments", "results")
    assert attributes["cylestio.security.action"] == "modify"


def test_what_holds_nothing_private_is_passed_on_as_it_is_and_nothing_is_claimed(governed, hooked):
    store = governed(ALL)
    given = {"to": ["the team"], "n": 5}

    @tool
    def function(value):
        return value

    assert function(given) is given
    attributes = last(hooked, "execute_tool function").attributes
    assert attributes["cylestio.policy.enforced"] is False
    assert "cylestio.policy.redacted" not in attributes
    assert attributes["cylestio.security.action"] in {"allow", "audit"}
    assert rows(store, "SELECT action, enforced FROM decision") == [("redact", 0)]


def test_in_mode_monitor_nothing_is_changed(governed, hooked):
    governed(ALL.replace("block", "monitor"))

    @tool
    def function(value):
        return value

    assert function(MAIL) == MAIL
    attributes = last(hooked, "execute_tool function").attributes
    assert attributes["cylestio.policy.action"] == "redact"
    assert attributes["cylestio.policy.enforced"] is False
    assert attributes["cylestio.security.action"] == "audit"


def test_a_value_has_one_token_in_a_session_and_sessions_share_none(governed):
    governed(ALL)

    @tool
    def echo(value):
        return value

    with identify(session_id="one"):
        assert [echo(MAIL), echo(OTHER), echo(f"{OTHER} and {MAIL}")] == [
            "[EMAIL_1]",
            "[EMAIL_2]",
            "[EMAIL_2] and [EMAIL_1]",
        ]
    with identify(session_id="two"):
        assert echo(OTHER) == "[EMAIL_1]"


def test_a_text_that_looks_like_a_token_is_not_given_to_a_value(governed):
    governed(ALL)

    @tool
    def echo(value):
        return value

    assert echo(f"[EMAIL_1] is {MAIL}") == "[EMAIL_1] is [EMAIL_2]"


def test_the_tools_that_the_policy_names_get_the_values_back(governed, hooked):
    settings = "mode: block\npolicy: {restore: [send_email], rules: [{id: mask, action: redact}]}"
    governed(settings)
    got = []

    @tool
    def read_inbox():
        return {"from": MAIL}

    @tool
    def send_email(to, body):
        got.append((to, body))
        return f"sent to {to}"

    @tool
    def log(line):
        got.append(line)

    with identify(session_id="s"):
        token = read_inbox()["from"]
        assert token == "[EMAIL_1]"
        assert send_email([token], body=f"hello {token}") == "sent to ['[EMAIL_1]']"
        log(token)
    assert got == [([MAIL], f"hello {MAIL}"), "[EMAIL_1]"]
    with identify(session_id="other"):
        send_email(token, body="")
    assert got[-1] == ("[EMAIL_1]", "")


def test_conditions_and_surfaces_choose_what_is_redacted(governed):
    governed(
        "mode: block\npolicy: {rules: [{id: out, tool: send, surfaces: [arguments], action: redact},"
        " {id: secrets, tool: read, findings: {category: secret, surface: tool_result}, action: redact}]}"
    )

    @tool
    def send(to):
        return to, MAIL

    key = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"

    @tool
    def read(number):
        return [MAIL, f"token: {key}"][number]

    assert send(MAIL) == ("[EMAIL_1]", MAIL)
    assert read(0) == MAIL
    assert key not in read(1)


class Opaque:
    def __str__(self):
        return MAIL


def test_what_cannot_be_changed_is_refused_and_the_decision_says_so(governed, hooked):
    store = governed(ALL)
    ran = []

    @tool
    def function(value):
        ran.append(value)

    with pytest.raises(BlockedError, match="rule mask"):
        function(Opaque())
    assert ran == []
    attributes = last(hooked, "execute_tool function").attributes
    assert attributes["cylestio.policy.action"] == "deny"
    assert "cannot be changed" in attributes["cylestio.policy.reason"]
    assert MAIL not in str(dict(attributes))
    assert rows(store, "SELECT action, enforced FROM decision") == [("deny", 1)]


class Plain:
    def __init__(self):
        self.mail = MAIL


class Slots:
    __slots__ = ("mails",)

    def __init__(self):
        self.mails = [MAIL]


@pytest.mark.parametrize("make", [Opaque, Plain, Slots, lambda: iter([MAIL]), {"a": MAIL}.values])
def test_a_result_that_cannot_be_changed_is_withheld(governed, make):
    governed(ALL)

    @tool
    def function():
        return make()

    with pytest.raises(BlockedError, match="rule mask"):
        function()


@pytest.mark.parametrize("kind", ["generator", "async"])
def test_a_generator_whose_items_would_have_to_be_redacted_does_not_run(governed, kind):
    governed(ALL)
    ran = []

    @tool
    def generator():
        ran.append(1)
        yield MAIL

    @tool
    async def generator_async():
        ran.append(1)
        yield MAIL

    async def drain():
        return [item async for item in generator_async()]

    with pytest.raises(BlockedError, match="rule mask"):
        list(generator()) if kind == "generator" else asyncio.run(drain())
    assert ran == []


def test_a_dangerous_secret_is_redacted_in_place_of_a_refusal(governed, hooked):
    key = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
    governed("mode: block")

    @tool
    def function(value):
        return value

    with pytest.raises(BlockedError):
        function(f"token {key}")
    governed(ALL)
    assert key not in function(f"token {key}")
    assert last(hooked, "execute_tool function").attributes["cylestio.security.action"] == "modify"


# --- MCP


def server(got):
    made = MCPServer("mail")

    @made.tool()
    def send_email(to: str) -> str:
        """Sends."""
        got.append(to)
        return f"sent to {to}, copy to {OTHER}"

    return made


async def over_mcp(got, to, mode):
    async with Client(server(got), mode=mode) as client:
        answer = await client.call_tool("send_email", {"to": to})
        return answer.content[0].text, answer.structured_content


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_arguments_and_results_over_mcp_are_redacted(governed, hooked, mode):
    store = governed(ALL)
    got = []
    with identify(session_id="s"):
        text, structured = anyio.run(over_mcp, got, MAIL, mode)
    assert got == ["[EMAIL_1]"]
    assert text == "sent to [EMAIL_1], copy to [EMAIL_2]"
    assert OTHER not in str(structured)
    assert len(rows(store, "SELECT tool FROM call_facts")) == 1


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_mcp_tool_gets_the_values_back(governed, mode):
    governed("mode: block\npolicy: {restore: mail/*, rules: [{id: mask, action: redact}]}")
    got = []

    @tool
    async def find():
        return MAIL

    async def run():
        return await over_mcp(got, await find(), mode)

    with identify(session_id="s"):
        text, _ = anyio.run(run)
    assert got == [MAIL]
    assert text == "sent to [EMAIL_1], copy to [EMAIL_2]"


def test_other_named_arguments_of_a_function_are_redacted_and_its_call_is_decided_once(governed, hooked, wire):
    store = governed(ALL)
    got = []

    @tool
    def send_email(subject, **more):
        got.append((subject, more))

    with identify(session_id="s"):
        wire.answer(ToolCall("send_email", {"subject": "hi", "to": "[PLACE_1]", "copy": MAIL}))
        with anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0) as client:
            ask = {"model": "c", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
            block = client.messages.create(**ask, tools=TOOLS).content[0]
        send_email(**block.input)
        send_email("hi", to=OTHER)
    assert got == [("hi", {"to": "[PLACE_1]", "copy": "[EMAIL_1]"}), ("hi", {"to": "[EMAIL_2]"})]
    assert len(rows(store, "SELECT tool FROM call_facts")) == 2
