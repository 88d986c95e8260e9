"""The OpenAI SDK: which requests are observed, and as what."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from cylestio_monitor import runtime, semconv
from cylestio_monitor.capture.external_spans import scopes
from cylestio_monitor.capture.http_client import sdk_client
from cylestio_monitor.capture.http_client.provider_names import server
from cylestio_monitor.capture.http_client.sdk_client import Endpoint
from cylestio_monitor.capture.parsing.fields import as_dict, as_list, text_or_none
from cylestio_monitor.capture.sdks.openai import chat, responses
from cylestio_monitor.model import Call, Message, Part, Result

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.pipeline import Invocation, Pipeline


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the clients' request methods; for OpenLLMetry, whose spans come after the call, enables external spans."""
    if module.__name__ == scopes.OPENLLMETRY_RESPONSES:
        runtime.whenever_made(_enable_external_spans)
    else:
        sdk_client.patch(module, patches, _SDK())


def _enable_external_spans(pipeline: Pipeline) -> None:
    from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- few have both

    span_tracker.look_out(pipeline)


class _SDK:
    """What the OpenAI SDK makes of its requests: it traces nothing itself."""

    def endpoint(self, method: str, url: str) -> Endpoint | None:
        return _endpoint(method.lower(), url)

    def own_trace(self, _: Any, __: Invocation) -> dict[str, Any] | None:
        return None


def _call(client: Any, body: Any, operation: str, *, stream: bool = False, api: str | None = None) -> Call:
    """What all requests have in common."""
    model = text_or_none(body.get("model"))
    there = server(client, "openai")
    attributes = chat.parameters(body)
    if stream:
        attributes[semconv.REQUEST_STREAM] = True
    if api:
        attributes[semconv.OPENAI_API_TYPE] = api
    return Call(
        operation,
        f"{operation} {model}" if model else operation,
        provider=there.provider,
        model=model,
        attributes=attributes,
        server_address=there.address,
        server_port=there.port,
        user_id=text_or_none(body.get("safety_identifier") or body.get("user")),
    )


def _chat(client: Any, body: Any, stream: bool) -> Call:
    call = _call(client, body, "chat", stream=stream, api="chat_completions")
    call.messages = chat.messages(body)
    call.tools = chat.tools(body)
    return call


def _responses(client: Any, body: Any, stream: bool, *, operation: str = "chat") -> Call:
    call = _call(client, body, operation, stream=stream, api="responses")
    call.system = responses.system(body)
    call.messages = responses.messages(body)
    call.tools = chat.tools(body)
    call.conversation_id = responses.conversation(body)
    effort = body.get("reasoning")
    if isinstance(effort, dict) and (level := text_or_none(effort.get("effort"))):
        call.attributes[semconv.REQUEST_REASONING_LEVEL] = level
    return call


def _completions(client: Any, body: Any, stream: bool) -> Call:
    call = _call(client, body, "text_completion", stream=stream)
    call.messages = chat.prompts(body.get("prompt"), "prompt")
    return call


def _embeddings(client: Any, body: Any, _: bool) -> Call:
    call = _call(client, body, "embeddings")
    call.messages = chat.prompts(body.get("input"), "input")
    if form := text_or_none(body.get("encoding_format")):
        call.attributes[semconv.REQUEST_ENCODING_FORMATS] = [form]
    return call


def _decision(client: Any, body: Any, _: bool) -> Call:
    """Questions about an input, answered by probabilities."""
    call = _call(client, body, "decide")
    asked = enumerate(as_list(body.get("questions")))
    questions = [Part("question", as_dict(item), path=f"questions[{place}]") for place, item in asked]
    call.messages = [*responses.messages(body), *([Message("user", questions)] if questions else [])]
    return call


def _decided(answer: Any, _: Call) -> Result:
    given = enumerate(as_list(getattr(answer, "answers", None)))
    parts = [Part("answer", as_dict(item), path=f"answers[{place}]") for place, item in given]
    return Result(
        messages=[Message("assistant", parts)] if parts else [],
        model=text_or_none(getattr(answer, "model", None)),
        usage=responses.usage(getattr(answer, "usage", None)),
    )


def _batch(client: Any, _: Any, __: bool) -> Call:
    """A batch: what is asked stands in a file that was sent before."""
    return _call(client, {}, "create_batch")


def _identified(answer: Any, _: Call) -> Result:
    return Result(response_id=text_or_none(getattr(answer, "id", None)))


_ENDPOINTS = {
    "/chat/completions": Endpoint(_chat, chat.answer, chat.ChunkFold),
    "/responses": Endpoint(_responses, responses.answer, responses.EventFold),
    "/responses/compact": Endpoint(
        functools.partial(_responses, operation="compact"), responses.answer, responses.EventFold
    ),
    "/responses/input_tokens": Endpoint(
        functools.partial(_responses, operation="count_tokens"), _identified, responses.EventFold
    ),
    "/completions": Endpoint(_completions, chat.answer, chat.ChunkFold),
    "/decisions": Endpoint(_decision, _decided, responses.EventFold),
    "/embeddings": Endpoint(_embeddings, chat.embedded, chat.ChunkFold),
    "/batches": Endpoint(_batch, _identified, chat.ChunkFold),
}
"""By the end of the path; the first that fits counts."""


@functools.lru_cache(maxsize=256)
def _endpoint(method: str, url: str) -> Endpoint | None:
    if method != "post":
        return None
    path = url.partition("?")[0].rstrip("/")
    return next((endpoint for end, endpoint in _ENDPOINTS.items() if path.endswith(end)), None)
