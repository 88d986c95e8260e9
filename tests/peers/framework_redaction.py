"""Tools of several frameworks under a policy that redacts; prints what each tool got and what came back.

usage: framework_redaction.py FRAMEWORK FOLDER
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"OTEL_SDK_DISABLED": "false"}

from cylestio_monitor.otel import setup
from wire import Text, ToolCall, WireServer

MAIL, OTHER = "ann.lee@corp-example.net", "bob.ray@corp-example.net"
POLICY = "mode: block\nrules:\n  - {id: mask, action: redact}\n"
got: list[str] = []


def lookup(to: str) -> str:
    """Looks something up."""
    got.append(to)
    return f"sent to {to} and {OTHER}"


def langchain() -> str:
    from langchain_core.tools import tool

    return str(tool(lookup).invoke({"to": MAIL}))


def langchain_message() -> str:
    from langchain_core.tools import tool

    call = {"name": "lookup", "args": {"to": MAIL}, "id": "c1", "type": "tool_call"}
    answer: Any = tool(lookup).invoke(call)
    assert type(answer).__name__ == "ToolMessage", type(answer)
    return str(answer.content)


def llamaindex() -> str:
    from llama_index.core.tools import FunctionTool

    answer: Any = FunctionTool.from_defaults(lookup).call(to=MAIL)
    assert type(answer).__name__ == "ToolOutput", type(answer)
    assert answer.content == answer.raw_output
    return str(answer.content)


def crewai() -> str:
    from crewai.tools import tool

    return str(tool("lookup")(lookup).run(to=MAIL))


def openai_agents() -> str:
    from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
    from openai import AsyncOpenAI

    set_tracing_disabled(True)
    with WireServer() as wire:
        wire.answer(ToolCall("lookup", {"to": MAIL}))
        wire.answer(Text("all done"))
        client = AsyncOpenAI(api_key="k", base_url=wire.openai_url, max_retries=0)
        agent = Agent("helper", tools=[function_tool(lookup)], model=OpenAIChatCompletionsModel("gpt-5", client))
        assert asyncio.run(Runner.run(agent, "hi")).final_output == "all done"
        sent = json.dumps([request.body for request in wire.requests])
        assert "@" not in sent, sent
        return sent[sent.index("sent to") : sent.index("[EMAIL_2]") + 9]


RUNS = {
    "langchain": ("langchain.LangChainInstrumentor", langchain),
    "langchain_message": ("langchain.LangChainInstrumentor", langchain_message),
    "llamaindex": ("llamaindex.LlamaIndexInstrumentor", llamaindex),
    "crewai": ("crewai.CrewAIInstrumentor", crewai),
    "openai_agents": ("openai_agents.OpenAIAgentsInstrumentor", openai_agents),
}


def main() -> None:
    """Runs the tool and prints one line of JSON."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    (folder / "policy.yaml").write_text(POLICY)
    os.environ["CYLESTIO_DB_PATH"] = str(folder / "own.db")
    settings = {"mode": "block", "policy": str(folder / "policy.yaml"), "session_id": "s"}
    assert setup.start(settings, instrument=False) is not None
    hook, work = RUNS[name]
    for one in (hook, "openai.OpenAIInstrumentor"):
        module, _, kind = one.partition(".")
        getattr(importlib.import_module(f"cylestio_monitor.capture.{module}"), kind)().instrument()
    answer = work()
    print(json.dumps({"got": got, "answer": answer}))


if __name__ == "__main__":
    main()
