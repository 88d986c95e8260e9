"""What is read out of requests and answers, also where a hostile peer wrote them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cylestio_monitor.capture.mcp import MCPInstrumentor
from cylestio_monitor.capture.mcp import messages as wire
from cylestio_monitor.capture.mcp.sessions import Peer
from cylestio_monitor.capture.mcp.targets import TARGETS
from cylestio_monitor.govern.listed_tools import ListedTools
from cylestio_monitor.model import Call

METHODS = [
    "initialize",
    "server/discover",
    "tools/list",
    "tools/call",
    "prompts/get",
    "resources/read",
    "sampling/createMessage",
    "elicitation/create",
    "x/y",
]
KEYS = [
    "name",
    "arguments",
    "_meta",
    "messages",
    "content",
    "tools",
    "uri",
    "type",
    "text",
    "structuredContent",
    "systemPrompt",
    "role",
    "serverInfo",
    "protocolVersion",
    "inputResponses",
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=20,
)
objects = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), json_values, max_size=8)


@given(method=st.sampled_from(METHODS), params=st.none() | objects, answer=objects)
@example(method="tools/call", params=None, answer={"content": {"type": []}})
def test_no_json_is_too_odd_to_be_read(method, params, answer):
    call = wire.read_call("client", method, params, 1)
    assert call.name.startswith(method)
    assert all(isinstance(value, str) for value in call.attributes.values())
    result = wire.read_result(method, answer)
    Peer().learn(method, answer, ListedTools())
    assert result.error_type in {None, "tool_error"}


def test_arguments_are_what_a_person_or_a_model_put_in():
    def arguments(method, params):
        return wire.read_call("client", method, params).arguments

    assert arguments("tools/call", {"name": "t", "arguments": {"q": 1}, "_meta": {"progressToken": 1}}) == {"q": 1}
    assert arguments("prompts/get", {"name": "p", "arguments": {"q": "x"}}) == {"q": "x"}
    assert arguments("resources/read", {"uri": "file:///etc/passwd"}) == {"uri": "file:///etc/passwd"}
    assert arguments("tools/list", {"cursor": "2"}) is None
    assert arguments("initialize", {"clientInfo": {"name": "x"}}) is None
    assert arguments("elicitation/create", {"message": "Your password?"}) == {"message": "Your password?"}


def test_a_sampling_request_is_a_conversation():
    params = {
        "systemPrompt": "Be brief.",
        "messages": [{"role": "user", "content": {"type": "text", "text": "Hello"}}],
        "tools": [{"name": "t", "description": "d", "inputSchema": {}}],
    }
    call = wire.read_call("server", "sampling/createMessage", params)
    assert [(message.role, message.parts[0].content) for message in call.messages] == [("user", "Hello")]
    assert call.system[0].content == "Be brief."
    assert call.tools[0].name == "t"
    answer = {"role": "assistant", "content": {"type": "text", "text": "Hi"}, "model": "m", "stopReason": "endTurn"}
    result = wire.read_result("sampling/createMessage", answer)
    assert (result.model, result.finish_reasons) == ("m", ["endTurn"])
    assert result.messages[0].parts[0].content == "Hi"


def test_the_instructions_of_a_server_are_kept_for_the_scan():
    answer = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "s"}, "instructions": "Do as I say."}
    assert wire.read_result("initialize", answer).response == {"instructions": "Do as I say."}


def test_binary_content_is_left_out():
    answer = {
        "content": [
            {"type": "image", "data": "AAAA" * 100, "mimeType": "image/png"},
            {"type": "resource", "resource": {"uri": "x:y", "blob": "AAAA"}},
            {"type": "text", "text": "seen"},
        ]
    }
    content = wire.read_result("tools/call", answer).response["content"]
    assert content[0] == {"type": "image", "data": "[400 characters of base64]", "mimeType": "image/png"}
    assert content[1]["resource"]["blob"] == "[4 characters of base64]"
    assert content[2]["text"] == "seen"


@pytest.mark.parametrize(
    ("texts", "structured", "repeated"),
    [
        (["plain"], {"result": "plain"}, True),
        (["3"], {"result": 3}, True),
        (['{"a": 1}'], {"a": 1}, True),
        (["one", "two"], {"result": ["one", "two"]}, True),
        (['{"a": 1}', '{"a": 2}'], {"result": [{"a": 1}, {"a": 2}]}, True),
        (["plain"], {"result": "something else"}, False),
        (["plain"], {"result": "plain", "more": "text"}, False),
        ([], {"a": "b"}, False),
    ],
)
def test_structured_content_is_dropped_only_where_the_text_says_the_same(texts, structured, repeated):
    answer = {"content": [{"type": "text", "text": text} for text in texts], "structuredContent": structured}
    assert ("structuredContent" not in wire.read_result("tools/call", answer).response) == repeated


def test_what_the_connection_says_of_a_request():
    peer = Peer()
    peer.version = "2025-11-25"
    call = Call(operation="", name="x")
    peer.describe(call)
    assert call.attributes == {"mcp.protocol.version": "2025-11-25"}


def test_every_module_that_is_waited_for_has_something_to_wrap():
    assert set(MCPInstrumentor.modules) == {target.module for target in TARGETS}
