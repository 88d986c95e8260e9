"""One agent, with a tool that brings something bad in, in frameworks that make OpenTelemetry spans themselves or none.

usage: framework_agents.py FRAMEWORK
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peers import cloud_servers
from peers import framework_program as program
from peers.framework_program import in_tool, turns
from wire import Text

if TYPE_CHECKING:
    from wire import WireServer

HOOKS = {
    "claude_agent_sdk": ["claude_agent_sdk.ClaudeAgentSDKInstrumentor"],
    "smolagents": ["smolagents.SmolagentsInstrumentor", "openai.OpenAIInstrumentor"],
    "smolagents_code": ["smolagents.SmolagentsInstrumentor", "openai.OpenAIInstrumentor"],
    "strands": ["strands.StrandsInstrumentor", "openai.OpenAIInstrumentor"],
    "google_adk": ["google_adk.GoogleADKInstrumentor", "google_genai.GoogleGenAIInstrumentor"],
    "agent_framework": ["agent_framework.AgentFrameworkInstrumentor", "openai.OpenAIInstrumentor"],
}


def smolagents(wire: WireServer) -> None:
    from smolagents import OpenAIServerModel, ToolCallingAgent, tool

    @tool
    def lookup(q: str) -> str:
        """Looks something up.

        Args:
            q: The question.
        """
        return in_tool(q)

    model = OpenAIServerModel(model_id="gpt-5", api_base=wire.openai_url, api_key="k")
    agent = ToolCallingAgent(tools=[lookup], model=model, name="helper", description="helps", verbosity_level=0)
    turns(wire)
    wire.answer(program.answer_with("final_answer", {"answer": "all done"}))
    assert agent.run("hi") == "all done"


def smolagents_code(wire: WireServer) -> None:
    from smolagents import CodeAgent, OpenAIServerModel, tool

    @tool
    def lookup(q: str) -> str:
        """Looks something up.

        Args:
            q: The question.
        """
        return in_tool(q)

    model = OpenAIServerModel(model_id="gpt-5", api_base=wire.openai_url, api_key="k")
    agent = CodeAgent(tools=[lookup], model=model, name="helper", description="helps", verbosity_level=0)
    wire.answer(Text("<code>\nprint(lookup('x'))\nfinal_answer('all done')\n</code>"))
    assert agent.run("hi") == "all done"


def strands(wire: WireServer) -> None:
    from strands import Agent, tool
    from strands.models.openai import OpenAIModel

    @tool
    def lookup(q: str) -> str:
        """Looks something up.

        Args:
            q: The question.
        """
        return in_tool(q)

    model = OpenAIModel(client_args={"api_key": "k", "base_url": wire.openai_url}, model_id="gpt-5")
    agent = Agent(model=model, tools=[lookup], name="helper", callback_handler=None)
    turns(wire)
    assert "all done" in str(agent("hi"))


def google_adk(_: WireServer) -> None:
    from google.adk.agents import LlmAgent
    from google.adk.models.google_llm import Gemini
    from google.adk.runners import InMemoryRunner
    from google.genai import types

    def lookup(q: str) -> str:
        """Looks something up."""
        return in_tool(q)

    async def main(url: str) -> None:
        agent = LlmAgent(name="helper", model=Gemini(model="gemini-x", base_url=url), tools=[lookup])
        runner = InMemoryRunner(agent=agent, app_name="app")
        session = await runner.session_service.create_session(app_name="app", user_id="user-1", session_id="session-1")
        message = types.Content(role="user", parts=[types.Part(text="hi")])
        async for _ in runner.run_async(user_id="user-1", session_id=session.id, new_message=message):
            pass

    os.environ["GOOGLE_API_KEY"] = "k"
    with cloud_servers.serve(cloud_servers.gemini) as url:
        asyncio.run(main(url))


def agent_framework(wire: WireServer) -> None:
    from agent_framework import Agent
    from agent_framework.openai import OpenAIChatCompletionClient

    def lookup(q: str) -> str:
        """Looks something up."""
        return in_tool(q)

    async def main() -> None:
        client = OpenAIChatCompletionClient(model="gpt-5", api_key="k", base_url=wire.openai_url)
        agent: Any = Agent(client=client, name="helper", tools=[lookup])
        turns(wire)
        assert "all done" in str(await agent.run("hi"))

    asyncio.run(main())


def claude_agent_sdk(_: WireServer) -> None:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage, query

    asked = os.environ.get("CYLESTIO_TEST_TOOL_INPUT", "hi")

    async def main(cli: Path) -> None:
        options = ClaudeAgentOptions(cli_path=str(cli))
        seen = [message async for message in query(prompt=asked, options=options)]
        assert isinstance(seen[-1], ResultMessage)
        async with ClaudeSDKClient(options) as client:
            await client.query(asked)
            async for _ in client.receive_response():
                pass

    with tempfile.TemporaryDirectory() as folder:
        cli = Path(folder) / "claude"
        program = Path(__file__).with_name("claude_code.py").read_text("utf-8")
        cli.write_text(f"#!{sys.executable}\n{program}", "utf-8")
        cli.chmod(0o700)
        asyncio.run(main(cli))


if __name__ == "__main__":
    program.main(HOOKS, globals())
