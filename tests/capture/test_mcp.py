"""Every MCP request is one CLIENT and one SERVER span, whatever carries it."""

import inspect
import sys

import anyio
import mcp.shared.jsonrpc_dispatcher
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.server.lowlevel import Server
from mcp.server.runner import ServerRunner
from mcp.shared import _otel
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types import CallToolResult, CreateMessageResult, ListToolsResult, TextContent, Tool
from opentelemetry import trace

from cylestio_monitor import runtime
from mcp_peers import HERE, watching
from mcp_peers.loopback import serving
from mcp_peers.server import build

EVERYTHING = [
    "tools/list",
    "tools/call add",
    "tools/call fail",
    "resources/list",
    "resources/read",
    "prompts/list",
    "prompts/get greet",
    "prompts/get nobody",
]


@pytest.fixture
def spans():
    with watching() as found:
        yield found


async def everything(client):
    await client.list_tools()
    assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
    assert (await client.call_tool("fail", {})).is_error
    await client.list_resources()
    await client.read_resource("note://one")
    await client.list_prompts()
    await client.get_prompt("greet", {"name": "Ada"})
    with pytest.raises(MCPError):
        await client.get_prompt("nobody", {})


@pytest.mark.case("MCP, 2.x: in memory")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(("mode", "opening"), [("auto", "server/discover"), ("legacy", "initialize")])
def test_in_memory_each_request_has_its_two_spans(spans, mode, opening, backend):
    async def main():
        async with Client(build(), mode=mode) as client:
            await everything(client)

    anyio.run(main, backend=backend)
    assert spans.pairs() == [opening, *EVERYTHING]
    call = spans.one("tools/call add", "CLIENT")["attributes"]
    assert call["mcp.method.name"] == "tools/call"
    assert call["gen_ai.operation.name"] == "execute_tool"
    assert call["gen_ai.tool.name"] == "add"
    assert call["mcp.protocol.version"] == ("2026-07-28" if mode == "auto" else "2025-11-25")
    assert "network.transport" not in call
    assert spans.one("resources/read", "SERVER")["attributes"]["mcp.resource.uri"] == "note://one"
    assert spans.one("prompts/get greet", "SERVER")["attributes"]["gen_ai.prompt.name"] == "greet"
    for kind in ("CLIENT", "SERVER"):
        failed = spans.one("tools/call fail", kind)
        assert (failed["attributes"]["error.type"], failed["status"]) == ("tool_error", "ERROR")
        assert spans.one("prompts/get nobody", kind)["status"] == "ERROR"


