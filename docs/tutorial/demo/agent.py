"""A release assistant: reads a repository through the git MCP server and keeps a small database of releases.

It knows nothing of the monitoring around it. Its own span is the one that any traced program has.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import anthropic
from mcp import Client, StdioServerParameters
from mcp.server.mcpserver import MCPServer
from opentelemetry import trace

if TYPE_CHECKING:
    from anthropic.types import MessageParam, ToolParam, ToolResultBlockParam

MODEL = "claude-sonnet-4-5"
SYSTEM = "You write release notes. Read the repository with the git tools. Releases are kept in the table `releases`."


def without_path(schema: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the model gives: the agent itself names the repository."""
    properties = {name: value for name, value in schema["properties"].items() if name != "repo_path"}
    return {**schema, "properties": properties, "required": [name for name in schema["required"] if name in properties]}


def releases(database: sqlite3.Connection) -> MCPServer:
    """The tools of the database."""
    server = MCPServer("releases")

    @server.tool()
    def run_sql(statement: str) -> str:
        """Run one SQL statement on the database of releases."""
        return str(database.execute(statement).fetchall())

    return server


async def answer(question: str, repository: str, database: sqlite3.Connection) -> str:
    """Lets the model use its tools until it has an answer."""
    reader = StdioServerParameters(command=sys.executable, args=["-m", "mcp_server_git", "--repository", repository])
    async with anthropic.AsyncAnthropic() as model, Client(reader) as git, Client(releases(database)) as sql:
        servers = {tool.name: (client, tool) for client in (git, sql) for tool in (await client.list_tools()).tools}
        tools: list[ToolParam] = [
            {"name": name, "description": tool.description or "", "input_schema": without_path(tool.input_schema)}
            for name, (_, tool) in servers.items()
        ]
        messages: list[MessageParam] = [{"role": "user", "content": question}]
        while True:
            turn = await model.messages.create(
                model=MODEL, max_tokens=1024, system=SYSTEM, tools=tools, messages=messages
            )
            messages.append({"role": "assistant", "content": turn.content})
            results: list[ToolResultBlockParam] = []
            for block in turn.content:
                if block.type != "tool_use":
                    continue
                client, _ = servers[block.name]
                arguments = {"repo_path": repository, **block.input} if client is git else block.input
                result = await client.call_tool(block.name, arguments)
                content = "\n".join(part.text for part in result.content if part.type == "text")
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": content})
            if not results:
                return "".join(block.text for block in turn.content if block.type == "text")
            messages.append({"role": "user", "content": results})


def main() -> None:
    """Answers the question of the command line."""
    repository, question = sys.argv[1:]
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as database:
        database.execute("CREATE TABLE releases (version TEXT)")
        with trace.get_tracer("release-assistant").start_as_current_span("write release notes"):
            print(asyncio.run(answer(question, repository, database)))


if __name__ == "__main__":
    main()
