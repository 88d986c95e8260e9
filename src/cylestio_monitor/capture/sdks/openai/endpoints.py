"""The OpenAI SDK: the observed endpoints and their readers."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from cylestio_monitor import semconv
from cylestio_monitor.capture.external_spans import scopes
from cylestio_monitor.capture.external_spans.resolver import enable_external_spans
from cylestio_monitor.capture.http_client import sdk_client
from cylestio_monitor.capture.http_client.endpoint import Endpoint
from cylestio_monitor.capture.http_client.provider_names import server
from cylestio_monitor.capture.parsing.fields import as_dict, as_list, label, members, text_or_none
from cylestio_monitor.capture.sdks.openai import chat, request_fields, responses
from cylestio_monitor.capture.sdks.openai.chat_stream import ChunkFold
from cylestio_monitor.capture.sdks.openai.redacted_streams import RedactedChunks, RedactedResponseEvents
from cylestio_monitor.capture.sdks.openai.responses_stream import ResponseEventFold
from cylestio_monitor.govern.redaction.values import ContentKeys
from cylestio_monitor.model import Call, Message, Part, Result

if TYPE_CHECKING:
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.pipeline import Invocation


CONTENT_KEYS = ContentKeys(
    fixed=frozenset(
        {"id", "type", "role", "model", "name", "object", "status", "call_id", "tool_call_id", "file_id", "item_id"}
        | {"finish_reason", "usage", "metadata", "tools", "functions", "tool_choice", "response_format", "user"}
        | {"encrypted_content", "system_fingerprint", "service_tier", "safety_identifier", "prompt_cache_key"}
        | {"previous_response_id", "conversation", "format", "tool_use_id", "input_schema", "media_type", "filename"}
    ),
    json_keys=frozenset({"arguments"}),
    free=frozenset({"parsed", "parsed_arguments"}),
    binary=frozenset({"data", "url", "image_url", "file_data", "image_data", "result"}),
    repeating=frozenset({"logprobs", "top_logprobs", "include"}),
)
"""The keys of OpenAI's API whose values are no plain text; those of Anthropic's are not in conflict with them."""


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the clients' request methods; for OpenLLMetry, whose spans come after the call, enables external spans."""
    if module.__name__ == scopes.OPENLLMETRY_RESPONSES:
        enable_external_spans()
    else:
        sdk_client.patch(module, patches, OpenAIClients())


class OpenAIClients:
    """The clients of the OpenAI SDK, which makes no spans of its own."""

    provider = "openai"
    keys = CONTENT_KEYS

    def endpoint(self, method: str, url: str) -> Endpoint | None:
        """Returns the endpoint of a request."""
        return endpoint(method.lower(), url)

    def own_trace(self, _: Any, __: Invocation) -> dict[str, Any] | None:
        """Returns ``None``: there is no span to replace."""
        return None


def _call(client: Any, body: Any, operation: str, *, stream: bool = False, api: str | None = None) -> Call:
    """Returns a call with the facts that all requests have in common."""
    body = as_dict(body)
    model = text_or_none(body.get("model"))
    there = server(client.base_url, client.__class__, None, "openai")
    attributes = request_fields.parameters(body)
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
    body = as_dict(body)
    call.messages = [*request_fields.other_text(body), *chat.messages(body)]
    call.tools = request_fields.tools(body)
    return call


def _responses(client: Any, body: Any, stream: bool, *, operation: str = "chat") -> Call:
    call = _call(client, body, operation, stream=stream, api="responses")
    body = as_dict(body)
    call.system = responses.system(body)
    call.messages = [*request_fields.other_text(body), *responses.messages(body)]
    call.tools = [*request_fields.tools(body), *responses.listed_tools(body.get("input"), "input")]
    call.conversation_id = responses.conversation(body)
    if before := text_or_none(body.get("previous_response_id")):
        call.attributes[semconv.REQUEST_PREVIOUS_RESPONSE_ID] = before
    if level := text_or_none(as_dict(body.get("reasoning")).get("effort")):
        call.attributes[semconv.REQUEST_REASONING_LEVEL] = level
    return call


def _retrieved(client: Any, _: Any, stream: bool) -> Call:
    """Returns the call that fetches the answer of a response in the background."""
    return _call(client, {}, "retrieve_response", stream=stream, api="responses")


def _completions(client: Any, body: Any, stream: bool) -> Call:
    call = _call(client, body, "text_completion", stream=stream)
    body = as_dict(body)
    others = {name: value for name, value in body.items() if name != "prompt"}  # elsewhere it names a stored prompt
    call.messages = [*request_fields.other_text(others), *request_fields.prompts(body.get("prompt"), "prompt")]
    return call


