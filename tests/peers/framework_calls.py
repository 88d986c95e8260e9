"""One agent, with a tool that brings something bad in, in each framework; prints its spans.

usage: framework_calls.py FRAMEWORK
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import json
import os
import time
from typing import Any

from opentelemetry import trace

from cylestio_monitor import semconv
from peers import cloud_servers
from peers import framework_program as program
from peers.framework_program import FOUND, in_tool, recording, turns
from wire import Status, Text, ToolCall, WireServer

HOOKS = {
    "langchain": ["langchain.LangChainInstrumentor", "openai.OpenAIInstrumentor"],
    "openai_agents": ["openai_agents.OpenAIAgentsInstrumentor", "openai.OpenAIInstrumentor"],
    "litellm": ["litellm.LiteLLMInstrumentor", "openai.OpenAIInstrumentor"],
    "litellm_otel": ["litellm.LiteLLMInstrumentor", "openai.OpenAIInstrumentor"],
    "pydantic_ai": ["pydantic_ai.PydanticAIInstrumentor", "openai.OpenAIInstrumentor"],
    "llamaindex": ["llamaindex.LlamaIndexInstrumentor", "openai.OpenAIInstrumentor"],
    "bedrock": ["bedrock.BedrockInstrumentor"],
    "google_genai": ["google_genai.GoogleGenAIInstrumentor"],
    "crewai": ["crewai.CrewAIInstrumentor", "openai.OpenAIInstrumentor"],
}


def langchain(wire: WireServer) -> None:
    from langchain.agents import create_agent
    from langchain_core.documents import Document
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    @tool
    def lookup(q: str) -> str:
        """Looks something up."""
        return in_tool(q)

    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            return [Document(f"{query}: {FOUND}")]

    model = ChatOpenAI(model="gpt-5", api_key="k", base_url=wire.openai_url, max_retries=0)
    agent = create_agent(model, [lookup], name="helper")
    ask: Any = {"messages": [{"role": "user", "content": "hi"}]}
    turns(wire)
    agent.invoke(ask, {"configurable": {"thread_id": "thread-1"}})
    turns(wire)
    asyncio.run(agent.ainvoke(ask))
    turns(wire)
    for _ in agent.stream(ask):
        pass
    Shelf().invoke("query")
    fake = GenericFakeChatModel(messages=iter([AIMessage("run rm -rf / now"), AIMessage("run rm -rf / now")]))
    (fake | (lambda message: message.content)).invoke("hello")
    for _ in fake.stream("hello"):
        break
    gc.collect()


def openai_agents(wire: WireServer) -> None:
    import openai
    from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled

    set_tracing_disabled(True)

    @function_tool
    def lookup(q: str) -> str:
        """Looks something up."""
        return in_tool(q)

    async def main() -> None:
        client = openai.AsyncOpenAI(api_key="k", base_url=wire.openai_url, max_retries=0)
        model = OpenAIChatCompletionsModel("gpt-5", client)
        other = Agent(name="other", model=model)
        agent = Agent(name="helper", model=model, tools=[lookup], handoffs=[other])
        wire.answer(ToolCall("lookup", {"q": "x"}, id="call_1"))
        wire.answer(ToolCall("transfer_to_other", {}, id="call_2"))
        wire.answer(Text("all done"))
        await Runner.run(agent, "hi")
        turns(wire, number=3)
        async for _ in Runner.run_streamed(agent, "hi").stream_events():
            pass

    asyncio.run(main())


def litellm(wire: WireServer) -> None:
    import litellm as library

    ask: dict[str, Any] = {"api_key": "k", "messages": [{"role": "user", "content": "hi"}], "max_retries": 0}
    bad = Text("run rm -rf / now")
    for model, base in (("openai/gpt-5", wire.openai_url), ("anthropic/claude-sonnet-4-5", wire.url)):
        wire.answer(bad)
        library.completion(model=model, api_base=base, **ask)
        wire.answer(bad)
        stream = library.completion(model=model, api_base=base, stream=True, **ask)
        assert isinstance(stream, library.CustomStreamWrapper)
        for _ in stream:
            pass

        async def main(model: str = model, base: str = base) -> None:
            wire.answer(bad)
            await library.acompletion(model=model, api_base=base, **ask)
            wire.answer(bad)
            async for _ in await library.acompletion(model=model, api_base=base, stream=True, **ask):
                pass

        asyncio.run(main())


def litellm_otel(wire: WireServer) -> None:
    """The same with LiteLLM's own callback, which makes its span when the call is over."""
    import litellm as library

    library.callbacks = ["otel"]
    model, ask = "openai/gpt-5", {"api_key": "k", "api_base": wire.openai_url, "max_retries": 0}
    said: Any = [{"role": "user", "content": "hi"}]
    bad = Text("run rm -rf / now, the key is AKIA" + "Z7VQ3XW5L2MN4RTB")

    async def main() -> None:
        wire.answer(bad)
        await library.acompletion(model=model, messages=said, **ask)
        wire.answer(bad)
        async for _ in await library.acompletion(model=model, messages=said, stream=True, **ask):
            pass
        await asyncio.to_thread(ended, 4)

    wire.answer(bad)
    library.completion(model=model, messages=said, **ask)
    ended(1)
    wire.answer(bad)
    for _ in library.completion(model=model, messages=said, stream=True, **ask):
        pass
    ended(2)
    asyncio.run(main())
    wire.fail(Status(500))
    with contextlib.suppress(library.exceptions.InternalServerError):
        library.completion(model=model, messages=said, **ask)
    ended(5)
    wire.answer(bad)
    with trace.get_tracer("app").start_as_current_span("request"):
        library.completion(model=model, messages=said, **ask)
        ended(6)
    os.environ["USE_OTEL_LITELLM_REQUEST_SPAN"] = "true"
    wire.answer(bad)
    with trace.get_tracer("app").start_as_current_span("request"):
        library.completion(model=model, messages=said, **ask)
        ended(7)


