"""The Anthropic SDK: the observed endpoints and their readers."""

from __future__ import annotations

import functools
import re
import sys
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from cylestio_monitor import semconv
from cylestio_monitor.capture.http_client import sdk_client
from cylestio_monitor.capture.http_client.endpoint import Endpoint
from cylestio_monitor.capture.http_client.provider_names import cloud_of, server
from cylestio_monitor.capture.parsing.fields import as_dict, as_list, count, members, read_items, text_or_none
from cylestio_monitor.capture.sdks.anthropic import answers, messages
from cylestio_monitor.capture.sdks.anthropic.content_blocks import blocks
from cylestio_monitor.capture.sdks.anthropic.redacted_stream import RedactedMessageEvents
from cylestio_monitor.govern.redaction.values import ContentKeys
from cylestio_monitor.model import Call, Message, Part, Result, Usage

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.pipeline import Invocation


_TOOLS = "anthropic.lib.tools."

CONTENT_KEYS = ContentKeys(
    fixed=frozenset(
        {"id", "type", "role", "model", "name", "tool_use_id", "signature", "media_type", "cache_control", "file_id"}
        | {"stop_reason", "stop_sequence", "usage", "container", "metadata", "tools", "tool_choice", "custom_id"}
        | {"encrypted_content", "encrypted_index", "mcp_servers", "output_config", "output_format", "betas"}
    ),
    json_keys=frozenset({"partial_json"}),
    free=frozenset({"input"}),
    binary=frozenset({"data", "url"}),
)
"""The keys of the Messages API whose values are no plain text."""


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the clients' request methods, and the tool runner where the SDK does not trace it."""
    if not module.__name__.startswith(_TOOLS):
        sdk_client.patch(module, patches, AnthropicClients())
    elif "anthropic._tracing" not in sys.modules:
        from cylestio_monitor.capture.sdks.anthropic import tool_runner  # noqa: PLC0415 -- for versions before 1 only

        tool_runner.patch(module, patches)


class AnthropicClients:
    """The clients of the Anthropic SDK, which makes spans of its own from version 1 on."""

    provider = "anthropic"
    keys = CONTENT_KEYS

    def endpoint(self, method: str, url: str) -> Endpoint | None:
        """Returns the endpoint of a request."""
        return endpoint(method.lower(), url)

    def own_trace(self, client: Any, invocation: Invocation) -> dict[str, Any] | None:
        """Replaces the SDK's span by one that records nothing and has the identity of ours.

        The SDK then still writes the trace context into the requests, after signing them, where the client's options
        ask for it.
        """
        options = client._open_telemetry  # noqa: SLF001 -- the public property copies it
        if not options["traces"]["enabled"]:
            return {}
        provider = options.get("tracer_provider")
        if provider is not None and provider is not trace.get_tracer_provider():
            return None  # the application wants the SDK's own spans there, beside ours
        span = trace.NonRecordingSpan(invocation.span.get_span_context())
        api_call = sys.modules["anthropic._tracing"].ApiCall
        return {"call": api_call(span, time.time_ns(), propagation=options["propagation"])}


def _call(client: Any, body: Any, operation: str, *, stream: bool = False) -> Call:
    """Returns a call with the facts that all requests have in common."""
    body = body if isinstance(body, dict) else {}
    model = text_or_none(body.get("model"))
    cloud = cloud_of(client) if getattr(client, "_otel_platform", None) else None
    there = server(client.base_url, client.__class__, cloud, "anthropic")
    metadata, own = body.get("metadata"), getattr(client, "_open_telemetry", None)
    attributes = messages.parameters(body)
    if stream:
        attributes[semconv.REQUEST_STREAM] = True
    return Call(
        operation,
        f"{operation} {model}" if model else operation,
        provider=there.provider,
        model=model,
        attributes=attributes,
        server_address=there.address,
        server_port=there.port,
        conversation_id=(text_or_none(own.get("conversation_id")) if own else None) or answers.conversation(body),
        user_id=text_or_none(metadata.get("user_id")) if isinstance(metadata, dict) else None,
    )


def _message(client: Any, body: Any, stream: bool, *, operation: str = "chat") -> Call:
    call = _call(client, body, operation, stream=stream)
    body = as_dict(body)
    call.system = messages.system(body)
    call.messages = messages.messages(body)
    call.tools = messages.tools(body)
    return call


