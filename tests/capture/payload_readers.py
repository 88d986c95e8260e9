"""The readers of every provider and framework, each with a recorded payload and the way in which it is read."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic.types
import openai.types.responses

from capture.odd_values import JSON, PYTHON
from capture.payloads import Payloads, names, recorded
from cylestio_monitor.capture.external_spans import reader as external
from cylestio_monitor.capture.frameworks import claude_agent_sdk
from cylestio_monitor.capture.frameworks.langchain import hooks as langchain
from cylestio_monitor.capture.frameworks.litellm import hooks as litellm
from cylestio_monitor.capture.http_client.endpoint import Endpoint
from cylestio_monitor.capture.http_client.observed_answer import ObservedAnswer
from cylestio_monitor.capture.mcp import exchange as mcp
from cylestio_monitor.capture.mcp import messages as mcp_messages
from cylestio_monitor.capture.parsing.fields import Fields
from cylestio_monitor.capture.parsing.reading import read_call, read_result
from cylestio_monitor.capture.sdks.anthropic import endpoints as anthropic_endpoints
from cylestio_monitor.capture.sdks.bedrock import converse, hooks, invoke_model
from cylestio_monitor.capture.sdks.openai import endpoints as openai_endpoints
from cylestio_monitor.capture.sdks.plain_http import formats
from cylestio_monitor.capture.sdks.plain_http.exchange import PlainClient
from cylestio_monitor.capture.sdks.stainless import llama
from cylestio_monitor.model import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.pipeline import Pipeline


class Reader(NamedTuple):
    """One side of what a module of `capture` reads.

    Attributes:
        payload: What it reads.
        run: Makes a whole call of it, as the module does.
        values: The odd values that can stand in it.
    """

    payload: Any
    run: Callable[[Pipeline, Any], None]
    values: dict[str, Any] = JSON


def parsed(value: Any) -> Any:
    """JSON as the readers of bodies parse it."""
    if isinstance(value, dict):
        return Fields({key: parsed(item) for key, item in value.items()})
    return [parsed(item) for item in value] if isinstance(value, list) else value


def ask(endpoint: Endpoint, url: str, pipeline: Pipeline, body: Any) -> None:
    call = read_call(lambda: endpoint.call(PlainClient(url), body, False), body, lambda: Call("chat", "chat"))
    pipeline.begin(call).end(None)


def tell(endpoint: Endpoint, pipeline: Pipeline, body: Any) -> None:
    call = Call("chat", "chat m", provider="p")
    invocation = pipeline.begin(call)
    invocation.end(read_result(endpoint.result, parsed(body), call))


def typed(endpoint: Endpoint, sdk: Any, kind: Any, pipeline: Pipeline, body: Any) -> None:
    call = Call("chat", "chat m", provider="p")
    invocation = pipeline.begin(call)
    invocation.end(read_result(endpoint.result, sdk._models.construct_type(type_=kind, value=body), call))


def stream(endpoint: Endpoint, pipeline: Pipeline, events: Any, made: Callable[[Any], Any] = parsed) -> None:
    invocation = pipeline.begin(Call("chat", "chat m", provider="p"))
    answer = ObservedAnswer(invocation, endpoint.fold(invocation))
    for event in events:
        answer.observe(made(event))
    answer.finished()


def readers(name: str, endpoint: Endpoint | None, exchange: Payloads, url: str = "") -> dict[str, Reader]:
    assert endpoint is not None, name
    made = {}
    if exchange.request is not None:
        url = f"http://127.0.0.1:9{url}"
        run = functools.partial(ask, endpoint, url)
        made[f"{name}: request"] = Reader(exchange.request, run, {**JSON, **PYTHON})
    if exchange.answer is not None:
        made[f"{name}: answer"] = Reader(exchange.answer, functools.partial(tell, endpoint))
    if exchange.events:
        made[f"{name}: stream"] = Reader(exchange.events, functools.partial(stream, endpoint))
    return made


def typed_readers(name: str, endpoint: Any, sdk: Any, exchange: Any, kind: Any, event: Any) -> dict[str, Reader]:
    return {
        f"{name}: answer of the SDK": Reader(exchange.answer, functools.partial(typed, endpoint, sdk, kind)),
        f"{name}: stream of the SDK": Reader(
            exchange.events,
            functools.partial(stream, endpoint, made=lambda one: sdk._models.construct_type(type_=event, value=one)),
        ),
    }


def _bedrock(operation: str, result: Any, fold: Any) -> Endpoint:
    client = SimpleNamespace(meta=SimpleNamespace(endpoint_url="http://127.0.0.1:9"))
    return Endpoint(lambda _, body, __: hooks._call(client, operation, body), result, fold)


def _invoke(family: str) -> Endpoint:
    def call(_: Any, body: Any, __: bool) -> Call:
        made = Call("chat", "chat m", provider="aws.bedrock", model=family)
        invoke_model.read_request(made, body)
        made.attributes = hooks.facts.parameters(body)
        return made

    return Endpoint(call, lambda body, call: invoke_model.answer(body, call, {}), invoke_model.InvokeFold)


class _Session:
    """Stands for the session of an MCP SDK."""


def _mcp_ask(method: str, _: Pipeline, body: Any) -> None:
    exchange = mcp.Exchanges().send(_Session(), None, method, body)
    assert exchange is not None
    exchange.meta(body)
    exchange.succeed({}, lambda answer: answer)


def _mcp_tell(method: str, _: Pipeline, body: Any) -> None:
    exchange = mcp.Exchanges().send(_Session(), None, method, {"name": "t"})
    assert exchange is not None
    exchange.succeed(body, mcp_messages.dumped)


def _claude_code(_: Pipeline, messages: Any) -> None:
    process = claude_agent_sdk._Process()
    process.prompt("hi")
    for message in messages:
        claude_agent_sdk._take(process, message)
    process.end()


def _external(pipeline: Pipeline, attributes: Any) -> None:
    reading = external.read("span", attributes, [])
    pipeline.begin(reading.call).end(reading.result)


class _Dumped:
    """An object of a framework that dumps itself."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def model_dump(self, **_: Any) -> Any:
        return self.value


