"""What a server asks of its client: in requests of its own, or in place of a result, as the newest protocol has it."""

import anyio
import pytest
from mcp.client import Client

from mcp_peers import found, watching
from mcp_peers.asked_client import ASKED
from mcp_peers.loopback import serving
from mcp_peers.server import build

pytestmark = pytest.mark.filterwarnings("ignore:The (sampling|roots) capability")


@pytest.fixture
def spans():
    with watching() as found:
        yield found


@pytest.mark.parametrize(
    ("method", "places"),
    [
        pytest.param(*case, marks=pytest.mark.case(f"MCP, 2.x: {case[0]}, from the server to the client"))
        for case in (
            ("elicitation/create", {("arguments.message", "prompt_injection"), ("result.content.name", "secret")}),
            ("roots/list", {("result.roots[0].name", "prompt_injection")}),
            (
                "sampling/createMessage",
                {("messages[0].content.text", "destructive_command"), ("result.content.text", "destructive_command")},
            ),
        )
    ],
)
@pytest.mark.parametrize("transport", ["memory", "http"])
def test_each_request_of_the_server_has_its_two_spans_and_is_scanned(spans, transport, method, places):
    async def ask(target):
        async with Client(target, mode="legacy", **ASKED) as client:
            assert (await client.call_tool("interview", {})).content[0].text == "20 1 16"

    async def main():
        if transport == "memory":
            await ask(build())
            return
        async with serving(build().streamable_http_app()) as port:
            await ask(f"http://127.0.0.1:{port}/mcp")

    anyio.run(main)
    names = ["tools/call interview", "elicitation/create", "roots/list", "sampling/createMessage"]
    assert [name for name in spans.pairs() if name in names] == names
    asked, answered = (spans.one(method, kind) for kind in ("CLIENT", "SERVER"))
    # The server sends it, within the call that it answers: it is the client of this request.
    assert asked["parent"] == spans.one("tools/call interview", "SERVER")["id"]
    assert answered["parent"] == asked["id"]
    assert found(asked) == found(answered) == places


@pytest.mark.case("MCP, 2.x: input that a result asks for, and the call that brings it")
def test_what_a_server_asks_for_in_place_of_a_result_and_what_it_is_given_is_scanned(spans):
    async def main():
        async with Client(build(), **ASKED) as client:
            assert (await client.call_tool("form", {})).content[0].text == "20 1 16"

    anyio.run(main)
    assert spans.pairs()[1:3] == ["tools/call form", "tools/call form"]
    for kind in ("CLIENT", "SERVER"):
        first, second = spans.named("tools/call form", kind)
        asked = "result.inputRequests"
        assert {
            (f"{asked}.name.params.message", "prompt_injection"),
            (f"{asked}.word.params.messages[0].content.text", "destructive_command"),
        } <= found(first)
        assert found(second) == {
            ("inputResponses.name.content.name", "secret"),
            ("inputResponses.place.roots[0].name", "prompt_injection"),
            ("inputResponses.word.content.text", "destructive_command"),
        }
