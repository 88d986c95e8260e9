"""Real English text for benchmarks: the language reference that every Python carries.

A benchmark that repeats one sentence, or sends one text twice, measures a cache. Each passage here begins at another
place of 400 KB of prose, tables and code, so no two calls send the same text.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = 7919
"""Characters between the beginnings of two passages: prime, so that the beginnings do not come round again."""


@functools.cache
def reference() -> str:
    """The whole text, without the few places in which the scanner finds something (addresses of web pages)."""
    from pydoc_data import topics

    paragraphs = "\n\n".join(topics.topics.values()).split("\n\n")
    return "\n\n".join(one for one in paragraphs if "://" not in one)


def passages(size: int) -> Iterator[str]:
    """Passages of `size` characters without end, each of them another."""
    whole = reference()
    twice = whole + whole[:size]
    for number in itertools.count():
        start = number * STEP % len(whole)
        yield twice[start : start + size] if size <= len(whole) else twice
