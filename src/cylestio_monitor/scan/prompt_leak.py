"""Tells when an answer repeats the system prompt of its call.

The prompt is kept as runs of six words; of an answer every sixth run is looked up, so that a common passage of twelve
words cannot be missed and a look costs little. What the prompt itself means to be said stands apart and is no leak:
quoted passages, code, and the documents that an application puts between tags.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import replace
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cylestio_monitor.model import Finding

RULE = "prompt.repeated"
LONGEST_RUN = 12
"""Words in a row that both have: what is shorter, both may have by chance."""

_GRAM = LONGEST_RUN // 2
_SHARE = 0.6
_SENTENCE = 4
_MAX_PROMPT = 100_000
_TAIL = 2_000
_KEPT = 1_000_000
_SYLLABIC = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_SYLLABIC}]{{2}}|[^\W_]+")
"""A word; in Chinese, Japanese and Korean two signs stand for one."""

_SAID = re.compile(
    r"```.{0,20000}?```|<(?P<tag>context|documents?|docs?|sources?|data|examples?|results?|search_results|passages?|chunks?)\b"
    r"[^>]{0,100}>.{0,50000}?</(?P=tag)>|\"[^\"\n]{12,400}\"|“[^”\n]{12,400}”|«[^»\n]{12,400}»",
    re.DOTALL | re.IGNORECASE,
)
_END = re.compile(r"[.!?:;\n\u3002\uff01\uff1f]+")
_BREAK = "\x00"


class Span(NamedTuple):
    """A place in an answer, in code points."""

    start: int
    end: int


class Prompt:
    """A system prompt, ready to be recognised."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Takes the texts of which the prompt consists."""
        self._words: list[str] = []
        self._sentences: list[str] = []
        for text in texts:
            for passage in _passages(text[:_MAX_PROMPT]):
                self._words += [*_words(passage), _BREAK]
                sentences = (_words(sentence) for sentence in _END.split(passage))
                self._sentences += [f" {' '.join(one)} " for one in sentences if len(one) >= _SENTENCE]
        self._grams: dict[tuple[str, ...], list[int]] = {}
        for place, gram in enumerate(_grams(self._words)):
            if _BREAK not in gram:
                self._grams.setdefault(gram, []).append(place)

    def __bool__(self) -> bool:
        return bool(self._grams) or len(self._sentences) > 1

    def repeated_in(self, text: str) -> Span | None:
        """The first long run of words that the text has in common with the prompt."""
        words = _words(text)
        for place in range(0, len(words) - _GRAM + 1, _GRAM):
            for origin in self._grams.get(tuple(words[place : place + _GRAM]), ())[:8]:
                first, last = self._extended(words, place, origin)
                if last - first >= LONGEST_RUN:
                    return _span(text, first, last)
        return None

    def mostly_in(self, text: str) -> Span | None:
        """Where most of the prompt's sentences stand, in any order; for prompts of short sentences."""
        if len(self._sentences) < 2:
            return None
        words = _words(text)
        joined = f" {' '.join(words)} "
        places = [(joined.find(sentence), sentence) for sentence in self._sentences]
        found = [(place, sentence) for place, sentence in places if place >= 0]
        if len(found) < max(2, _SHARE * len(self._sentences)):
            return None
        first = min(joined.count(" ", 0, place + 1) - 1 for place, _ in found)
        last = max(joined.count(" ", 0, place + 1) - 1 + sentence.count(" ") - 1 for place, sentence in found)
        return _span(text, first, last)

    def _extended(self, words: Sequence[str], place: int, origin: int) -> tuple[int, int]:
        """The common run around a common gram, as numbers of the first word and of the one behind the last."""
        mine = self._words
        before = 0
        while before < min(place, origin) and words[place - before - 1] == mine[origin - before - 1]:
            before += 1
        after, most = _GRAM, min(len(words) - place, len(mine) - origin)
        while after < most and words[place + after] == mine[origin + after]:
            after += 1
        return place - before, place + after


class Prompts:
    """The prompts met last: an agent sends the same one with every call."""

    def __init__(self, size: int = 64) -> None:
        """Keeps at most `size` prompts."""
        self._size = size
        self._known: OrderedDict[tuple[str, ...], Prompt] = OrderedDict()
        self._lock = Lock()

    def of(self, texts: tuple[str, ...]) -> Prompt:
        """The prompt of these texts."""
        with self._lock:
            known = self._known.get(texts)
            if known is not None:
                self._known.move_to_end(texts)
                return known
        made = Prompt(texts)
        with self._lock:
            self._known[texts] = made
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        return made


class PromptLeakDetector:
    """Looks at the answers of one call for its system prompt; each place of an answer is reported once."""

    def __init__(self, prompt: Prompt, make: Callable[[str, Span, str], Finding | None]) -> None:
        """Begins to look.

        Args:
            prompt: The prompt of the call.
            make: Makes the finding of a text, a place in it and a path; none where it is silenced.
        """
        self._prompt = prompt
        self._make = make

    def text(self, text: str, path: str) -> list[Finding]:
        """Returns the findings of a whole text."""
        return self.run(text, path) or self.sentences(text, path)

    def run(self, text: str, path: str) -> list[Finding]:
        """A long run of words of the prompt."""
        return self._found(text, self._prompt.repeated_in(text), path)

    def sentences(self, text: str, path: str) -> list[Finding]:
        """Most of the prompt's sentences."""
        return self._found(text, self._prompt.mostly_in(text), path)

    def stream(self, path: str) -> PromptLeakStream:
        """A text that comes in chunks."""
        return PromptLeakStream(self, path)

    def _found(self, text: str, span: Span | None, path: str) -> list[Finding]:
        finding = self._make(text, span, path) if span is not None else None
        return [finding] if finding is not None else []


class PromptLeakStream:
    """Looks at a text as it arrives; offsets are those of the whole stream."""

    def __init__(self, watch: PromptLeakDetector, path: str) -> None:
        """Begins an empty stream; `PromptLeakDetector.stream` is the way to it."""
        self._watch = watch
        self._path = path
        self._chunks: list[str] = []
        self._tail = ""
        self._length = 0
        self._told = False

    def feed(self, chunk: str) -> list[Finding]:
        """Takes the next chunk; what it completes."""
        if self._told or self._length > _KEPT:
            return []
        self._chunks.append(chunk)
        self._length += len(chunk)
        window = self._tail + chunk
        self._tail = window[-_TAIL:]
        found = self._watch.run(window, self._path)
        self._told = bool(found)
        offset = self._length - len(window)
        return [replace(one, start=one.start + offset, end=one.end + offset) for one in found]

    def finish(self) -> list[Finding]:
        """Ends the stream: what only the whole text shows."""
        whole = "".join(self._chunks)
        self._chunks.clear()
        return [] if self._told else self._watch.sentences(whole, self._path)


def _passages(text: str) -> list[str]:
    """The text without what it means to be said or shown."""
    out: list[str] = []
    at = 0
    for said in _SAID.finditer(text):
        out.append(text[at : said.start()])
        at = said.end()
    return [*out, text[at:]]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _grams(words: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return zip(*(islice(words, shift, None) for shift in range(_GRAM)), strict=False)


def _span(text: str, first: int, last: int) -> Span:
    """From the word number `first` to the one before `last`, in code points."""
    low = text.lower()
    places = [match.span() for match in islice(_WORD.finditer(low if len(low) == len(text) else text), first, last)]
    return Span(places[0][0], places[-1][1]) if places else Span(0, len(text))
