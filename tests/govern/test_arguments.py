"""Validation of tool arguments against the tool's own schema, from the model's request and from MCP."""

from __future__ import annotations

import anthropic
import anyio
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.client import Client
from mcp.server.mcpserver import MCPServer

from cylestio_monitor import BlockedError, tool
from cylestio_monitor.govern import schemas
from cylestio_monitor.govern.arguments import ARGUMENTS_RULE, ArgumentValidation
from cylestio_monitor.govern.listed_tools import ListedTools
from wire import ToolCall

SCHEMA = {
    "type": "object",
    "properties": {"to": {"type": "string"}, "copies": {"type": "integer", "maximum": 3}},
    "required": ["to"],
    "additionalProperties": False,
}
MESSAGES = [{"role": "user", "content": "x"}]


def ask_anthropic(wire, arguments, stream):
    wire.answer(ToolCall("send_email", arguments))
    tools = [{"name": "send_email", "input_schema": SCHEMA}]
    with anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0) as client:
        call = {"model": "claude-wire", "max_tokens": 9, "messages": MESSAGES, "tools": tools}
        return list(client.messages.create(**call, stream=True)) if stream else client.messages.create(**call)


def ask_chat(wire, arguments, stream):
    wire.answer(ToolCall("send_email", arguments))
    tools = [{"type": "function", "function": {"name": "send_email", "parameters": SCHEMA}}]
    with openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k", max_retries=0) as client:
        call = {"model": "gpt-wire", "messages": MESSAGES, "tools": tools}
        return (
            list(client.chat.completions.create(**call, stream=True))
            if stream
            else client.chat.completions.create(**call)
        )


def ask_responses(wire, arguments, stream):
    wire.answer(ToolCall("send_email", arguments))
    tools = [{"type": "function", "name": "send_email", "parameters": SCHEMA}]
    with openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k", max_retries=0) as client:
        call = {"model": "gpt-wire", "input": "x", "tools": tools}
        return list(client.responses.create(**call, stream=True)) if stream else client.responses.create(**call)


def found(hooked):
    """Path and reason of the findings of all spans."""
    names = ("cylestio.security.finding.path", "cylestio.security.finding.reason")
    return [
        tuple(event.attributes.get(name) for name in names)
        for span in hooked.spans()
        for event in span.events
        if event.attributes.get("cylestio.security.finding.rule") == ARGUMENTS_RULE
    ]


