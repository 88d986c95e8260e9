"""Tools that policy denies are not offered: real SDKs against loopback servers, and real MCP clients and servers."""

from __future__ import annotations

import asyncio
import copy
from typing import ClassVar

import anthropic
import anyio
import openai
import pytest
from mcp.client import Client
from mcp.server.mcpserver import MCPServer

from cylestio_monitor import BlockedError
from cylestio_monitor.identity import identify
from wire import Text, ToolCall

DENY = "policy: {rules: [{id: no-pay, tool: 'pay_*', action: deny}]}"
HIDDEN = "cylestio.tools.hidden"
OFFERED = "cylestio.tools.offered"


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


class Messages:
    """Anthropic messages."""

    choice: ClassVar = {"type": "tool", "name": "pay_order"}
    some: ClassVar = {"type": "any"}
    called: ClassVar = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "pay_order", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "done"}]},
    ]

    @staticmethod
    def tool(name):
        return {"name": name, "description": name, "input_schema": SCHEMA}

    @staticmethod
    def name(tool):
        return tool["name"]

    @staticmethod
    def send(wire, tools, messages=None, **more):
        messages = messages or [{"role": "user", "content": "x"}]
        with anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0) as client:
            return client.messages.create(model="m", max_tokens=9, messages=messages, tools=tools, **more)

    @staticmethod
    async def send_async(wire, tools):
        async with anthropic.AsyncAnthropic(base_url=wire.url, api_key="k", max_retries=0) as client:
            await client.messages.create(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}], tools=tools
            )

    @staticmethod
    def stream(wire, tools):
        with (
            anthropic.Anthropic(base_url=wire.url, api_key="k", max_retries=0) as client,
            client.messages.stream(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}], tools=tools
            ) as stream,
        ):
            stream.get_final_message()


class Chat:
    """OpenAI chat completions."""

    choice: ClassVar = {"type": "function", "function": {"name": "pay_order"}}
    some = "required"
    called: ClassVar = [
        {"role": "user", "content": "x"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "pay_order", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "done"},
    ]

    @staticmethod
    def tool(name):
        return {"type": "function", "function": {"name": name, "description": name, "parameters": SCHEMA}}

    @staticmethod
    def name(tool):
        return tool["function"]["name"]

    @staticmethod
    def send(wire, tools, messages=None, **more):
        messages = messages or [{"role": "user", "content": "x"}]
        with openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k", max_retries=0) as client:
            return client.chat.completions.create(model="m", messages=messages, tools=tools, **more)

    @staticmethod
    async def send_async(wire, tools):
        async with openai.AsyncOpenAI(base_url=f"{wire.url}/v1", api_key="k", max_retries=0) as client:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], tools=tools)

    @staticmethod
    def stream(wire, tools):
        with openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k", max_retries=0) as client:
            for _ in client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "x"}], tools=tools, stream=True
            ):
                pass


class Responses:
    """OpenAI responses."""

    choice: ClassVar = {"type": "function", "name": "pay_order"}
    some = "required"
    called: ClassVar = [
        {"role": "user", "content": "x"},
        {"type": "function_call", "call_id": "t1", "name": "pay_order", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "t1", "output": "done"},
    ]

    @staticmethod
    def tool(name):
        return {"type": "function", "name": name, "description": name, "parameters": SCHEMA, "strict": False}

    @staticmethod
    def name(tool):
        return tool["name"]

    @staticmethod
    def send(wire, tools, messages=None, **more):
        with openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k", max_retries=0) as client:
            return client.responses.create(model="m", input=messages or "x", tools=tools, **more)

    @staticmethod
    async def send_async(wire, tools):
        async with openai.AsyncOpenAI(base_url=f"{wire.url}/v1", api_key="k", max_retries=0) as client:
            await client.responses.create(model="m", input="x", tools=tools)

    @staticmethod
    def stream(wire, tools):
        with openai.OpenAI(base_url=f"{wire.url}/v1", api_key="k", max_retries=0) as client:
            for _ in client.responses.create(model="m", input="x", tools=tools, stream=True):
                pass


def asynchronously(form, wire, tools):
    asyncio.run(form.send_async(wire, tools))


WAYS = {
    "sync": lambda form, wire, tools: form.send(wire, tools),
    "async": asynchronously,
    "stream": lambda form, wire, tools: form.stream(wire, tools),
}
forms = pytest.mark.parametrize("form", [Messages, Chat, Responses])


def sent(wire):
    return wire.requests[-1].body


@forms
@pytest.mark.parametrize("way", WAYS)
def test_a_denied_tool_is_not_sent_and_the_lists_of_the_application_stay(governed, hooked, wire, form, way):
    governed(f"mode: block\n{DENY}")
    wire.answer(Text("ok"))
    tools = [form.tool("read"), form.tool("pay_order"), form.tool("pay_invoice"), form.tool("write")]
    before = copy.deepcopy(tools)
    WAYS[way](form, wire, tools)
    assert [form.name(tool) for tool in sent(wire)["tools"]] == ["read", "write"]
    assert tools == before
    (span,) = hooked.spans()
    assert span.attributes[OFFERED] == ("read", "write")
    assert span.attributes[HIDDEN] == ("pay_order", "pay_invoice")


@forms
def test_in_mode_monitor_everything_is_sent(governed, hooked, wire, form):
    governed(DENY)
    wire.answer(Text("ok"))
    form.send(wire, [form.tool("read"), form.tool("pay_order")])
    assert len(sent(wire)["tools"]) == 2
    assert HIDDEN not in hooked.spans()[0].attributes


