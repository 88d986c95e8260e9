"""Amazon Bedrock through boto3: `converse` and `invoke_model`, whole and streamed, of every model family."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cylestio_monitor import semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.http_client.observed_answer import ObservedAnswer
from cylestio_monitor.capture.parsing.fields import Fields, as_dict, label, parse_json
from cylestio_monitor.capture.parsing.reading import read_call, read_result
from cylestio_monitor.capture.sdks.bedrock import converse, facts, invoke_model
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import Call, Message, Part, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from cylestio_monitor.capture.http_client.endpoint import Fold
    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.pipeline import Invocation

_OPERATIONS = frozenset({"Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"})
_CONVERSE = frozenset(
    {
        *("modelId", "messages", "system", "toolConfig", "inferenceConfig", "guardrailConfig", "performanceConfig"),
        *("additionalModelRequestFields", "additionalModelResponseFieldPaths", "requestMetadata", "promptVariables"),
        *("serviceTier", "outputConfig"),
    }
)
_SETTINGS = frozenset({"thinking", "reasoning_config", "reasoningConfig", "inferenceConfig", "anthropic_beta"})
"""The fields of `additionalModelRequestFields` that set how a model answers, and hold no text that it reads."""

_MAX_BODY = 16 * 1024 * 1024


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the one method through which every operation of every client is called."""
    patches.wrap(module.BaseClient, "_make_api_call", _make_api_call)


