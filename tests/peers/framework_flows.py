"""Pauses, hand-overs, batches, failing tools and workflows of several agents; prints their spans.

usage: framework_flows.py FRAMEWORK
"""

from __future__ import annotations

import asyncio
from typing import Any

from peers import framework_program as program
from peers.framework_program import in_tool, turns
from wire import Text, ToolCall, WireServer

HOOKS = {
    "langchain_control": ["langchain.LangChainInstrumentor", "openai.OpenAIInstrumentor"],
    "openai_agents_tools": ["openai_agents.OpenAIAgentsInstrumentor", "openai.OpenAIInstrumentor"],
    "llamaindex_workflow": ["llamaindex.LlamaIndexInstrumentor", "openai.OpenAIInstrumentor"],
}


def langchain_control(wire: WireServer) -> None:
    """Pauses, hand-overs, batches and sequences, with the thread and the user that a run names."""
    from langchain.agents import create_agent
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.types import Command, interrupt

    @tool
    def lookup(q: str) -> str:
        """Looks something up."""
        return in_tool(q) + str(interrupt("may I?"))

    @tool
    def transfer(q: str) -> Any:
        """Hands over."""
        from langgraph.errors import ParentCommand

        raise ParentCommand(Command(goto="other", graph=Command.PARENT))

    model = ChatOpenAI(model="gpt-5", api_key="k", base_url=wire.openai_url, max_retries=0)
    ask: Any = {"messages": [{"role": "user", "content": "hi"}]}
    config: Any = {"configurable": {"thread_id": "thread-1", "user_id": "user-1"}}
    agent = create_agent(model, [lookup], name="helper", checkpointer=InMemorySaver())
    wire.answer(ToolCall("lookup", {"q": "x"}, id="call_1"))
    assert "__interrupt__" in agent.invoke(ask, config)
    wire.answer(Text("all done"))
    assert agent.invoke(Command(resume="yes"), config)["messages"][-1].content == "all done"

    first = create_agent(model, [transfer], name="first")
    graph: Any = StateGraph(MessagesState)
    graph.add_node("first", first, destinations=("other",))
    graph.add_node("other", lambda _: {"messages": []})
    graph.add_edge(START, "first")
    graph.add_edge("other", END)
    wire.answer(ToolCall("transfer", {"q": "x"}, id="call_2"))
    graph.compile(name="whole").invoke(ask)

    wire.answer(Text("one"))
    (ChatPromptTemplate.from_template("{q}") | model).invoke({"q": "x"})
    chain = ChatPromptTemplate.from_template("{q}") | model | StrOutputParser()
    both: Any = [{"q": "a"}, {"q": "b"}]

    async def main() -> None:
        assert await chain.abatch(both) == ["one", "one"]
        assert await chain.abatch(both[:1]) == ["one"]

    for _ in range(6):
        wire.answer(Text("one"))
    assert chain.batch(both) == ["one", "one"]
    assert chain.batch(both[:1]) == ["one"]
    asyncio.run(main())


def openai_agents_tools(wire: WireServer) -> None:
    """Tools that raise, by default handled by the SDK, and one of the SDK's built-in tools; every tool stays itself."""
    import copy
    import dataclasses

    import openai
    from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
    from agents.exceptions import UserError

    set_tracing_disabled(True)

    @function_tool
    def handled(q: str) -> str:
        """Raises, and the SDK tells the model."""
        raise ValueError(q)

    @function_tool(failure_error_function=None)
    def raising(q: str) -> str:
        """Raises, and the run ends."""
        raise KeyError(q)

    for tool in (handled, copy.copy(handled), dataclasses.replace(handled, name="other")):
        assert tool.on_invoke_tool is tool.on_invoke_tool
        assert vars(tool)["on_invoke_tool"] is tool.on_invoke_tool
        assert type(tool.on_invoke_tool).__module__ == "agents.tool"

    async def main() -> None:
        client = openai.AsyncOpenAI(api_key="k", base_url=wire.openai_url, max_retries=0)
        model = OpenAIChatCompletionsModel("gpt-5", client)
        agent = Agent(name="helper", model=model, tools=[handled, raising])
        wire.answer(ToolCall("handled", {"q": "x"}, id="call_1"))
        wire.answer(Text("it failed"))
        assert (await Runner.run(agent, "hi")).final_output == "it failed"
        wire.answer(ToolCall("raising", {"q": "x"}, id="call_2"))
        cause = None
        try:
            await Runner.run(agent, "hi")
        except UserError as error:
            cause = error.__cause__
        assert repr(cause) == "KeyError('x')"

    asyncio.run(main())


def llamaindex_workflow(wire: WireServer) -> None:
    """Two agents that hand over to each other."""
    from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
    from llama_index.core.tools import FunctionTool
    from llama_index.llms.openai import OpenAI

    def lookup(q: str) -> str:
        """Looks something up."""
        return in_tool(q)

    async def main() -> None:
        model = OpenAI(model="gpt-4o", api_key="k", api_base=wire.openai_url, max_retries=0)
        first = FunctionAgent(name="first", description="asks", llm=model, streaming=False, can_handoff_to=["second"])
        tools = [FunctionTool.from_defaults(lookup)]
        second = FunctionAgent(name="second", description="knows", llm=model, streaming=False, tools=tools)
        wire.answer(ToolCall("handoff", {"to_agent": "second", "reason": "it knows"}, id="call_1"))
        turns(wire)
        await AgentWorkflow(agents=[first, second], root_agent="first").run("hi")

    asyncio.run(main())


if __name__ == "__main__":
    program.main(HOOKS, globals())