@pytest.mark.slow
@pytest.mark.case("MCP, 2.x: over stdio, between processes")
def test_over_stdio_the_trace_goes_on_in_the_other_process(spans, tmp_path):
    theirs = tmp_path / "spans.jsonl"
    args = [str(HERE / "monitored.py"), str(theirs), "monitor", str(HERE / "server.py")]

    async def main():
        async with (
            stdio_client(StdioServerParameters(command=sys.executable, args=args)) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            await everything(session)

    anyio.run(main)
    spans.read(theirs)
    assert spans.pairs() == ["initialize", *EVERYTHING]
    for span in spans.ended:
        if not span["name"].startswith("notifications/"):
            assert span["attributes"]["network.transport"] == "pipe", span["name"]
            assert span["attributes"]["jsonrpc.request.id"].isdigit()


@pytest.mark.slow
@pytest.mark.case("MCP, 2.x: servers of PyPI (time, git) over stdio")
@pytest.mark.parametrize(
    ("module", "arguments", "tool", "given"),
    [
        ("mcp_server_time", ["--local-timezone", "UTC"], "get_current_time", {"timezone": "UTC"}),
        ("mcp_server_git", [], "git_status", {"repo_path": "."}),
    ],
)
def test_servers_that_others_wrote(spans, tmp_path, module, arguments, tool, given):
    theirs = tmp_path / "spans.jsonl"
    args = [str(HERE / "monitored.py"), str(theirs), "monitor", module, *arguments]

    async def main():
        async with (
            stdio_client(StdioServerParameters(command=sys.executable, args=args)) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            assert tool in [listed.name for listed in (await session.list_tools()).tools]
            await session.call_tool(tool, given)

    anyio.run(main)
    spans.read(theirs)
    assert spans.pairs() == ["initialize", "tools/list", f"tools/call {tool}"]


@pytest.mark.case("MCP, 2.x: over streamable HTTP")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_over_streamable_http(spans, mode):
    async def main():
        async with (
            serving(build().streamable_http_app()) as port,
            Client(f"http://127.0.0.1:{port}/mcp", mode=mode) as client,
        ):
            await everything(client)
            return port

    port = anyio.run(main)
    assert spans.pairs()[1:] == EVERYTHING
    client, server = (spans.one("tools/call add", kind)["attributes"] for kind in ("CLIENT", "SERVER"))
    assert (client["server.address"], client["server.port"]) == ("127.0.0.1", port)
    assert client["network.transport"] == server["network.transport"] == "tcp"
    if mode == "legacy":
        ids = {span["attributes"].get("mcp.session.id") for span in spans.ended if span["scope"] == "cylestio_monitor"}
        assert len(ids) == 1
        assert None not in ids


@pytest.mark.case("MCP, 2.x: over SSE")
def test_over_sse(spans):
    async def main():
        async with (
            serving(build().sse_app()) as port,
            sse_client(f"http://127.0.0.1:{port}/sse") as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            await everything(session)

    anyio.run(main)
    assert spans.pairs() == ["initialize", *EVERYTHING]
    assert spans.one("tools/call add", "CLIENT")["attributes"]["network.transport"] == "tcp"
    assert spans.one("tools/call add", "SERVER")["attributes"]["mcp.session.id"]


@pytest.mark.case("MCP, 2.x: a server's own look-up makes no span")
def test_a_server_that_looks_up_its_own_tools_makes_no_request(spans):
    """The low-level server answers a call over HTTP only after it has listed its tools to itself."""

    async def list_tools(_ctx, _params):
        schema = {"type": "object", "properties": {"q": {"type": "string"}}}
        return ListToolsResult(tools=[Tool(name="find", description="Finds.", input_schema=schema)])

    async def call_tool(_ctx, params):
        return CallToolResult(content=[TextContent(type="text", text=str(params.arguments))])

    server = Server("low", on_list_tools=list_tools, on_call_tool=call_tool)

    async def main():
        async with (
            serving(server.streamable_http_app()) as port,
            Client(f"http://127.0.0.1:{port}/mcp") as client,
        ):
            await client.call_tool("find", {"q": "x"})

    anyio.run(main)
    # The client lists the tools itself after the call, for the schema of the result.
    assert spans.pairs() == ["server/discover", "tools/call find", "tools/list"]


@pytest.mark.case("MCP, 2.x: requests of the server to the client")
@pytest.mark.filterwarnings("ignore:The sampling capability")
def test_what_the_server_asks_the_client(spans):
    async def sample(_ctx, params):
        assert params.messages[0].content.text == "What is the capital of France?"
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="Paris"), model="m-1")

    async def main():
        async with Client(build(), mode="legacy", sampling_callback=sample) as client:
            assert (await client.call_tool("ask", {})).content[0].text == "Paris"

    anyio.run(main)
    assert spans.pairs()[:3] == ["initialize", "tools/call ask", "sampling/createMessage"]
    asked, answered = (spans.one("sampling/createMessage", kind) for kind in ("CLIENT", "SERVER"))
    assert asked["parent"] == spans.one("tools/call ask", "SERVER")["id"]
    assert answered["attributes"]["gen_ai.response.model"] == "m-1"


@pytest.mark.case("MCP, 2.x: a cancelled request")
def test_a_cancelled_request_ends_its_spans_and_disturbs_no_scope(spans):
    async def main():
        async with Client(build(), mode="legacy") as client:
            with anyio.move_on_after(0.2) as scope:
                await client.call_tool("slow", {"seconds": 30})
            assert scope.cancelled_caught
            assert trace.get_current_span() is trace.INVALID_SPAN
            assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}

    anyio.run(main)
    assert spans.pairs()[:3] == ["initialize", "tools/call slow", "tools/call add"]
    for kind in ("CLIENT", "SERVER"):
        slow = spans.one("tools/call slow", kind)
        assert (slow["status"], slow["attributes"]["error.type"]) == ("ERROR", "CancelledError")


