"""Agents whose framework asks a person about a tool, under a policy that asks too; prints what ran and what is stored.

usage: framework_approvals.py FRAMEWORK DECISION FOLDER

DECISION is ``approve``, ``edit`` or ``reject``.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

os.environ |= {"OTEL_SDK_DISABLED": "false"}

from cylestio_monitor.otel import setup
from wire import Text, ToolCall, WireServer

HOOKS = {
    "claude_agent_sdk": ["claude_agent_sdk.ClaudeAgentSDKInstrumentor"],
    "langchain": ["langchain.LangChainInstrumentor", "openai.OpenAIInstrumentor"],
    "openai_agents": ["openai_agents.OpenAIAgentsInstrumentor", "openai.OpenAIInstrumentor"],
}
ran: list[str] = []


def openai_agents(wire: WireServer, decision: str) -> None:
    from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
    from openai import AsyncOpenAI

    set_tracing_disabled(True)

    @function_tool(needs_approval=True)
    def lookup(q: str) -> str:
        """Looks something up."""
        ran.append(q)
        return "found"

    client = AsyncOpenAI(api_key="k", base_url=wire.openai_url, max_retries=0)
    agent = Agent("helper", tools=[lookup], model=OpenAIChatCompletionsModel("gpt-5", client))
    result: Any = Runner.run_sync(agent, "hi")
    state = result.to_state()
    (asked,) = result.interruptions
    if decision == "reject":
        state.reject(asked)
    else:
        state.approve(asked)
    assert Runner.run_sync(agent, state).final_output == "all done"


def langchain(wire: WireServer, decision: str) -> None:
    from langchain.agents import create_agent
    from langchain.agents.middleware import HumanInTheLoopMiddleware
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import Command

    @tool
    def lookup(q: str) -> str:
        """Looks something up."""
        ran.append(q)
        return "found"

    model = ChatOpenAI(model="gpt-5", api_key="k", base_url=wire.openai_url, max_retries=0)
    person: Any = HumanInTheLoopMiddleware(interrupt_on={"lookup": True})
    agent: Any = create_agent(model, [lookup], middleware=[person], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t-1"}}
    assert "__interrupt__" in agent.invoke({"messages": [{"role": "user", "content": "hi"}]}, config)
    answer: dict[str, Any] = {"type": decision}
    if decision == "edit":
        answer["edited_action"] = {"name": "lookup", "args": {"q": "edited"}}
    assert agent.invoke(Command(resume={"decisions": [answer]}), config)["messages"][-1].content == "all done"


CLAUDE = """
import json, sys
def say(**message):
    print(json.dumps({**message, "session_id": "s-1", "uuid": "u"}), flush=True)
if "-v" in sys.argv or "--version" in sys.argv:
    print("99.0.0 (Claude Code)")
    sys.exit()
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "control_request":
        response = {"subtype": "success", "request_id": message["request_id"], "response": {}}
        say(type="control_response", response=response)
    elif message["type"] == "user":
        asked = {"subtype": "can_use_tool", "tool_name": "lookup", "input": {"q": "x"}, "permission_suggestions": []}
        say(type="control_request", request_id="r-1", request=asked)
    elif message["type"] == "control_response":
        answer = json.dumps(message["response"]["response"])
        times = {"duration_ms": 1, "duration_api_ms": 1, "num_turns": 1, "total_cost_usd": 0.1}
        say(type="result", subtype="success", is_error=False, result=answer, usage={}, **times)
"""


def claude_agent_sdk(_: WireServer, decision: str) -> None:
    from claude_agent_sdk import (
        ClaudeAgentOptions,
        ClaudeSDKClient,
        PermissionResultAllow,
        PermissionResultDeny,
        ResultMessage,
    )

    async def ask_person(tool: str, given: dict[str, Any], context: Any) -> Any:
        if decision == "reject":
            return PermissionResultDeny(message="no")
        return PermissionResultAllow(updated_input={"q": "edited"} if decision == "edit" else None)

    async def talk(cli: Path) -> None:
        async with ClaudeSDKClient(ClaudeAgentOptions(cli_path=str(cli), can_use_tool=ask_person)) as client:
            await client.query("hi")
            async for message in client.receive_response():
                if isinstance(message, ResultMessage):
                    given = json.loads(message.result or "{}")
                    ran.extend([given["updatedInput"]["q"]] if given["behavior"] == "allow" else [])

    cli = Path(sys.argv[3]) / "claude"
    cli.write_text(f"#!{sys.executable}\n{CLAUDE}")
    cli.chmod(0o755)
    asyncio.run(talk(cli))


def main() -> None:
    """Runs the agent and prints one line of JSON."""
    framework, decision, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    os.environ["CYLESTIO_DB_PATH"] = str(folder / "own.db")
    settings: dict[str, Any] = {"approvals": {"timeout_s": 1}}
    if (folder / "policy.yaml").exists():
        settings |= {"mode": "block", "policy": str(folder / "policy.yaml")}
    running = setup.start(settings, instrument=False)
    assert running is not None
    for name in HOOKS[framework]:
        module, _, kind = name.partition(".")
        getattr(importlib.import_module(f"cylestio_monitor.capture.{module}"), kind)().instrument()
    with WireServer() as wire:
        wire.answer(ToolCall("lookup", {"q": "x"}, id="call_1"))
        wire.answer(Text("all done"))
        globals()[framework](wire, decision)
    assert running.store is not None
    running.store.flush(10)
    connection = sqlite3.connect(folder / "own.db")
    rows = connection.execute("SELECT tool, state, decided_by, arguments FROM approval ORDER BY created_ns").fetchall()
    events = connection.execute(
        "SELECT event_type FROM events WHERE event_type LIKE 'approval%' ORDER BY id"
    ).fetchall()
    refused = connection.execute("SELECT count(*) FROM spans WHERE attributes LIKE '%\"block\"%'").fetchone()[0]
    connection.close()
    print(json.dumps({"ran": ran, "approvals": rows, "events": [one for (one,) in events], "refused": refused}))


if __name__ == "__main__":
    main()
