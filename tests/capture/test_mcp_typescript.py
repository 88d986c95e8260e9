"""A server of the TypeScript SDK as the other side: what our side of each request records, over stdio and over HTTP."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import anyio
import platformdirs
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from mcp_peers import HERE, found, watching
from mcp_peers.asked_client import ASKED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("typescript"),
    pytest.mark.filterwarnings("ignore:The (sampling|roots) capability"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="the TypeScript SDK needs Node and npm"),
]

SOURCE = HERE / "typescript"


@pytest.fixture(scope="session")
def server():
    """The server beside the packages of its lock file, which are installed once, outside the checkout."""
    sources = [SOURCE / name for name in ("package.json", "package-lock.json", "server.mjs")]
    mark = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("cylestio-monitor-tests", appauthor=False)) / f"typescript-{mark}"
    if not (folder / ".complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for path in sources:
            shutil.copy(path, folder)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL)
        (folder / ".complete").touch()
    return folder / "server.mjs"


@pytest.fixture
def spans():
    with watching(content="masked") as found:
        yield found


@contextlib.asynccontextmanager
async def streams(server, transport):
    """The streams to a server process over one of the transports."""
    if transport == "pipe":
        async with stdio_client(StdioServerParameters(command="node", args=[str(server)])) as opened:
            yield opened
        return
    async with await anyio.open_process(["node", str(server), "http"], env=dict(os.environ)) as process:
        port = (await process.stdout.receive()).decode().strip()
        try:
            async with streamable_http_client(f"http://127.0.0.1:{port}/mcp") as opened:
                yield opened[:2]
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def session(server, transport):
    async with streams(server, transport) as (read, write), ClientSession(read, write, **ASKED) as opened:
        await opened.initialize()
        yield opened


BOTH = pytest.mark.parametrize("transport", ["pipe", "tcp"])


@BOTH
@pytest.mark.case("MCP, TypeScript server: tools, resources, prompts, media, questions to the client")
def test_every_request_has_one_span_of_ours(spans, server, transport):
    async def main():
        async with session(server, transport) as opened:
            await opened.list_tools()
            assert (await opened.call_tool("add", {"a": 1, "b": 2})).structured_content == {"sum": 3}
            assert (await opened.call_tool("fail", {})).is_error
            await opened.call_tool("weather", {"city": "Paris"})
            await opened.call_tool("media", {})
            assert (await opened.call_tool("interview", {})).content[0].text == "20 1 16"
            await opened.read_resource("note://one")
            await opened.get_prompt("greet", {"name": "Ada"})

    anyio.run(main)
    names = [span["name"] for span in spans.ended if span["kind"] == "CLIENT" and "notif" not in span["name"]]
    calls = ["add", "fail", "weather", "media", "interview"]
    expected = ["initialize", "tools/list", *(f"tools/call {name}" for name in calls)]
    assert names == [*expected, "resources/read", "prompts/get greet"]
    for span in spans.ended:
        if span["kind"] == "CLIENT" and span["name"] != "initialize" and "notif" not in span["name"]:
            assert span["attributes"]["network.transport"] == transport, span["name"]
    assert spans.one("tools/call fail", "CLIENT")["attributes"]["error.type"] == "tool_error"
    assert found(spans.one("tools/call weather", "CLIENT")) >= {("result.content[0].text", "prompt_injection")}
    media = spans.one("tools/call media", "CLIENT")
    assert found(media) >= {
        ("result.content[2].resource.text", "prompt_injection"),
        ("result.content[4].description", "destructive_command"),
    }
    recorded = media["attributes"]["gen_ai.tool.call.result"]
    assert "iVBORw0KGgo" not in recorded, "no base64 is kept"
    assert recorded.count("characters of base64") == 3
    assert found(spans.one("elicitation/create", "SERVER")) >= {
        ("arguments.message", "prompt_injection"),
        ("result.content.name", "secret"),
    }
    assert found(spans.one("roots/list", "SERVER")) >= {("result.roots[0].name", "prompt_injection")}
    assert found(spans.one("sampling/createMessage", "SERVER")) >= {
        ("messages[0].content.text", "destructive_command"),
        ("result.content.text", "destructive_command"),
    }


@BOTH
@pytest.mark.case("MCP, TypeScript server: progress and cancel")
def test_a_cancelled_call_ends_its_span(spans, server, transport):
    told = []

    async def main():
        async def on_progress(progress, total, message):
            told.append((progress, total, message))
            scope.cancel()

        async with session(server, transport) as opened:
            with anyio.CancelScope() as scope:
                await opened.call_tool("slow", {}, progress_callback=on_progress)
            assert (await opened.call_tool("add", {"a": 1, "b": 2})).structured_content == {"sum": 3}

    anyio.run(main)
    assert told == [(1, 2, "half")]
    slow = spans.one("tools/call slow", "CLIENT")
    assert slow["status"] == "ERROR"
    assert slow["attributes"]["error.type"] == "CancelledError"
    assert spans.one("tools/call add", "CLIENT")["status"] == "UNSET"