def _litellm_ask(pipeline: Pipeline, body: Any) -> None:
    call = read_call(lambda: litellm._call("chat", (), body), body, lambda: Call("chat", "chat m"))
    pipeline.begin(call).end(None)


def _litellm_tell(pipeline: Pipeline, body: Any) -> None:
    pipeline.begin(Call("chat", "chat m", provider="p")).end(read_result(litellm._answer, _Dumped(body)))


def _litellm_stream(pipeline: Pipeline, chunks: Any) -> None:
    stream(_CHAT, pipeline, chunks, made=lambda chunk: litellm._plain(_Dumped(chunk)))


_LANGCHAIN = {
    "type": "ai",
    "content": [{"type": "text", "text": "zq20x"}],
    "tool_calls": [{"name": "t", "args": {"q": "zq21x"}, "id": "c1"}],
    "response_metadata": {"finish_reason": "stop", "model_name": "m"},
    "usage_metadata": {"input_tokens": 5, "output_tokens": 4},
}


def _langchain_tell(pipeline: Pipeline, message: Any) -> None:
    answer = SimpleNamespace(generations=[SimpleNamespace(message=SimpleNamespace(**message))])
    pipeline.begin(Call("chat", "chat m", provider="p")).end(read_result(langchain._answer, answer))


def _langchain_ask(pipeline: Pipeline, message: Any) -> None:
    def read() -> Call:
        return Call("chat", "chat m", provider="p", messages=langchain._messages([SimpleNamespace(**message)]))

    pipeline.begin(read_call(read, message, lambda: Call("chat", "chat m"))).end(None)


_CHAT = openai_endpoints.endpoint("post", "/chat/completions")
_RESPONSES = openai_endpoints.endpoint("post", "/responses")
_MESSAGES = anthropic_endpoints.endpoint("post", "/v1/messages")


def native_readers(name: str, path: str, recording: str) -> dict[str, Reader]:
    """The readers of an API that is told by its path and its body."""
    exchange = recorded(recording)
    return readers(name, formats.find(path, exchange.request, {}, is_named=False), exchange, path)


_COUNTS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 4}}
_FAMILIES = {
    "anthropic": recorded("anthropic")._replace(events=[*recorded("anthropic").events, _COUNTS]),
    "openai": recorded("chat")._replace(events=[*recorded("chat").events[:-1], _COUNTS]),
    "nova": recorded("converse"),
    **names("invoke_"),
}


