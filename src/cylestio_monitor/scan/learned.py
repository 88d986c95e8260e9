"""A learned model for injections: weights of words and pairs of words, shipped as numbers.

The rules name what an attack must say; the model adds up what attacks tend to say. A text is judged in pieces of some
hundred words. The score of a piece is the sum of the weights of the features in it, divided by the square root of their
number, so that a long text is no more suspicious than a short one. Features are single words and pairs of adjacent
words, so a piece costs a few set operations. Most pieces are settled by the single words.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import msgspec

from cylestio_monitor.model import Target

if TYPE_CHECKING:
    from cylestio_monitor.scan.matching.compiled_rule import CompiledRule

RULE = "learned.injection"
CATEGORIES = frozenset({"prompt_injection", "jailbreak", "system_prompt_leakage", "tool_poisoning"})
"""Categories of rules whose finding makes the model's answer superfluous."""

SHORTEST = 16
"""Code points of the shortest text that is judged: a shorter one has too few features to reach a threshold."""

PIECE = 120
"""Words of a piece."""

FEWEST = 4
"""Least number of features that a score is divided by the root of."""

_FILE = Path(__file__).parents[1] / "rules" / "learned" / "injection.json"
_NAMED = 5  # features that a finding names
_BLANKS = " \t\n\r\v\f"
_SIGNS = "".join(sign for sign in map(chr, range(128)) if not sign.isalnum() and sign not in f"{_BLANKS}'_")
_FOLDED = bytes(32 if chr(code) in _SIGNS else code + 32 if 65 <= code <= 90 else code for code in range(256))
"""For each byte what stands for it: a blank for a sign, a small letter for a capital one."""

_WORD = re.compile(rf"[^{re.escape(_BLANKS + _SIGNS)}]+")


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The numbers of the model.

    Attributes:
        intercept: Score of a piece without features.
        gate: Score of the single words of a piece, without the intercept, below which its pairs are not looked at.
        thresholds: For each surface the score from which a piece is a finding; no other surface is judged.
        words: Weight of each word, lower case.
        pairs: Weight of each pair of words, separated by one blank.
    """

    intercept: float
    gate: float
    thresholds: dict[str, float]
    words: dict[str, float]
    pairs: dict[str, float]


class Judgement(NamedTuple):
    """The piece of a text that scores highest, where it reaches the threshold.

    Attributes:
        start: First code point of its first weighty feature.
        end: The code point after its last one.
        score: Its score.
        features: The features that weighed most, the weightiest first.
    """

    start: int
    end: int
    score: float
    features: tuple[str, ...]


class Classifier:
    """Judges texts by `Weights`. Safe to use from any thread: it holds no state but the numbers."""

    def __init__(self, weights: Weights) -> None:
        """Takes the numbers."""
        self._weights = weights
        self._words = {word.encode(): weight for word, weight in weights.words.items()}
        self._pairs = {tuple(pair.encode().split()): weight for pair, weight in weights.pairs.items()}
        self._known_words, self._known_pairs = frozenset(self._words), frozenset(self._pairs)

    @property
    def surfaces(self) -> frozenset[str]:
        """The surfaces whose texts are judged."""
        return frozenset(self._weights.thresholds)

    def judge(self, text: str, surface: str) -> Judgement | None:
        """Returns the judgement of a text, and ``None`` where no piece of it reaches the threshold.

        Args:
            text: The text.
            surface: The surface it stands on, such as ``llm``.
        """
        threshold = self._weights.thresholds.get(surface)
        if threshold is None:
            return None
        found = words(text)
        best, place = threshold, -1
        for start in range(0, len(found), PIECE):
            score = self.score(found[start : start + PIECE])
            if score >= best:
                best, place = score, start
        return None if place < 0 else self._located(text, found, place, best)

    def score(self, piece: list[bytes]) -> float:
        """Returns the score of a piece."""
        weights = self._weights
        known = self._known_words.intersection(piece)
        total = sum(map(self._words.__getitem__, known))
        if total < weights.gate * sqrt(max(len(known), FEWEST)):
            return weights.intercept
        pairs = self._known_pairs.intersection(pairwise(piece))
        total += sum(map(self._pairs.__getitem__, pairs))
        return weights.intercept + total / sqrt(max(len(known) + len(pairs), FEWEST))

    def _located(self, text: str, found: list[bytes], place: int, score: float) -> Judgement:
        piece = found[place : place + PIECE]
        weighed: list[tuple[float, tuple[bytes, ...]]] = []
        weighed += [(self._words[word], (word,)) for word in self._known_words.intersection(piece)]
        weighed += [(self._pairs[pair], pair) for pair in self._known_pairs.intersection(pairwise(piece))]
        weighed.sort(reverse=True)
        top = [feature for weight, feature in weighed[:_NAMED] if weight > 0]
        spans = _spans(text)[place : place + PIECE]
        marked = [
            (spans[number][0], spans[number + len(feature) - 1][1])
            for feature in top
            for number in range(len(piece) - len(feature) + 1)
            if tuple(piece[number : number + len(feature)]) == feature
        ]
        start, end = (min(marked)[0], max(end for _, end in marked)) if marked else (spans[0][0], spans[-1][1])
        return Judgement(start, end, score, tuple(b" ".join(feature).decode() for feature in top))


def surfaces(rule: CompiledRule | None) -> frozenset[tuple[str, str]]:
    """Returns the sides and surfaces of a call whose texts are judged for the rule; none where it is not in force."""
    if rule is None:
        return frozenset()
    known = classifier().surfaces
    return frozenset(
        (target, surface) for target in get_args(Target) for surface in known if rule.applies(target, surface)
    )


def words(text: str) -> list[bytes]:
    """Returns the words of a text as UTF-8, ASCII letters in lower case and without signs."""
    return text.encode("utf-8", "surrogatepass").translate(_FOLDED).split()


def _spans(text: str) -> list[tuple[int, int]]:
    """Returns the places of the words, in code points."""
    return [match.span() for match in _WORD.finditer(text)]


@cache
def classifier() -> Classifier:
    """Returns the classifier with the shipped numbers, which takes about a millisecond once."""
    return Classifier(msgspec.json.decode(_FILE.read_bytes(), type=Weights))