def _make_api_call(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def make_api_call(self: Any, operation_name: str, api_params: Any) -> Any:
        invocation = None
        if operation_name in _OPERATIONS and self.meta.service_model.service_name == "bedrock-runtime":
            invocation = call_wrappers.begin(lambda: _call(self, operation_name, api_params))
        if invocation is None:
            return original(self, operation_name, api_params)
        invocation.wait_durable()
        with call_wrappers.Inside(invocation):
            try:
                answer = original(self, operation_name, api_params)
            except BaseException as error:
                _set_status(invocation, error)
                invocation.end(None, error)
                raise
        if not _observe(answer, invocation):
            invocation.end(read_result(converse.answer, answer), enforce=True)
            invocation.wait_durable()
        return answer

    return make_api_call


def _set_status(invocation: Invocation, error: BaseException) -> None:
    """Records the HTTP status of an error of the service."""
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata") if isinstance(response, dict) else None
    status = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
    if isinstance(status, int):
        invocation.span.set_attribute(semconv.HTTP_STATUS_CODE, status)


def _call(client: Any, operation: str, params: Any) -> Call:
    """Reads the request."""
    model = label(params.get("modelId"))
    does = "embeddings" if "embed" in model else "chat"
    place = urlsplit(client.meta.endpoint_url)
    call = Call(does, f"{does} {model}", provider="aws.bedrock", model=model)
    call.server_address, call.server_port = place.hostname, place.port or (443 if place.hostname else None)

    def read() -> Call:
        if operation.startswith("Converse"):
            _read_converse(call, params)
        else:
            _read_invoke(call, params.get("body"))
        return call

    read_call(read, params, lambda: call)
    if "Stream" in operation:
        call.attributes[semconv.REQUEST_STREAM] = True
    return call


def _read_converse(call: Call, params: dict[str, Any]) -> None:
    call.system = converse.system(params)
    call.messages = converse.messages(params.get("messages"))
    call.tools = converse.tools(params.get("toolConfig"))
    rest = {name: value for name, value in params.items() if name not in _CONVERSE}
    texts = {name: params[name] for name in ("promptVariables", "outputConfig") if params.get(name)}
    more = params.get("additionalModelRequestFields")
    if isinstance(more, dict) and (
        told := {
            name: value for name, value in more.items() if name not in _SETTINGS and not isinstance(value, (int, float))
        }
    ):
        texts["additionalModelRequestFields"] = told
    if rest or texts:
        call.messages.insert(0, Message("user", [Part("json", converse.without_bytes({**rest, **texts}))]))
    call.attributes = facts.parameters(params)


def _read_invoke(call: Call, body: Any) -> None:
    if hasattr(body, "read"):  # a file is sent from its beginning
        place = body.tell()
        body, file = body.read(_MAX_BODY), body
        file.seek(place)
    text = bytes(body) if isinstance(body, (bytearray, memoryview)) else body
    try:
        value = parse_json(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        call.messages = [Message("user", [Part("text", _text(text), path="body")])]
        return
    invoke_model.read_request(call, value)
    call.attributes = facts.parameters(value)


def _observe(answer: Any, invocation: Invocation) -> bool:
    """Has the reading of a body or a stream end the call; returns whether there is one."""
    if not isinstance(answer, dict):
        return False
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if (stream := answer.get("stream")) is not None:
        _observe_stream(stream, ObservedAnswer(invocation, converse.ConverseFold(invocation, headers)))
        return True
    body = answer.get("body")
    if body is None:
        return False
    if hasattr(body, "_raw_stream") and hasattr(body, "read"):
        fold = _BedrockBodyFold(invocation, headers)
        raw = body._raw_stream  # noqa: SLF001 -- the one object that every method of a body reads from
        body._raw_stream = _ObservedRawStream(raw, ObservedAnswer(invocation, fold, is_stream=False))  # noqa: SLF001 -- as above
    else:
        fold_ = _BedrockChunkFold(invoke_model.InvokeFold(invocation, headers))
        _observe_stream(body, ObservedAnswer(invocation, fold_))
    return True


def _text(body: Any) -> Any:
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else body


class _BedrockChunkFold:
    """Unpacks the events of `invoke_model_with_response_stream`, which hold a piece of the model's own format."""

    def __init__(self, inner: Fold) -> None:
        self._inner = inner

    @property
    def complete(self) -> list[Part]:
        return self._inner.complete

    @complete.setter
    def complete(self, parts: list[Part]) -> None:
        self._inner.complete = parts

    def event(self, event: Any) -> None:
        piece = as_dict(as_dict(event).get("chunk")).get("bytes")
        if piece is not None:
            value = parse_json(piece)
            self._inner.event(value if isinstance(value, Fields) else Fields(text=value))

    def result(self) -> Result:
        return self._inner.result()


class _BedrockBodyFold:
    """Keeps the bytes of a whole body and reads them at the end."""

    def __init__(self, invocation: Invocation, headers: Any) -> None:
        self.complete: list[Part] = []
        self._invocation = invocation
        self._headers = headers
        self._raw: list[bytes] = []
        self._size = 0

    def event(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > _MAX_BODY:
            raise ValueError("the body is too large to be read as a whole")
        self._raw.append(data)

    def result(self) -> Result:
        if not self._raw:
            return Result(usage=facts.usage({}, self._headers))
        raw = b"".join(self._raw)
        try:
            body = parse_json(raw)
        except (ValueError, RecursionError):
            body = raw.decode("utf-8", "replace")
        return invoke_model.answer(body, self._invocation.call, self._headers)


class _ObservedRawStream:
    """Stands in a body for the stream that it reads from; in block mode it is read and judged before any byte is given.

    It has every attribute of the stream that it stands for.
    """

    def __init__(self, raw: Any, answer: ObservedAnswer) -> None:
        self._raw = raw
        self._answer = answer
        self._given: io.BytesIO | None = None

    def _source(self) -> Any:
        """Returns the stream to read from: the raw one, or the judged bytes."""
        if self._given is None and self._answer.can_block:
            data = self._raw.read()
            self._answer.observe(data)
            self._answer.finished()
            self._answer.wait_durable()
            self._given = io.BytesIO(data)
        return self._raw if self._given is None else self._given

    def _observed(self, read: Callable[[], Any], *, is_last: bool) -> Any:
        try:
            data = read()
        except BaseException as error:
            self._answer.failed(error)
            raise
        if self._given is None:
            if data:
                self._answer.observe(data)
            if is_last or not data:
                self._answer.finished()
                self._answer.wait_durable()
        return data

    def read(self, amt: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """Reads from the stream."""
        source = self._source()
        is_last = amt is None or amt < 0
        if self._given is not None:
            return self._given.read(amt)
        return self._observed(lambda: source.read(amt, *args, **kwargs), is_last=is_last)

    def readline(self, *args: Any) -> Any:
        """Reads one line."""
        source = self._source()
        return self._observed(lambda: source.readline(*args), is_last=False)

    def readlines(self, *args: Any) -> list[Any]:
        """Reads all lines."""
        source = self._source()
        lines: list[Any] = source.readlines(*args)
        self._observed(lambda: b"".join(lines), is_last=True)
        return lines

    def readinto(self, buffer: Any) -> int:
        """Reads into a buffer."""
        source = self._source()
        count: int = source.readinto(buffer)
        self._observed(lambda: bytes(buffer[:count]), is_last=False)
        return count

    def close(self) -> None:
        """Closes the stream, which ends the call."""
        self._raw.close()
        self._answer.closed()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __del__(self) -> None:
        self._answer.dropped()


def _observe_stream(stream: Any, answer: ObservedAnswer) -> None:
    stream.__class__ = _observed_class(stream.__class__)
    stream.__dict__["_cylestio"] = answer


@functools.lru_cache(maxsize=16)
def _observed_class(base: Any) -> Any:
    """Returns a subclass of the class of an event stream that shows each event to the answer before it is given."""

    def iterate(self: Any) -> Iterator[Any]:
        answer: ObservedAnswer = self._cylestio
        try:
            for event in base.__iter__(self):
                answer.observe(event)
                yield event
        except GeneratorExit:
            raise
        except BlockedError:
            base.close(self)
            answer.wait_durable()
            raise
        except BaseException as error:
            answer.failed(error)
            raise
        answer.finished()
        answer.wait_durable()

    def close(self: Any) -> None:
        base.close(self)
        self._cylestio.closed()

    def finalise(self: Any) -> None:
        self._cylestio.dropped()

    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    return type(base.__name__, (base,), {**names, "__iter__": iterate, "close": close, "__del__": finalise})
