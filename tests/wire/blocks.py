"""What the model shall answer, independent of any provider's format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Text:
    """Text of the answer, streamed in pieces of `piece` characters."""

    text: str
    piece: int = 6


@dataclass(frozen=True)
class Thinking:
    """Reasoning before the answer."""

    text: str
    piece: int = 6


@dataclass(frozen=True)
class ToolCall:
    """A tool that the model asks for."""

    name: str
    arguments: dict[str, Any]
    id: str = "call_1"


@dataclass(frozen=True)
class Usage:
    """Token counts, in the terms of the conventions: `input` holds neither cache reads nor writes."""

    input: int = 11
    output: int = 7
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Answer:
    """One answer of the model; where it has no id of its own, the format's usual one is given."""

    blocks: tuple[Text | Thinking | ToolCall, ...] = (Text("Hello from the wire."),)
    usage: Usage = field(default_factory=Usage)
    stop: str | None = None
    id: str | None = None

    @property
    def wants_tool(self) -> bool:
        return any(isinstance(block, ToolCall) for block in self.blocks)


def pieces(text: str, size: int) -> list[str]:
    """The text in pieces of `size` characters, as a model's tokens arrive."""
    return [text[start : start + size] for start in range(0, len(text), size)]
