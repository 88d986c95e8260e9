"""fastmcp's own client and server, current or previous major: the spans of each case as JSON."""

import json

import anyio
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError
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


async def in_process():
    """No request at all: fastmcp's own span stays."""
    await build().call_tool("add", {"a": 1, "b": 2})


def main():
    results = {}
    for case in (memory, http, in_process):
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
