"""Examples of a rule: made-up tokens, written as ``{{[A-Z0-9]:16}}``, and whether a miss comes close to the rule."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from cylestio_monitor.rules import pattern
from cylestio_monitor.rules.literals import EDGE, FREQUENT, MARK

if TYPE_CHECKING:
    from cylestio_monitor.rules.model import Rule

_RUN = re.compile(r"(\w)\1{15}")
_ESCAPE = re.compile(r"\\.|\(\?[a-zP]*[<&][^>)]*[>)]?")
_SPELT = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,}|[^\W\d_]{3,}|[^\x00-\x7f\w]")
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


def filler(rule: Rule, miss: str, number: int) -> bool:
    """Returns whether a miss has nothing of what the rule looks for, so that any rule would pass over it.

    A miss comes close where one of these holds:

    - an expression of the rule matches it, and a validator or a word nearby decides;
    - it holds a literal or a form that the engine looks for on behalf of the rule;
    - it holds a keyword or a context word;
    - it holds a word of three or more letters that an expression spells and most texts lack, or a sign beyond ASCII.

    A run of one character, such as a prefix and thirty times ``x``, does not come close. A rule of an evasion or of a
    detector is not judged: it has no expression.

    Args:
        rule: The rule, with its word lists.
        miss: The example, as the rule file has it.
        number: Its place among the misses of the rule.
    """
    if rule.evasion is not None or rule.detector is not None:
        return False
    text = expand(miss, f"{rule.id}{number}")
    if _RUN.search(text):
        return True
    low = f" {' '.join(text.lower().split())} "
    words = (*rule.keywords, *(rule.context.words if rule.context else ()))
    if any(word.lower() in low for word in words):
        return False
    ignore_case = rule.case == "insensitive"
    expressions = rule.expressions().values()
    spelt = {word.lower() for one in expressions for word in _SPELT.findall(_ESCAPE.sub(" ", one))}
    if any(word in low for word in spelt - FREQUENT):
        return False
    return not any(_near(pattern.shape(one, ignore_case=ignore_case), text, low) for one in expressions)


def _near(shape: pattern.Shape, text: str, low: str) -> bool:
    if re.search(shape.regex, text, shape.flags):
        return True
    return any(_holds(literal, low) for clause in (*shape.clauses, *shape.held) for literal in clause)


def _holds(literal: str, low: str) -> bool:
    if literal.startswith(MARK):
        return re.search(literal[1:].encode(), low.encode("utf-8", "surrogatepass"), re.IGNORECASE) is not None
    return literal.strip(EDGE) in low


def _members(definition: str) -> list[str]:
    """The characters of a class such as ``A-Za-z0-9_``, in the order of the alphabet."""
    member = re.compile(f"[{definition}]")
    return [character for character in map(chr, range(32, 127)) if member.match(character)]
