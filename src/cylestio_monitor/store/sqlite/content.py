"""Messages, tool arguments and results at rest: compressed together, and encrypted where a key was given.

They are most of a span's bytes and nobody filters by them, so they stand in one column of their own. The dictionary
primes the compressor with what every message holds: without it, a text of one kilobyte has nothing to repeat.
"""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from cylestio_monitor import semconv
from cylestio_monitor.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import zstandard

    from cylestio_monitor.store.sqlite.keys import Cipher

KEYS: Final = frozenset(
    {
        semconv.INPUT_MESSAGES,
        semconv.OUTPUT_MESSAGES,
        semconv.SYSTEM_INSTRUCTIONS,
        semconv.TOOL_DEFINITIONS,
        semconv.TOOL_CALL_ARGUMENTS,
        semconv.TOOL_CALL_RESULT,
    }
)
"""Attributes that are content whatever their length."""

LONG: Final = 512
"""Code points from which any other text counts as content too."""

_PLAIN: Final = b"\x01"
_SEALED: Final = b"\x02"
_SEALED_TEXT: Final = "\x02"
_LEVEL: Final = -1
_of_thread: Final = threading.local()  # neither a compressor nor a decompressor is for two threads at once

# Strings near the end get the shortest codes. A changed dictionary needs a new format byte.
_DICTIONARY: Final = (
    b" should would could there their which about other after first because between through during before without "
    b"however please provide following information summary report results question answer example number system "
    b"function return error failed success message request response server client user file path query table "
    b"customer order account email address name date time value list data code test text document search "
    b"tion ment ing ed ly er ble ful ive ous ity ies ance ence "
    b" this that with from have will your they what when were been more also into than only some such them then "
    b" the and of to in a is that for it as was on be by are an or at not you can if we I do "
    b"https://www.http:// 0123456789 2024-2025-2026-01-12T10:00:00Z true,false,null,"
    b'{\\"type\\":\\"object\\",\\"properties\\":{\\"name\\":{\\"type\\":\\"string\\",\\"description\\":\\"'
    b'\\"}},\\"required\\":[\\"query\\"]}'
    b'{"gen_ai.tool.definitions":"[{\\"type\\":\\"function\\",\\"name\\":\\"","description":"'
    b'"gen_ai.tool.call.arguments":"{\\"query\\":\\"","gen_ai.tool.call.result":"{\\"content\\":[{\\"type\\":\\"text\\",\\"text\\":\\"'
    b'","gen_ai.system_instructions":"[{\\"type\\":\\"text\\",\\"content\\":\\"You are a helpful assistant. '
    b'{\\"type\\":\\"tool_call_response\\",\\"id\\":\\"toolu_01\\",\\"response\\":\\"'
    b'{\\"type\\":\\"tool_call\\",\\"id\\":\\"call_\\",\\"name\\":\\"\\",\\"arguments\\":{\\"'
    b'\\"}],\\"finish_reason\\":\\"tool_call\\"}]"\\"}],\\"finish_reason\\":\\"stop\\"}]"}'
    b'{"gen_ai.output.messages":"[{\\"role\\":\\"assistant\\",\\"parts\\":[{\\"type\\":\\"text\\",\\"content\\":\\"'
    b'\\"}]},{\\"role\\":\\"tool\\",\\"parts\\":[{\\"type\\":\\"'
    b'\\"}]},{\\"role\\":\\"user\\",\\"parts\\":[{\\"type\\":\\"text\\",\\"content\\":\\"'
    b'{"gen_ai.input.messages":"[{\\"role\\":\\"user\\",\\"parts\\":[{\\"type\\":\\"text\\",\\"content\\":\\"'
)


def pack(texts: Sequence[bytes | None], cipher: Cipher | None) -> list[bytes | None]:
    """The content attributes of spans as the bytes of their column.

    Args:
        texts: Of each span the JSON of its content attributes; `None` for none.
        cipher: What seals them, where content is encrypted at rest.
    """
    full: list[bytes | bytearray | memoryview] = [text for text in texts if text is not None]
    if not full:
        return [None] * len(texts)
    # One call for all: each lets go of the interpreter, and a thread that is busy keeps it for 5 ms then.
    packed = iter(_compressor().multi_compress_to_buffer(full))
    return [None if text is None else _marked(next(packed).tobytes(), cipher) for text in texts]


def seal_text(text: str, cipher: Cipher | None) -> str:
    """Returns a short text as its column holds it: as it is, or sealed where content is encrypted at rest."""
    plain = text.lstrip(_SEALED_TEXT)
    return plain if cipher is None else _SEALED_TEXT + base64.b64encode(cipher.seal(plain.encode())).decode()


def is_sealed(text: str) -> bool:
    """Returns whether `seal_text` has sealed a text."""
    return text.startswith(_SEALED_TEXT)


def open_text(text: str, cipher: Cipher | None) -> str:
    """Returns the text of such a column.

    Raises:
        StoreError: It is sealed with a key that is not at hand, or was changed.
    """
    if not is_sealed(text):
        return text
    if cipher is None:
        raise StoreError("content is encrypted, and no key was given")
    try:
        return cipher.open(base64.b64decode(text[1:], validate=True)).decode()
    except ValueError as error:
        raise StoreError("content is damaged") from error


def _marked(packed: bytes, cipher: Cipher | None) -> bytes:
    return _PLAIN + packed if cipher is None else _SEALED + cipher.seal(packed)


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_of_thread, "compressor"):
        import zstandard  # noqa: PLC0415 -- on the writer's thread, when first used

        primed = zstandard.ZstdCompressionDict(_DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        primed.precompute_compress(level=_LEVEL)
        _of_thread.compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=primed)
    return cast("zstandard.ZstdCompressor", _of_thread.compressor)


def _decompress(packed: bytes) -> bytes:
    """The plain bytes.

    Raises:
        StoreError: They are damaged.
    """
    import zstandard  # noqa: PLC0415 -- as above

    if not hasattr(_of_thread, "decompressor"):
        primed = zstandard.ZstdCompressionDict(_DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        _of_thread.decompressor = zstandard.ZstdDecompressor(dict_data=primed)
    try:
        return bytes(_of_thread.decompressor.decompress(packed))
    except zstandard.ZstdError as error:
        raise StoreError("content is damaged") from error


def unpack(column: bytes | None, cipher: Cipher | None) -> dict[str, Any]:
    """The content attributes of one span.

    Raises:
        StoreError: The bytes are damaged, or sealed with a key that is not at hand.
    """
    if not column:
        return {}
    packed = column[1:]
    if column[:1] == _SEALED:
        if cipher is None:
            raise StoreError("content is encrypted, and no key was given")
        packed = cipher.open(packed)
    elif column[:1] != _PLAIN:
        raise StoreError("content is in a format of a newer version")
    try:
        attributes: dict[str, Any] = msgspec.json.decode(_decompress(packed), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise StoreError("content is damaged") from error
    return attributes