def _embeddings(client: Any, body: Any, _: bool) -> Call:
    call = _call(client, body, "embeddings")
    body = as_dict(body)
    call.messages = [*request_fields.other_text(body), *request_fields.prompts(body.get("input"), "input")]
    if form := text_or_none(body.get("encoding_format")):
        call.attributes[semconv.REQUEST_ENCODING_FORMATS] = [form]
    return call


def _items(client: Any, body: Any, _: bool) -> Call:
    """Returns the call that adds items to a conversation, which a model reads later."""
    call = _call(client, body, "add_conversation_items")
    call.messages = responses.messages(as_dict(body), "items")
    call.conversation_id = text_or_none(as_dict(body).get("conversation"))
    return call


def _decision(client: Any, body: Any, _: bool) -> Call:
    """Returns the call that asks questions about an input, which are answered by probabilities."""
    call = _call(client, body, "decide")
    body = as_dict(body)
    asked = enumerate(as_list(body.get("questions")))
    questions = [Part("question", as_dict(item), path=f"questions[{place}]") for place, item in asked]
    call.messages = [*responses.messages(body), *([Message("user", questions)] if questions else [])]
    return call


def _decided(answer: Any, _: Call) -> Result:
    get = members(answer)
    given = enumerate(as_list(get("answers")))
    parts = [Part("answer", as_dict(item), path=f"answers[{place}]") for place, item in given]
    return Result(
        messages=[Message("assistant", parts)] if parts else [],
        model=text_or_none(get("model")),
        usage=responses.usage(get("usage")),
    )


def _generation(client: Any, body: Any, stream: bool) -> Call:
    """Returns the call that generates an image, a sound or a video from a text, or a text from a sound."""
    call = _call(client, body, "generate_content", stream=stream)
    known = frozenset(
        {"model", "stream", "user", "size", "quality", "response_format", "voice", "image", "mask", "file"}
    )
    texts = {name: text_or_none(value) for name, value in as_dict(body).items() if name not in known}
    parts = [Part("text", text, path=label(name)) for name, text in texts.items() if text]
    call.messages = [Message("user", parts)] if parts else []
    return call


def _generated(answer: Any, _: Call) -> Result:
    """Reads the text of a transcription; images and sounds are left out."""
    text = text_or_none(members(answer)("text"))
    parts = [Part("text", text, path="text")] if text else []
    return Result(messages=[Message("assistant", parts, "stop")] if parts else [])


def _batch(client: Any, _: Any, __: bool) -> Call:
    """Returns the call that starts a batch; its questions are in a file that was sent before."""
    return _call(client, {}, "create_batch")


def _identified(answer: Any, _: Call) -> Result:
    return Result(response_id=text_or_none(getattr(answer, "id", None)))


_MEDIA = Endpoint(_generation, _generated, ResponseEventFold)
_ITEMS = Endpoint(_items, _identified, ResponseEventFold)
_ENDPOINTS = (
    ("post", re.compile(r"/chat/completions$"), Endpoint(_chat, chat.answer, ChunkFold, RedactedChunks)),
    (
        "post",
        re.compile(r"/responses$"),
        Endpoint(_responses, responses.answer, ResponseEventFold, RedactedResponseEvents),
    ),
    (
        "post",
        re.compile(r"/responses/compact$"),
        Endpoint(functools.partial(_responses, operation="compact"), responses.answer, ResponseEventFold),
    ),
    (
        "post",
        re.compile(r"/responses/input_tokens$"),
        Endpoint(functools.partial(_responses, operation="count_tokens"), _identified, ResponseEventFold),
    ),
    (
        "get",
        re.compile(r"/responses/[^/]+$"),
        Endpoint(_retrieved, responses.answer, ResponseEventFold, RedactedResponseEvents),
    ),
    ("post", re.compile(r"/conversations(/[^/]+/items)?$"), _ITEMS),
    ("post", re.compile(r"/completions$"), Endpoint(_completions, chat.answer, ChunkFold, RedactedChunks)),
    ("post", re.compile(r"/decisions$"), Endpoint(_decision, _decided, ResponseEventFold)),
    ("post", re.compile(r"/embeddings$"), Endpoint(_embeddings, chat.embedded, ChunkFold)),
    ("post", re.compile(r"/batches$"), Endpoint(_batch, _identified, ChunkFold)),
    ("post", re.compile(r"/images/(generations|edits)$"), _MEDIA),
    ("post", re.compile(r"/audio/(speech|transcriptions|translations)$"), _MEDIA),
    ("post", re.compile(r"/videos$"), _MEDIA),
)


@functools.lru_cache(maxsize=256)
def endpoint(method: str, url: str) -> Endpoint | None:
    """Returns the endpoint of a method in small letters and a URL; the first one whose path fits."""
    path = url.partition("?")[0].rstrip("/")
    return next((found for verb, form, found in _ENDPOINTS if verb == method and form.search(path)), None)