def _mcp_readers(method: str, exchange: Payloads) -> dict[str, Reader]:
    return {
        f"MCP {method}: request": Reader(exchange.request, functools.partial(_mcp_ask, method), {**JSON, **PYTHON}),
        f"MCP {method}: answer": Reader(exchange.answer, functools.partial(_mcp_tell, method)),
    }


READERS: dict[str, Reader] = {
    **readers("Anthropic", _MESSAGES, recorded("anthropic")),
    **typed_readers(
        "Anthropic",
        _MESSAGES,
        anthropic,
        recorded("anthropic"),
        anthropic.types.Message,
        anthropic.types.RawMessageStreamEvent,
    ),
    **readers(
        "Anthropic batch",
        anthropic_endpoints.endpoint("post", "/v1/messages/batches"),
        recorded("anthropic_batch")._replace(events=()),
    ),
    **readers(
        "Anthropic results of a batch",
        anthropic_endpoints.endpoint("get", "/v1/messages/batches/b/results"),
        Payloads(events=recorded("anthropic_batch").events),
    ),
    **readers(
        "Anthropic completion", anthropic_endpoints.endpoint("post", "/v1/complete"), recorded("anthropic_completion")
    ),
    **readers("OpenAI chat", _CHAT, recorded("chat")),
    **typed_readers(
        "OpenAI chat",
        _CHAT,
        openai,
        recorded("chat"),
        openai.types.chat.ChatCompletion,
        openai.types.chat.ChatCompletionChunk,
    ),
    **readers("OpenAI responses", _RESPONSES, recorded("responses")),
    **readers("OpenAI responses, whole", _RESPONSES, recorded("responses_whole")._replace(request=None)),
    **typed_readers(
        "OpenAI responses",
        _RESPONSES,
        openai,
        recorded("responses"),
        openai.types.responses.Response,
        openai.types.responses.ResponseStreamEvent,
    ),
    **readers("OpenAI completions", openai_endpoints.endpoint("post", "/completions"), recorded("completion")),
    **readers("OpenAI embeddings", openai_endpoints.endpoint("post", "/embeddings"), recorded("embeddings")),
    **readers("OpenAI decisions", openai_endpoints.endpoint("post", "/decisions"), recorded("decision")),
    **readers("OpenAI audio", openai_endpoints.endpoint("post", "/audio/transcriptions"), recorded("transcription")),
    **native_readers("Cohere", "/v2/chat", "cohere"),
    **native_readers("Cohere 1", "/v1/chat", "cohere_1"),
    **native_readers("Cohere rerank", "/v2/rerank", "rerank"),
    **native_readers("Cohere embed", "/v2/embed", "cohere_embed"),
    **native_readers("Ollama", "/api/chat", "ollama"),
    **native_readers("Ollama generate", "/api/generate", "ollama_generate"),
    **native_readers("Ollama embed", "/api/embed", "ollama_embed"),
    **native_readers("Gemini", "/v1beta/models/m:generateContent", "gemini"),
    **native_readers("Gemini embeddings", "/v1beta/models/m:batchEmbedContents", "gemini_embed"),
    **readers("Llama", llama.endpoint("post", "/chat/completions"), recorded("llama")),
    **readers(
        "Bedrock converse",
        _bedrock("Converse", lambda body, _: converse.answer(body), converse.ConverseFold),
        recorded("converse"),
    ),
    **{
        key: reader
        for family, exchange in _FAMILIES.items()
        for key, reader in readers(f"Bedrock invoke, {family}", _invoke(family), exchange).items()
    },
    **{
        key: reader
        for name, exchange in names("mcp_").items()
        for key, reader in _mcp_readers(name.replace("_", "/"), exchange).items()
    },
    "Claude Code: messages": Reader(recorded("claude_code").events, _claude_code),
    "LiteLLM: request": Reader(recorded("chat").request, _litellm_ask, {**JSON, **PYTHON}),
    "LiteLLM: answer": Reader(recorded("chat").answer, _litellm_tell),
    "LiteLLM: stream": Reader(recorded("chat").events, _litellm_stream),
    "LangChain: answer": Reader(_LANGCHAIN, _langchain_tell, {**JSON, **PYTHON}),
    "LangChain: request": Reader(_LANGCHAIN, _langchain_ask, {**JSON, **PYTHON}),
    **{
        f"span of another instrumentation: {name}": Reader(exchange.request, _external)
        for name, exchange in names("span_").items()
    },
}