@pytest.mark.case("MCP, 2.x: a request that times out, with progress")
def test_a_request_that_takes_too_long(spans):
    heard = []

    async def progress(done, total, message):
        heard.append((done, total, message))

    async def main():
        async with Client(build(), mode="legacy") as client:
            with pytest.raises(MCPError, match="timed out"):
                await client.call_tool("slow", {"seconds": 30}, read_timeout_seconds=0.2, progress_callback=progress)
            await client.call_tool("slow", {"seconds": 0}, progress_callback=progress)

    anyio.run(main)
    assert heard == [(1.0, 2.0, "half")] * 2
    late, good = spans.named("tools/call slow", "CLIENT")
    assert late["attributes"]["error.type"] == "-32001"
    assert good["status"] == "UNSET"


@pytest.mark.case("MCP, 2.x: requests side by side")
def test_requests_side_by_side_keep_their_own_parents(spans):
    tracer = spans.provider.get_tracer("application")

    async def one(client, number):
        with tracer.start_as_current_span(f"turn {number}"):
            await client.call_tool("slow", {"seconds": 0.01 * (5 - number)})

    async def main():
        async with Client(build(), mode="legacy") as client, anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(one, client, number)

    anyio.run(main)
    spans.pairs()
    turns = {span["id"] for span in spans.ended if span["name"].startswith("turn ")}
    assert {span["parent"] for span in spans.named("tools/call slow", "CLIENT")} == turns


def test_what_the_caller_gave_is_not_touched(spans):
    arguments, meta = {"a": 1, "b": 2}, {"mine": "yes"}

    async def main():
        async with Client(build()) as client:
            await client.call_tool("add", arguments, meta=meta)

    anyio.run(main)
    assert (arguments, meta) == ({"a": 1, "b": 2}, {"mine": "yes"})


@pytest.mark.case("MCP, 2.x: sessions opened before")
def test_sessions_that_were_open_before_are_covered():
    async def main():
        async with Client(build(), mode="legacy") as client:
            await client.call_tool("add", {"a": 1, "b": 2})
            with watching() as spans:
                await client.call_tool("add", {"a": 1, "b": 2})
            await client.call_tool("add", {"a": 1, "b": 2})
        return spans

    assert anyio.run(main).pairs() == ["tools/call add"]


@pytest.mark.case("MCP, 2.x: `uninstrument` restores the originals")
def test_the_original_objects_come_back():
    def patched():
        return [
            vars(JSONRPCDispatcher)["send_raw_request"],
            vars(mcp.shared.jsonrpc_dispatcher)["otel_span"],
            vars(ServerRunner)["_compose_server_middleware"],
            vars(ClientSession)["_on_request"],
        ]

    before = patched()
    with watching() as spans:
        during = patched()
        spans.instrumentor.instrument(skip_dep_check=True)
        assert all(again is first for again, first in zip(patched(), during, strict=True))
        assert not any(new is old for new, old in zip(during, before, strict=True))
        assert inspect.iscoroutinefunction(ClientSession._on_request)
    assert all(after is old for after, old in zip(patched(), before, strict=True))


def test_without_monitoring_the_sdk_traces_itself_as_before(spans, monkeypatch):
    runtime.turn_off()

    async def main():
        async with Client(build(), mode="legacy") as client:
            await client.call_tool("add", {"a": 1, "b": 2})

    monkeypatch.setattr(_otel, "_tracer", spans.provider.get_tracer("mcp-python-sdk"))
    anyio.run(main)
    assert {span["scope"] for span in spans.ended} == {"mcp-python-sdk"}
    assert spans.one("MCP send tools/call add", "CLIENT")["id"] == spans.one("tools/call add", "SERVER")["parent"]
