"""Reading of an answer from the bytes of its HTTP body: JSON as a whole, events of a stream as they come."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from cylestio_monitor.capture.http_client.event_decoder import EventDecoder
from cylestio_monitor.capture.parsing.fields import parse_json
from cylestio_monitor.capture.parsing.reading import add_parts, read_result, unread, unread_result
from cylestio_monitor.model import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cylestio_monitor.capture.http_client.endpoint import Endpoint
    from cylestio_monitor.model import Part
    from cylestio_monitor.pipeline import Invocation

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a body that are kept where it can be read only as a whole."""

_JSON_LINES = ("ndjson", "jsonl", "stream+json")
_MEDIA = ("audio/", "image/", "video/", "application/octet-stream", "application/vnd.amazon")
_INFLATED = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB = 47


class BodyFold:
    """Folds a body that the application reads as bytes.

    It is fed the bytes on the wire. Events are decoded as they come where the encoding allows it; other bodies are
    kept up to `MAX_BODY` and decoded at the end.

    Attributes:
        is_stream: The body holds events.
        is_incremental: The events are read as they come, so that each can be judged before it is handed over.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        endpoint: Endpoint,
        invocation: Invocation,
        decode: Callable[[bytes, str], bytes],
    ) -> None:
        """Looks at the headers of the response.

        Args:
            headers: The headers, with a case-insensitive `get`.
            endpoint: The readers of the answer.
            invocation: The call.
            decode: Decodes a whole body in the given content encoding.
        """
        kind = (headers.get("content-type") or "").lower()
        self._encoding = (headers.get("content-encoding") or "identity").lower()
        is_json_lines = any(name in kind for name in _JSON_LINES)
        self.is_stream = is_json_lines or "event-stream" in kind
        self.is_incremental = self.is_stream and self._encoding in {"identity", *_INFLATED}
        self._is_media = kind.startswith(_MEDIA)
        self._inflater = zlib.decompressobj(_GZIP_OR_ZLIB) if self._encoding in _INFLATED else None
        self._decoder = EventDecoder(is_json_lines=is_json_lines)
        self._decode = decode
        self._fold = endpoint.fold(invocation)
        self._read = endpoint.result
        self._call = invocation.call
        self._kept: list[bytes] = []
        self._size = 0

    @property
    def complete(self) -> list[Part]:
        """Tool calls that are complete; see `Fold`."""
        return self._fold.complete

    @complete.setter
    def complete(self, parts: list[Part]) -> None:
        self._fold.complete = parts

    def event(self, chunk: bytes) -> None:
        """Takes the next bytes.

        Raises:
            ValueError: An event is no JSON, or the body is too large to be kept.
        """
        if self.is_incremental:
            text = self._inflater.decompress(chunk) if self._inflater is not None else chunk
            self._events(self._decoder.feed(text))
            return
        self._size += len(chunk)
        if self._is_media:
            return
        if self._size > MAX_BODY:
            raise ValueError("the body is too large to be read as a whole")
        self._kept.append(chunk)

    def result(self) -> Result:
        """Returns the answer as far as it has come."""
        if self.is_incremental:
            self._events(self._decoder.finish())
            return self._fold.result()
        if not self._kept or self._size > MAX_BODY:
            return self._fold.result()
        body = self._decode(b"".join(self._kept), self._encoding)
        if self.is_stream:
            self._events([*self._decoder.feed(body), *self._decoder.finish()])
            return self._fold.result()
        return self.whole(body)

    def whole(self, body: bytes) -> Result:
        """Reads a body that is one JSON text, or a list of the events of a stream."""
        if self._is_media:
            return Result()
        try:
            value = parse_json(body)
        except (ValueError, RecursionError) as error:
            return unread_result(error, body) if body.strip() else Result()
        if not isinstance(value, list):
            return read_result(self._read, value, self._call)
        return read_result(self._listed, value)

    def _listed(self, events: list[Any]) -> Result:
        """Reads the events of a stream that came as one list."""
        left: list[Part] = []
        for event in events:
            try:
                self._fold.event(event)
            except Exception as error:  # noqa: BLE001 -- an event of any form: it is recorded as it is
                left += unread(error, event, "stream")
        result = self._fold.result()
        add_parts(result, left)
        return result

    def _events(self, texts: list[bytes]) -> None:
        failed: Exception | None = None
        for text in texts:
            if text.lstrip()[:1] != b"{":
                continue  # `[DONE]`
            try:
                self._fold.event(parse_json(text))
            except Exception as error:  # noqa: BLE001 -- an event of any form; raised again after the other events
                failed = error
        if failed is not None:
            raise failed


def decoded_by(response: Any) -> Callable[[bytes, str], bytes]:
    """Returns a decoder of whole bodies that uses the class of an httpx response, and keeps no response alive."""
    kind: Callable[..., Any] = type(response)

    def decode(body: bytes, encoding: str) -> bytes:
        content: bytes = kind(200, headers={"content-encoding": encoding}, content=body).content
        return content

    return decode