WRONG = [
    ({"copies": 1}, "required: to"),
    ({"to": 7}, "type: string"),
    ({"to": "a", "copies": 9}, "maximum"),
    ({"to": "a", "bcc": "b"}, "additionalProperties"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ask", [ask_anthropic, ask_chat, ask_responses])
@pytest.mark.parametrize(("arguments", "reason"), WRONG)
def test_wrong_arguments_of_a_model_are_one_finding(governed, hooked, wire, ask, arguments, reason, stream):
    governed("mode: block")

    @tool(name="send_email")
    def run(to=None, copies=None, bcc=None):
        return "sent"

    ask(wire, arguments, stream)
    assert run(**arguments) == "sent"
    assert [one[1] for one in found(hooked)] == [reason]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ask", [ask_anthropic, ask_chat, ask_responses])
def test_right_arguments_have_no_finding(governed, hooked, wire, ask, stream):
    governed("mode: block\ncontrol: {invalid_arguments: deny}")
    ask(wire, {"to": "a", "copies": 2}, stream)
    assert found(hooked) == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ask", [ask_anthropic, ask_chat, ask_responses])
@pytest.mark.parametrize(
    "settings",
    [
        "control: {invalid_arguments: deny}",
        "policy: {rules: [{id: own, findings: {rule: tool.arguments}, action: deny}]}",
    ],
)
def test_wrong_arguments_are_refused_where_that_is_asked_for(governed, hooked, wire, ask, settings, stream):
    governed(f"mode: block\n{settings}")
    with pytest.raises(BlockedError, match=r"tool\.arguments|rule own"):
        ask(wire, {"copies": 1}, stream)
    assert hooked.spans()[-1].attributes["cylestio.security.action"] == "block"


def test_an_application_that_runs_the_refused_call_is_refused_too(governed, hooked, wire):
    governed("mode: block\ncontrol: {invalid_arguments: deny}")
    ran = []

    @tool
    def send_email(copies):
        ran.append(copies)

    with pytest.raises(BlockedError):
        ask_anthropic(wire, {"copies": 1}, stream=False)
    with pytest.raises(BlockedError, match=r"tool\.arguments"):
        send_email(copies=1)
    assert ran == []
    assert len(found(hooked)) == 1


@pytest.mark.parametrize(("mode", "choice"), [("monitor", "deny"), ("block", "audit"), ("block", "ignore")])
def test_a_refusal_needs_mode_and_setting(governed, hooked, wire, mode, choice):
    governed(f"mode: {mode}\ncontrol: {{invalid_arguments: {choice}}}")
    ask_anthropic(wire, {"copies": 1}, stream=False)
    attributes = hooked.spans()[-1].attributes
    assert attributes["cylestio.security.action"] == ("allow" if choice == "ignore" else "audit")
    assert attributes["cylestio.security.verdict"] == {"deny": "deny", "audit": "warn", "ignore": "allow"}[choice]


def mail_server(ran):
    made = MCPServer("mail")

    @made.tool()
    def send_email(to: str, copies: int = 1) -> str:
        """Sends."""
        ran.append(to)
        return "sent"

    return made


async def over_mcp(ran, arguments, *, lists=True, mode="auto"):
    async with Client(mail_server(ran), mode=mode) as client:
        if lists:
            await client.list_tools()
        try:
            return await client.call_tool("send_email", arguments)
        except BlockedError as error:  # outside the client it would come in a group of exceptions
            return error


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_wrong_arguments_over_mcp_are_one_finding_and_refused_before_the_tool_runs(governed, hooked, mode):
    governed("mode: block\ncontrol: {invalid_arguments: deny}")
    ran = []
    refused = anyio.run(lambda: over_mcp(ran, {"copies": "many", "to": "a"}, mode=mode))
    assert isinstance(refused, BlockedError)
    assert ran == []
    assert found(hooked) == [("arguments.copies", "type: integer")]
    answer = anyio.run(lambda: over_mcp(ran, {"to": "a"}, mode=mode))
    assert [block.text for block in answer.content] == ["sent"]
    assert ran == ["a"]


def test_a_call_that_a_model_asks_for_and_that_runs_over_mcp_is_one_finding(governed, hooked, wire):
    governed("mode: block")

    @tool
    async def send_email(copies):
        return await over_mcp([], {"copies": copies})

    anyio.run(lambda: over_mcp([], {"to": "a"}))
    ask_anthropic(wire, {"copies": 1}, stream=False)
    anyio.run(lambda: send_email(copies=1))
    assert len(found(hooked)) == 1


def test_a_function_with_the_name_of_a_listed_tool_has_arguments_of_its_own(governed, hooked):
    governed("mode: block\ncontrol: {invalid_arguments: deny}")

    @tool
    def send_email(address):
        return "sent"

    anyio.run(lambda: over_mcp([], {"to": "a"}))
    assert send_email("a") == "sent"
    assert found(hooked) == []


def test_a_finding_holds_no_content(governed, hooked, wire):
    governed("mode: block")
    ask_anthropic(wire, {"to": ["the secret plan"], "copies": 88}, stream=False)
    assert [one[1] for one in found(hooked)] == ["type: string", "maximum"]
    events = [str(dict(event.attributes)) for span in hooked.spans() for event in span.events]
    assert not any("secret plan" in event or "88" in event for event in events if "tool.arguments" in event)


UNUSUAL = [
    {"type": "object", "x-unknown": {"deep": [1]}, "properties": {"a": {"unheardOf": True}}},
    {"$ref": "https://example.org/remote.json"},
    {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
    {"properties": {"a": {"pattern": "(a+)+$"}}},
    {"patternProperties": {"(a|a)*$": {"type": "integer"}}, "additionalProperties": False},
    {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}},
]


@pytest.mark.parametrize("schema", UNUSUAL)
def test_unknown_keywords_remote_references_and_endless_patterns_neither_raise_nor_fetch(schema, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("fetched"))
    assert schemas.violations(schema, {"a": "a" * 60 + "!"}) == []


def test_the_other_keywords_beside_a_remote_reference_count():
    schema = {"required": ["b"], "properties": {"a": {"$ref": "https://example.org/x"}}}
    assert schemas.violations(schema, {"a": 1}) == [schemas.Violation("", "required: b")]


DOUBLED = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)} | {"d30": {}}
HOSTILE = [
    {"$ref": "#"},
    {"$ref": "#/$defs/nothing"},
    {"$ref": "#/$defs/d0", "$defs": DOUBLED},
    {"type": "strang"},
    {"properties": 7},
    {"description": "x" * 70_000},
]


@pytest.mark.parametrize("schema", HOSTILE)
@pytest.mark.parametrize("choice", ["audit", "deny"])
def test_a_schema_that_cannot_be_used_is_named_once_and_reported_where_calls_are_denied(schema, choice, caplog):
    validation = ArgumentValidation(choice)
    for _ in range(2):
        findings, is_invalid = validation.test(schema, "mail", "send", {"a": 1}, "arguments")
        assert [one.rule_id for one in findings] == (["scan.incomplete"] if choice == "deny" else [])
        assert is_invalid is False
    assert caplog.text.count("'mail/send' are not validated") == 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_schema_is_survived(schema):
    findings, _ = ArgumentValidation("audit").test(schema, "", "t", {"a": 1}, "arguments")
    assert all(one.rule_id == ARGUMENTS_RULE for one in findings)


@pytest.mark.parametrize("value", [None, "", {}])
def test_no_arguments_are_an_empty_object(value):
    assert schemas.violations({"type": "object", "properties": {"a": {}}}, value) == []


def test_text_that_is_no_object_is_a_violation():
    assert schemas.violations({"type": "object"}, '{"to": ') == [schemas.Violation("", "type: object")]


def test_violations_and_schemas_are_bounded():
    many = {"properties": {f"p{n}": {"type": "string"} for n in range(50)}}
    assert len(schemas.violations(many, {f"p{n}": 1 for n in range(50)})) == schemas.MAX_VIOLATIONS
    listed = ListedTools()
    large = {"description": "x" * 60_000}
    for number in range(400):
        listed.add("mail", [{"name": f"t{number}", "inputSchema": large}])
    kept = sum(listed.find(f"t{number}").schema is not None for number in range(400))
    assert 0 < kept < 300
    listed.add("mail", [{"name": "t0", "inputSchema": {"type": "object"}}])
    assert listed.find("t0").schema == {"type": "object"}
    listed.add("mail", [{"name": "t0", "inputSchema": {"description": "x" * 70_000}}])
    assert listed.find("t0").schema is None


def test_a_validation_takes_no_longer_because_a_schema_is_used_again():
    schemas.violations(SCHEMA, {"to": "a"})
    before = schemas._compiled.cache_info().hits
    schemas.violations(SCHEMA, {"to": "b"})
    assert schemas._compiled.cache_info().hits == before + 1