@forms
def test_a_denied_tool_that_the_request_forces_is_refused_with_the_reason_of_the_policy(governed, hooked, wire, form):
    governed(f"mode: block\n{DENY}")
    with pytest.raises(BlockedError, match="no-pay"):
        form.send(wire, [form.tool("read"), form.tool("pay_order")], tool_choice=form.choice)
    assert wire.requests == []
    (span,) = hooked.spans()
    assert span.attributes["cylestio.policy.rule"] == "no-pay"
    assert span.attributes["cylestio.security.action"] == "block"


@forms
def test_where_no_tool_is_left_the_request_has_none(governed, wire, form):
    governed(f"mode: block\n{DENY}")
    wire.answer(Text("ok"))
    form.send(wire, [form.tool("pay_order")], tool_choice={"type": "auto"} if form is Messages else "auto")
    assert {"tools", "tool_choice"} & sent(wire).keys() == set()
    with pytest.raises(BlockedError, match="no-pay"):
        form.send(wire, [form.tool("pay_order")], tool_choice=form.some)


@forms
def test_a_conversation_with_tool_calls_keeps_its_last_tool(governed, hooked, wire, form):
    governed(f"mode: block\n{DENY}")
    wire.answer(Text("ok"))
    form.send(wire, [form.tool("pay_order")], form.called)
    assert len(sent(wire)["tools"]) == 1
    assert HIDDEN not in hooked.spans()[0].attributes
    form.send(wire, [form.tool("pay_order"), form.tool("read")], form.called)
    assert [form.name(tool) for tool in sent(wire)["tools"]] == ["read"]


def test_a_choice_among_several_that_names_a_denied_tool(governed, wire):
    governed(f"mode: block\n{DENY}")
    names = [{"type": "function", "function": {"name": name}} for name in ("read", "pay_order")]
    with pytest.raises(BlockedError, match="no-pay"):
        Chat.send(
            wire,
            [Chat.tool("read"), Chat.tool("pay_order")],
            tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": names}},
        )


def test_tools_of_the_provider_and_entries_that_stand_for_several(governed, hooked, wire):
    governed("mode: block\npolicy: {default: deny, rules: [{id: r, tool: read, action: allow}]}")
    wire.answer(Text("ok"))
    label = {"type": "mcp", "server_label": "mail", "server_url": "https://mail.example"}
    Responses.send(wire, [Responses.tool("read"), {"type": "web_search"}, label])
    assert [tool["type"] for tool in sent(wire)["tools"]] == ["function", "mcp"]
    assert hooked.spans()[0].attributes[HIDDEN] == ("web_search",)


def test_tools_that_extra_body_adds(governed, wire):
    governed(f"mode: block\n{DENY}")
    wire.answer(Text("ok"))
    extra = {"tools": [Chat.tool("read"), Chat.tool("pay_order")], "other": 1}
    before = copy.deepcopy(extra)
    Chat.send(wire, [Chat.tool("write")], extra_body=extra)
    assert [Chat.name(tool) for tool in sent(wire)["tools"]] == ["read"]
    assert sent(wire)["other"] == 1
    assert extra == before


def test_the_agent_decides_which_tools_it_is_offered(governed, wire):
    governed("mode: block\npolicy: {rules: [{id: r, tool: pay_order, agent: support, action: deny}]}")
    wire.answer(Text("ok"))
    tools = [Chat.tool("read"), Chat.tool("pay_order")]
    with identify(agent_id="support"):
        Chat.send(wire, tools)
    assert len(sent(wire)["tools"]) == 1
    with identify(agent_id="admin"):
        Chat.send(wire, tools)
    assert len(sent(wire)["tools"]) == 2


def listed():
    made = MCPServer("db")

    @made.tool()
    def pay_order(name: str) -> str:
        return "paid"

    @made.tool()
    def read(name: str) -> str:
        return "row"

    async def main():
        async with Client(made) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            try:
                answer = await client.call_tool("pay_order", {"name": "x"})
            except BlockedError as error:
                return names, str(error)
            return names, answer.content[0].text

    return anyio.run(main)


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ("{rules: [{id: r, tool: 'db/pay_*', action: deny}]}", ["read"]),
        ("{default: deny, rules: [{id: r, tool: read, action: allow}]}", ["read"]),
        # Who will use the session later is not known when it lists its tools.
        ("{rules: [{id: r, tool: pay_order, role: guest, action: deny}]}", ["pay_order", "read"]),
        ("{default: deny, rules: [{id: r, role: admin, action: allow}]}", ["pay_order", "read"]),
        ("{default: deny, agents: {admin: {default: allow}}}", ["pay_order", "read"]),
        ("{rules: [{id: r, tool: pay_order, arguments: {name: users}, action: deny}]}", ["pay_order", "read"]),
    ],
)
def test_a_client_is_not_shown_the_tools_that_nobody_may_call(governed, hooked, policy, names):
    governed(f"mode: block\npolicy: {policy}")
    shown, answer = listed()
    assert shown == names
    (span,) = [one for one in hooked.spans() if one.name == "tools/list" and one.kind.name == "CLIENT"]
    assert span.attributes.get(HIDDEN) == (None if "pay_order" in names else ("pay_order",))
    if "pay_order" not in names:
        assert answer.startswith("Cylestio blocked this call of tool pay_order: rule")


def test_a_client_in_mode_monitor_is_shown_all(governed):
    governed("policy: {rules: [{id: r, tool: 'db/pay_*', action: deny}]}")
    assert listed() == (["pay_order", "read"], "paid")


@forms
def test_a_model_that_asks_for_a_hidden_tool_is_refused(governed, wire, form):
    governed(f"mode: block\n{DENY}")
    wire.answer(ToolCall("pay_order", {"a": "1"}))
    with pytest.raises(BlockedError, match="no-pay"):
        form.send(wire, [form.tool("pay_order")])
    assert "tools" not in sent(wire)
