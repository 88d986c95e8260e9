"""Amazon Bedrock through boto3: `converse` and `invoke_model`, whole and streamed, whichever model is behind them."""

from __future__ import annotations

import functools
import json
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.model import Call, Message, Part, Result, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.inspection import StreamedText
    from cylestio_monitor.pipeline import Invocation

log = logging.getLogger(__name__)

_OPERATIONS = frozenset({"Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"})
_PARAMETERS = {
    "maxTokens": semconv.REQUEST_MAX_TOKENS,
    "max_tokens": semconv.REQUEST_MAX_TOKENS,
    "temperature": semconv.REQUEST_TEMPERATURE,
    "topP": semconv.REQUEST_TOP_P,
    "top_p": semconv.REQUEST_TOP_P,
}
_INPUT_TOKENS = "x-amzn-bedrock-input-token-count"
_OUTPUT_TOKENS = "x-amzn-bedrock-output-token-count"


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the one method that every operation of every client comes through."""
    patches.wrap(module.BaseClient, "_make_api_call", _make_api_call)


def _make_api_call(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def make_api_call(self: Any, operation_name: str, api_params: Any) -> Any:
        invocation = None
        if operation_name in _OPERATIONS and self.meta.service_model.service_name == "bedrock-runtime":
            invocation = call_wrappers.begin(lambda: _call(self, operation_name, api_params))
        if invocation is None:
            return original(self, operation_name, api_params)
        invocation.settle()
        with call_wrappers.Inside(invocation):
            try:
                answer = original(self, operation_name, api_params)
            except BaseException as error:
                invocation.end(None, error)
                raise
        if not _observe(answer, invocation):
            invocation.end(call_wrappers.read(_converse_result, answer), enforce=True)
        return answer

    return make_api_call


def _call(client: Any, operation: str, params: Any) -> Call:
    model = str(params.get("modelId") or "")
    body = params if operation.startswith("Converse") else _json(params.get("body"))
    body = body if isinstance(body, dict) else {"prompt": body}
    does = "embeddings" if "embed" in model else "chat"
    place = urlsplit(client.meta.endpoint_url)
    call = Call(does, f"{does} {model}", provider="aws.bedrock", model=model)
    call.server_address, call.server_port = place.hostname, place.port
    call.system = message_parts.parts(body.get("system"), "system")
    call.tools = message_parts.tool_definitions((body.get("toolConfig") or body).get("tools"), "tools")
    asked = {key: value for key, value in body.items() if key not in {"system", "tools", "toolConfig", "modelId"}}
    call.messages = message_parts.messages(asked, "", "user")
    settings = {**body, **(body.get("inferenceConfig") or {}), **(body.get("textGenerationConfig") or {})}
    call.attributes = {
        name: settings[key] for key, name in _PARAMETERS.items() if isinstance(settings.get(key), (int, float))
    }
    if "Stream" in operation:
        call.attributes[semconv.REQUEST_STREAM] = True
    return call


def _json(body: Any) -> Any:
    return message_parts.decoded(
        bytes(body).decode("utf-8", "replace") if isinstance(body, (bytes, bytearray)) else body
    )


def _observe(answer: Any, invocation: Invocation) -> bool:
    """Has the end of the call come with the end of its body or stream; whether there is one."""
    for key in ("stream", "body"):
        body = answer.get(key) if isinstance(answer, dict) else None
        if body is None:
            continue
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        body.__class__ = _observed(body.__class__)
        body.__dict__["_cylestio"] = _Reading(invocation, headers)
        return True
    return False


class _Reading:
    """What has been read of a body or a stream so far."""

    def __init__(self, invocation: Invocation, headers: Any) -> None:
        self.invocation = invocation
        self.usage = Usage(_count(headers.get(_INPUT_TOKENS)), _count(headers.get(_OUTPUT_TOKENS)))
        self.reason: str | None = None
        self.blocks: dict[int, Part] = {}
        self.texts: dict[int, StreamedText] = {}
        self.raw: list[bytes] = []

    def event(self, event: Any) -> None:
        """Takes an event of a stream; of `invoke_model`, one holds a piece of the model's own format."""
        self.invocation.first_chunk()
        piece = event.get("chunk", {}).get("bytes") if isinstance(event, dict) else None
        value = _json(piece) if piece is not None else event
        if not isinstance(value, dict):
            return
        number = _index(value)
        start = (value.get("contentBlockStart") or {}).get("start", {}).get("toolUse") or value.get("content_block")
        if isinstance(start, dict) and (name := start.get("name")):
            call_id = start.get("toolUseId") or start.get("id")
            self.blocks[number] = Part("tool_call", "", str(name), str(call_id), f"content[{number}]")
        delta = (value.get("contentBlockDelta") or value).get("delta")
        delta = delta if isinstance(delta, dict) else value
        arguments = (delta.get("toolUse") or {}).get("input") or delta.get("partial_json")
        text = next(
            (delta[k] for k in ("text", "generation", "outputText", "completion") if isinstance(delta.get(k), str)), ""
        )
        if text or arguments:
            block = self.blocks.setdefault(number, Part("text", "", path=f"content[{number}]"))
            if text:
                if number not in self.texts:
                    self.texts[number] = self.invocation.streamed(block.path)
                self.texts[number].add(text)
            else:
                block.content = f"{block.content}{arguments}"
        self._close(value, delta)

    def _close(self, value: dict[str, Any], delta: dict[str, Any]) -> None:
        reason = (
            (value.get("messageStop") or {}).get("stopReason")
            or delta.get("stop_reason")
            or value.get("completionReason")
        )
        self.reason = str(reason) if reason else self.reason
        used = (value.get("metadata") or {}).get("usage")
        metrics = value.get("amazon-bedrock-invocationMetrics") or {}
        if isinstance(used, dict):
            self.usage = _usage(used)
        elif metrics:
            self.usage = Usage(_count(metrics.get("inputTokenCount")), _count(metrics.get("outputTokenCount")))

    def result(self) -> Result:
        """The answer as far as it was read."""
        if self.raw:
            return _invoke_result(b"".join(self.raw), self.usage)
        for number, block in self.blocks.items():
            if block.type == "tool_call":
                block.content = message_parts.decoded(block.content)
            elif number in self.texts:
                block.content = "".join(self.texts[number].pieces)
        result = Result(messages=[Message("assistant", list(self.blocks.values()), self.reason)], usage=self.usage)
        result.finish_reasons = [self.reason] if self.reason else []
        return result


