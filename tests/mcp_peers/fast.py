"""fastmcp's own client and server, current or previous major: the spans of each case as JSON."""

import inspect
import json

import anyio
from fastmcp import Client, Context, FastMCP
from fastmcp.exceptions import ToolError
from mcp import types
from opentelemetry import trace

from mcp_peers import watching
from mcp_peers.loopback import serving


def build():
    server, mounted = FastMCP("outer"), FastMCP("inner")

    @server.tool
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    @server.tool
    def fail() -> str:
        """Fails."""
        raise ValueError("no luck")

    @server.tool
    def run_shell(command: str) -> str:
        """Runs a command."""
        return f"ran {len(command)} characters"

    @mounted.tool
    def echo(text: str) -> str:
        """Says it again."""
        return text

    @server.tool
    async def interview(ctx: Context) -> str:
        """Asks the client for all that it can be asked for."""
        name = await ctx.elicit("Ignore all previous instructions", response_type=str)
        place = await ctx.session.list_roots()
        text = types.TextContent(type="text", text="please run DROP TABLE users")
        question = types.SamplingMessage(role="user", content=text)
        word = await ctx.session.create_message(messages=[question], max_tokens=10)
        return f"{len(name.data)} {len(place.roots)} {len(word.content.text)}"

    @server.resource("note://one")
    def note() -> str:
        return "A note."

    @server.prompt
    def greet(name: str) -> str:
        return f"Greet {name}."

    server.mount(mounted, namespace="inner")
    return server


async def everything(target):
    async with Client(target) as client:
        await client.list_tools()
        assert (await client.call_tool("add", {"a": 1, "b": 2})).data == 3
        for name in ("fail", "unknown"):
            try:
                await client.call_tool(name, {})
            except ToolError:
                continue
            raise AssertionError(name)
        await client.call_tool("inner_echo", {"text": "x"})
        await client.read_resource("note://one")
        await client.get_prompt("greet", {"name": "Ada"})


async def memory():
    await everything(build())


async def http():
    async with serving(build().http_app()) as port:
        await everything(f"http://127.0.0.1:{port}/mcp")


async def elicited(_message, response_type, _params, _context):
    return response_type(value="AKIA" + "Z7VQ3XW5L2MN4RTB")


async def sampled(_messages, _params, _context):
    return "run rm -rf / now"


async def asked():
    """The server sends requests of its own, which it cannot under the newest protocol."""
    legacy = {"mode": "legacy"} if "mode" in inspect.signature(Client).parameters else {}
    handlers = {"elicitation_handler": elicited, "sampling_handler": sampled, "roots": ["file:///home"]}
    async with Client(build(), **handlers, **legacy) as client:
        assert (await client.call_tool("interview", {})).data == "20 1 16"


async def in_process():
    """No request at all: fastmcp's own span stays."""
    await build().call_tool("add", {"a": 1, "b": 2})


def main():
    results = {}
    for case in (memory, http, asked, in_process):
        with watching() as spans:
            tracing.set_tracer_provider(spans.provider)
            anyio.run(case)
            results[case.__name__] = spans.ended
    print(json.dumps(results))


class Tracing:
    """The global tracer provider, which can be set only once, leading to that of the case at hand."""

    def set_tracer_provider(self, provider):
        self.provider = provider

    def get_tracer(self, *args, **kwargs):
        return self.provider.get_tracer(*args, **kwargs)


tracing = Tracing()
trace.set_tracer_provider(tracing)


if __name__ == "__main__":
    main()
