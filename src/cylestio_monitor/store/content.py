"""Messages, tool arguments and results at rest: compressed together, and encrypted where a key was given.

They are most of a span's bytes and nobody filters by them, so they stand in one column of their own. The dictionary
primes the compressor with what every message holds: without it, a text of one kilobyte has nothing to repeat.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor import semconv
from cylestio_monitor.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cylestio_monitor.store.keys import Cipher

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
_LEVEL: Final = 1
_WINDOW: Final = -15

# What stands nearest to the end is reached by the shortest codes. A change needs a format byte of its own.
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


def pack(attributes: Mapping[str, Any], cipher: Cipher | None) -> bytes | None:
    """The content attributes of one span as the bytes of its column; `None` for none.

    Args:
        attributes: Full names to values that encode to JSON.
        cipher: What seals them, where content is encrypted at rest.
    """
    if not attributes:
        return None
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, 8, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
    packed = deflate.compress(msgspec.json.encode(attributes)) + deflate.flush()
    return _PLAIN + packed if cipher is None else _SEALED + cipher.seal(packed)


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
        plain = zlib.decompressobj(_WINDOW, _DICTIONARY).decompress(packed)
        attributes: dict[str, Any] = msgspec.json.decode(plain, type=dict[str, Any])
    except (zlib.error, msgspec.DecodeError) as error:
        raise StoreError("content is damaged") from error
    return attributes