@functools.lru_cache(maxsize=16)
def _observed(base: Any) -> Any:
    """A subclass of a body's or a stream's class that tells what is read from it, and when that ends."""

    def iterate(self: Any) -> Iterator[Any]:
        reading: _Reading = self._cylestio
        try:
            for event in base.__iter__(self):
                _tell(reading.event, event)
                yield event
        except GeneratorExit:
            raise
        except BaseException as error:
            reading.invocation.end(call_wrappers.read(lambda _: reading.result(), None), error)
            raise
        reading.invocation.end(call_wrappers.read(lambda _: reading.result(), None))

    def read(self: Any, amt: int | None = None) -> Any:
        reading: _Reading = self._cylestio
        try:
            data = base.read(self, amt)
        except BaseException as error:
            reading.invocation.end(None, error)
            raise
        reading.raw.append(data)
        if amt is None or amt < 0 or not data:
            reading.invocation.end(call_wrappers.read(lambda _: reading.result(), None))
        return data

    def close(self: Any) -> None:
        base.close(self)
        self._cylestio.invocation.end(call_wrappers.read(lambda _: self._cylestio.result(), None))

    def finalise(self: Any) -> None:
        self._cylestio.invocation.abandon(call_wrappers.read(lambda _: self._cylestio.result(), None))

    own = {"read": read} if hasattr(base, "read") else {"__iter__": iterate}
    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    return type(base.__name__, (base,), {**names, **own, "close": close, "__del__": finalise})


def _tell(take: Callable[[Any], None], event: Any) -> None:
    try:
        take(event)
    except Exception:
        log.debug("Could not read an event", exc_info=True)


def _converse_result(answer: Any) -> Result:
    result = Result(messages=message_parts.messages(answer.get("output"), "output", "assistant"))
    result.usage = _usage(answer.get("usage") or {})
    reason = answer.get("stopReason")
    result.finish_reasons = [str(reason)] if reason else []
    return result


def _invoke_result(raw: bytes, usage: Usage) -> Result:
    try:
        body = json.loads(raw)
    except ValueError:
        body = raw.decode("utf-8", "replace")
    if isinstance(body, dict) and ("embedding" in body or "embeddings" in body):
        return Result(usage=usage)
    reason = body.get("stop_reason") or body.get("stopReason") if isinstance(body, dict) else None
    return Result(
        messages=message_parts.messages(body, "", "assistant"),
        usage=usage,
        finish_reasons=[str(reason)] if reason else [],
    )


def _usage(used: dict[str, Any]) -> Usage:
    read, write = _count(used.get("cacheReadInputTokens")), _count(used.get("cacheWriteInputTokens"))
    given = _count(used.get("inputTokens"))
    whole = None if given is None else given + (read or 0) + (write or 0)
    return Usage(whole, _count(used.get("outputTokens")), read, write)


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, str)) and str(value).isdigit() else None


def _index(value: dict[str, Any]) -> int:
    for holder in (value.get("contentBlockStart"), value.get("contentBlockDelta"), value):
        number = holder.get("contentBlockIndex", holder.get("index")) if isinstance(holder, dict) else None
        if isinstance(number, int):
            return number
    return 0