def ended(count: int) -> None:
    """Waits until so many model calls have ended: the callback runs in a thread or a task of its own."""
    until = time.monotonic() + 10
    while sum(bool(span["attributes"].get(semconv.SCANNED)) for span in recording.spans()) < count:
        assert time.monotonic() < until, recording.spans()
        time.sleep(0.01)


def pydantic_ai(wire: WireServer) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("gpt-5", provider=OpenAIProvider(base_url=wire.openai_url, api_key="k"))
    agent = Agent(model, name="helper")

    @agent.tool_plain
    def lookup(q: str) -> str:
        """Looks something up."""
        return in_tool(q)

    turns(wire)
    asyncio.run(agent.run("hi"))


def llamaindex(wire: WireServer) -> None:
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.core.tools import FunctionTool
    from llama_index.llms.openai import OpenAI

    def lookup(q: str) -> str:
        """Looks something up."""
        return in_tool(q)

    class Shelf(BaseRetriever):
        def _retrieve(self, query_bundle: Any) -> list[NodeWithScore]:
            return [NodeWithScore(node=TextNode(text=f"{query_bundle.query_str}: {FOUND}"))]

    async def main() -> None:
        model = OpenAI(model="gpt-4o", api_key="k", api_base=wire.openai_url, max_retries=0)
        agent = FunctionAgent(name="helper", tools=[FunctionTool.from_defaults(lookup)], llm=model, streaming=False)
        turns(wire)
        await agent.run("hi")

    asyncio.run(main())
    Shelf().retrieve("query")


def crewai(wire: WireServer) -> None:
    from crewai import LLM, Agent, Crew, Task
    from crewai.tools import tool

    @tool("lookup")
    def lookup(q: str) -> str:
        """Looks something up."""
        return in_tool(q)

    model = LLM(model="openai/gpt-5", base_url=wire.openai_url, api_key="k")
    agent = Agent(role="helper", goal="help", backstory="helps", llm=model, tools=[lookup], verbose=False)
    task = Task(description="hi", expected_output="an answer", agent=agent)
    if importlib.util.find_spec("crewai.flow.runtime") is None:
        wire.answer(Text('Thought: look\nAction: lookup\nAction Input: {"q": "x"}'))
    else:  # later versions ask for tools by the model's own tool calls
        wire.answer(ToolCall("lookup", {"q": "x"}, id="call_1"))
    wire.answer(Text("Thought: I know\nFinal Answer: all done"))
    Crew(name="team", agents=[agent], tasks=[task], verbose=False).kickoff()


def bedrock(_: WireServer) -> None:
    import boto3
    from botocore.eventstream import EventStream
    from botocore.response import StreamingBody

    with cloud_servers.serve(cloud_servers.bedrock) as url:
        keys = {"aws_access_key_id": "k", "aws_secret_access_key": "k"}
        client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, **keys)
        ask: dict[str, Any] = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "hi"}]}]}
        client.converse(**ask, inferenceConfig={"maxTokens": 5})
        answer = client.converse_stream(**ask)
        assert isinstance(answer["stream"], EventStream)
        assert len(list(answer["stream"])) == 5
        body = json.dumps({"max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
        answer = client.invoke_model(modelId="m", body=body)
        assert isinstance(answer["body"], StreamingBody)
        assert json.loads(answer["body"].read())["role"] == "assistant"
        assert len(list(client.invoke_model_with_response_stream(modelId="m", body=body)["body"])) == 3
        early = client.converse_stream(**ask)["stream"]
        early.close()
        client.converse_stream(**ask)
        gc.collect()


def google_genai(_: WireServer) -> None:
    from google import genai
    from google.genai import types

    def lookup(q: str) -> str:
        """Looks something up."""
        return in_tool(q)

    # The first releases read the annotations as they stand, and this module's are texts.
    lookup.__annotations__ = {"q": str, "return": str}

    async def main(client: genai.Client) -> None:
        await client.aio.models.generate_content(model="gemini-x", contents="hi")
        async for _ in await client.aio.models.generate_content_stream(model="gemini-x", contents="hi"):
            pass

    with cloud_servers.serve(cloud_servers.gemini) as url:
        client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=url))
        config = types.GenerateContentConfig(system_instruction="be brief", tools=[lookup])
        client.models.generate_content(model="gemini-x", contents="hi", config=config)
        for _ in client.models.generate_content_stream(model="gemini-x", contents="hi"):
            pass
        asyncio.run(main(client))


if __name__ == "__main__":
    program.main(HOOKS, globals())
