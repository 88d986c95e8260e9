"""Examples with made-up tokens, written as ``{{[A-Z0-9]:16}}``."""

from __future__ import annotations

import random
import re

_TOKEN = re.compile(r"\{\{\[((?:[^\]\\]|\\.)+)\]:(\d{1,5})\}\}")


def expand(example: str, seed: str) -> str:
    """The example with every ``{{[class]:n}}`` replaced by `n` characters of the class.

    Args:
        example: The text of the rule file.
        seed: What the choice hangs on, such as the rule's id: the same seed gives the same text.
    """
    if "{{[" not in example:
        return example
    choice = random.Random(seed)  # noqa: S311 -- made-up text, nothing secret

    def fill(match: re.Match[str]) -> str:
        letters = _members(match[1])
        return "".join(choice.choice(letters) for _ in range(int(match[2])))

    return _TOKEN.sub(fill, example)


def _members(definition: str) -> list[str]:
    """The characters of a class such as ``A-Za-z0-9_``, in the order of the alphabet."""
    member = re.compile(f"[{definition}]")
    return [character for character in map(chr, range(32, 127)) if member.match(character)]
