"""What the lists of ways to call a model share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True)
class Way:
    """One way to call.

    Attributes:
        title: Its line in the coverage table.
        run: Makes the call with a client; a coroutine function for an asynchronous one.
        spans: How many calls it makes.
        operation: What each is.
        answers: Whether the model's answer can be seen.
        usage: Whether the answer says what it cost.
        prompt: Whether the request holds the prompt.
        text: What the model shall answer.
    """

    title: str
    run: Callable[[Any], Any]
    spans: int = 1
    operation: str = "chat"
    answers: bool = True
    usage: bool = True
    prompt: bool = True
    text: str = "It is sunny."


def marked(found: Iterable[Way], kind: str) -> list[Any]:
    """Test parameters, each with its line of the coverage table."""
    return [pytest.param(way, id=way.title, marks=pytest.mark.case(f"{kind}: {way.title}")) for way in found]


def drain(stream: Any) -> None:
    """Reads to the end."""
    for _ in stream:
        pass


async def adrain(stream: Any) -> None:
    """Reads to the end."""
    async for _ in stream:
        pass


def with_(manager: Any, use: Callable[[Any], Any]) -> Any:
    """Uses what a context manager gives."""
    with manager as opened:
        return use(opened)


async def awith(manager: Any, use: Callable[[Any], Any]) -> Any:
    """Uses what an asynchronous context manager gives."""
    async with manager as opened:
        return await use(opened)