def _counted(answer: Any, _: Call) -> Result:
    tokens = count(getattr(answer, "input_tokens", None))
    return Result(attributes={} if tokens is None else {answers.COUNTED_TOKENS: tokens})


def _completion(client: Any, body: Any, stream: bool) -> Call:
    call = _call(client, body, "text_completion", stream=stream)
    call.messages = [Message("user", read_items(blocks, as_dict(body).get("prompt"), "prompt"))]
    return call


def _completed(answer: Any, _: Call) -> Result:
    get = members(answer)
    reason = text_or_none(get("stop_reason"))
    return Result(
        messages=[Message("assistant", [Part("text", get("completion"), path="completion")], reason or "error")],
        response_id=text_or_none(get("id")),
        model=text_or_none(get("model")),
        finish_reasons=[reason] if reason else [],
    )


def _batch(client: Any, body: Any, _: bool) -> Call:
    """Returns the call that sends the prompts of all requests of a batch; the answers come later."""
    requests = [as_dict(as_dict(item).get("params")) for item in as_list(as_dict(body).get("requests"))]
    models = {text_or_none(request.get("model")) for request in requests}
    call = _call(client, {"model": models.pop()} if len(models) == 1 else {}, "create_batch")
    for number, request in enumerate(requests):
        prefix = f"requests[{number}].params."
        call.system += messages.system(request, prefix)
        call.messages += messages.messages(request, prefix)
        call.tools += messages.tools(request, prefix)
    return call


def _batch_made(answer: Any, _: Call) -> Result:
    return Result(response_id=text_or_none(getattr(answer, "id", None)))


def _batch_results(client: Any, _: Any, __: bool) -> Call:
    return _call(client, {}, "retrieve_batch_results")


class _CompletionFold:
    """Collects the events of a streamed text completion."""

    def __init__(self, invocation: Invocation) -> None:
        self.complete: list[Part] = []
        self._invocation = invocation
        self._text = invocation.streamed("completion")
        self._last: Any = None

    def event(self, event: Any) -> None:
        text = text_or_none(members(event)("completion"))
        if text is not None:
            self._text.add(text)
            self._last = event

    def result(self) -> Result:
        result = _completed(self._last, self._invocation.call) if self._last is not None else Result()
        for message in result.messages:
            message.parts[0].content = "".join(self._text.pieces)
        return result


class _BatchFold:
    """Collects the lines of a batch's results."""

    def __init__(self, invocation: Invocation) -> None:
        self.complete: list[Part] = []
        self._call = invocation.call
        self._messages: list[Message] = []
        self._usages: list[Usage] = []
        self._number = 0

    def event(self, event: Any) -> None:
        message = members(members(event)("result"))("message")
        if message is not None:
            one = answers.answer(message, self._call, f"[{self._number}].result.message.")
            self._messages += one.messages
            self.complete += [part for said in one.messages for part in said.parts if part.type == "tool_call"]
            self._usages += [one.usage] if one.usage else []
        self._number += 1

    def result(self) -> Result:
        return Result(
            messages=self._messages,
            usage=Usage(
                input_tokens=count(*(usage.input_tokens for usage in self._usages)),
                output_tokens=count(*(usage.output_tokens for usage in self._usages)),
            ),
        )


_MESSAGES = Endpoint(_message, answers.answer, answers.MessageFold, RedactedMessageEvents)
_ENDPOINTS = (
    ("post", re.compile(r"/v1/messages$"), _MESSAGES),
    (
        "post",
        re.compile(r"/v1/messages/count_tokens$"),
        Endpoint(functools.partial(_message, operation="count_tokens"), _counted, answers.MessageFold),
    ),
    ("post", re.compile(r"/v1/complete$"), Endpoint(_completion, _completed, _CompletionFold)),
    ("post", re.compile(r"/v1/messages/batches$"), Endpoint(_batch, _batch_made, answers.MessageFold)),
    ("get", re.compile(r"/v1/messages/batches/[^/]+/results$"), Endpoint(_batch_results, _batch_made, _BatchFold)),
)


@functools.lru_cache(maxsize=256)
def endpoint(method: str, url: str) -> Endpoint | None:
    """Returns the endpoint of a method in small letters and a URL; the first one whose path fits."""
    path = url.partition("?")[0].rstrip("/")
    return next((found for verb, form, found in _ENDPOINTS if verb == method and form.search(path)), None)
