"""The values of one session with their first speaker, and the lookup of a call's arguments in them."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from cylestio_monitor.govern.provenance import orders, tools
from cylestio_monitor.govern.provenance.atoms import Atom, AtomKind, atoms, fold, phrase, record, words
from cylestio_monitor.govern.provenance.leaves import ValueLeaf, leaves
from cylestio_monitor.govern.recent import entry_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cylestio_monitor.govern.provenance.tools import Effect
    from cylestio_monitor.model import Severity, Speaker

Shape: TypeAlias = Literal["field", "prose"]

_TRUSTED: Final = frozenset({"system", "user"})
_FREE_TEXT: Final = frozenset(
    [
        "body",
        "content",
        "contents",
        "text",
        "message",
        "messages",
        "subject",
        "title",
        "description",
        "note",
        "notes",
        "comment",
        "comments",
        "summary",
        "prompt",
        "query",
        "question",
        "answer",
        "caption",
        "input",
        "thought",
        "reason",
        "details",
        "data",
        "location",
    ]
)
_RECORD_KEY: Final = re.compile(r"(?:^|[._])ids?_?(?:\[\d+\])?$", re.IGNORECASE)
_NAME: Final = re.compile(r"[a-z]+")
_NAMED_KINDS: Final = frozenset({"email", "host", "url"})
_LOOSE_KINDS: Final = frozenset({"identifier", "record"})
_QUOTES: Final = frozenset("\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb")
_ADDRESS_KINDS: Final = frozenset({"url", "host"})
_SEVERITIES: Final[tuple[Severity, ...]] = ("low", "medium", "high")


_MAX_MARKS: Final = 20_000  # parts of one session that are known
_MAX_WAITING: Final = 200  # parts that wait to be read; they are kept alive until then


class ValueSource(NamedTuple):
    """The place at which a value was said first.

    Attributes:
        speaker: Who said it.
        tool: For a tool result: ``server/name`` or the tool's name; else empty.
        part: Id of the message part, as the caller of `Conversation.add` gave it.
        path: The leaf inside the part, such as ``[0].body``.
        start: Offset of the value in the folded leaf.
        end: Offset after the value.
        shape: ``field`` for a leaf that is the value, ``prose`` for a value inside a longer text.
        ordered: Whether an order stands near, or the part has an injection finding.
        is_exact: Whether the offsets are also those in the leaf as it is, which folding has not moved.
    """

    speaker: Speaker
    tool: str
    part: str
    path: str
    start: int
    end: int
    shape: Shape
    ordered: bool
    is_exact: bool = False


class _Prose:
    """A text of a tool result in which phrases are searched."""

    __slots__ = ("_orders", "folded", "source", "words")

    def __init__(self, folded: str, source: ValueSource) -> None:
        self.folded = folded
        self.words = words(folded)
        self.source = source
        self._orders: orders.Places | None = None

    def orders(self) -> orders.Places:
        """The orders in it, searched once."""
        if self._orders is None:
            self._orders = orders.places(self.folded)
        return self._orders


class _Found(NamedTuple):
    """A value of a call's arguments that only an untrusted source has said.

    Attributes:
        path: Its place in the arguments.
        kind: Its kind.
        text: Its spelling in the folded text.
        value: Its folded form, as of `Atom`.
        start: Its offset in the folded text.
        source: Where it was said first.
        is_composed: Whether it is the host of an address that nobody has said as a whole.
    """

    path: str
    kind: AtomKind
    text: str
    value: str
    start: int
    source: ValueSource
    is_composed: bool = False


class Origin(NamedTuple):
    """One argument value that only an untrusted source has said.

    Attributes:
        argument: Place in the arguments, such as ``recipients[0]``.
        kind: Kind of the value.
        start: Offset of the value in the folded argument text.
        end: Offset after the value.
        source: Where it was said first.
        severity: ``low`` for a field, ``medium`` for prose, ``high`` for prose near an order; one level more for a
            tool that no word of the user asks for.
        value: The value in its folded form: equal for equal values.
    """

    argument: str
    kind: AtomKind
    start: int
    end: int
    source: ValueSource
    severity: Severity
    value: str


class Conversation:
    """The values that one session has met, bounded in number and size."""

    def __init__(self, *, max_values: int = 20_000, max_prose: int = 400_000) -> None:
        """Starts empty.

        Args:
            max_values: Values kept; the oldest go first.
            max_prose: Code points of untrusted prose kept for the search of phrases; the oldest go first.
        """
        self._values: OrderedDict[str, ValueSource] = OrderedDict()
        self._max_values = max_values
        self._said: dict[str, str] = {"user": " ", "system": " "}
        self._prose: deque[_Prose] = deque()
        self._prose_size = 0
        self._max_prose = max_prose
        self._marks: OrderedDict[int, None] = OrderedDict()
        self._waiting: deque[tuple[Speaker, object, str, str, bool]] = deque()
        self._lock = threading.Lock()

    def is_new(self, mark: int) -> bool:
        """Returns whether a part with this mark has not been met in the session; it has been from now on."""
        with self._lock:
            if mark in self._marks:
                return False
            self._marks[mark] = None
            if len(self._marks) > _MAX_MARKS:
                self._marks.popitem(last=False)
            return True

    def add(self, speaker: Speaker, content: object, *, tool: str = "", part: str = "", suspect: bool = False) -> None:
        """Takes a message part that is new in the session.

        Args:
            speaker: Who said it.
            content: Text, or any JSON-like value.
            tool: For a tool result: the tool.
            part: Id of the part, for `ValueSource.part`.
            suspect: Whether the scanner found an injection in it.
        """
        with self._lock:
            self._waiting.append((speaker, content, tool, part, suspect))
            while len(self._waiting) > _MAX_WAITING:
                self._read(*self._waiting.popleft())

    def trace(
        self,
        tool: str,
        arguments: object,
        *,
        hints: Mapping[str, object] | None = None,
        catalogue: Mapping[str, Effect] | None = None,
    ) -> list[Origin]:
        """The values of a call's arguments that only an untrusted source has said, one entry for each value.

        Args:
            tool: Name of the tool that is about to run.
            arguments: Its arguments, any JSON-like value.
            hints: MCP annotations of the tool.
            catalogue: The user's statements about the effect of tools.
        """
        effect = tools.effect_of(tool, hints=hints, catalogue=catalogue)
        if effect == "reads":
            return []
        with self._lock:
            while self._waiting:
                self._read(*self._waiting.popleft())
            found = [one for one in self._lookup(arguments) if effect == "acts" or one.kind in _ADDRESS_KINDS]
            asked = bool(found) and tools.asked_for(tool, self._said["user"])
            return [
                Origin(
                    one.path,
                    one.kind,
                    one.start,
                    one.start + len(one.text),
                    one.source,
                    _severity(one, effect, asked=asked, related=self._is_related(one.kind, one.text)),
                    one.value,
                )
                for one in found
            ]

    def _read(self, speaker: Speaker, content: object, tool: str, part: str, suspect: bool) -> None:
        """Reads the values of a part that has waited: an agent without acting tools never pays for it."""
        # Only a tool result has fields: what a person or a model writes is read as one text.
        parts = [ValueLeaf("", content)] if speaker != "tool" and isinstance(content, str) else leaves(content)
        for leaf in parts:
            folded = fold(leaf.text)
            if speaker in _TRUSTED:
                self._said[speaker] = (self._said[speaker] + words(folded))[-self._max_prose :]
            is_exact = len(folded) == len(leaf.text) and folded == leaf.text.lower()
            self._add_leaf(speaker, folded, leaf.path, tool, part, suspect, is_exact=is_exact)

    def _add_leaf(
        self, speaker: Speaker, folded: str, path: str, tool: str, part: str, suspect: bool, *, is_exact: bool
    ) -> None:
        stripped = folded.strip()
        said: orders.Places | None = None
        for atom in _atoms_of(path, folded):
            known = self._values.get(atom.value)
            if known is not None and known.speaker in _TRUSTED:
                continue
            shape: Shape = "field" if len(stripped) <= atom.end - atom.start + 2 else "prose"
            ordered = False
            if speaker == "tool" and shape == "prose":
                said = orders.places(folded) if said is None else said
                ordered = suspect or orders.near(said, atom.start, atom.end)
            if known is None or speaker in _TRUSTED or (known.speaker == "tool" and ordered and not known.ordered):
                place = ValueSource(speaker, tool, part, path, atom.start, atom.end, shape, ordered, is_exact)
                self._keep(atom.value, place)
        if speaker == "tool" and " " in stripped:
            source = ValueSource(speaker, tool, part, path, 0, len(folded), "prose", suspect, is_exact)
            self._keep_prose(_Prose(folded, source))

    def _keep(self, value: str, source: ValueSource) -> None:
        self._values[value] = source
        if len(self._values) > self._max_values:
            self._values.popitem(last=False)

    def _keep_prose(self, prose: _Prose) -> None:
        self._prose.append(prose)
        self._prose_size += len(prose.words)
        while self._prose_size > self._max_prose:
            self._prose_size -= len(self._prose.popleft().words)

    def _lookup(self, arguments: object) -> Iterator[_Found]:
        for leaf in leaves(arguments):
            folded = fold(leaf.text)
            seen = False
            unsaid = -1  # where an address starts that nobody has said as a whole
            for atom in _atoms_of(leaf.path, folded):
                seen = True
                if atom.kind == "record" and self._is_said(atom.value.removeprefix("id ")):
                    continue
                source = self._values.get(atom.value)
                if source is None and atom.kind == "url":
                    unsaid = atom.start
                if source is None or source.speaker != "tool":
                    continue
                if source.ordered or atom.kind not in _LOOSE_KINDS or not _is_free_text(leaf.path):
                    text, composed = folded[atom.start : atom.end], unsaid == atom.start
                    yield _Found(leaf.path, atom.kind, text, atom.value, atom.start, source, composed)
            if seen:
                continue
            chosen = not _is_free_text(leaf.path)
            if (name := phrase(folded)) and (source := self._phrase(name, chosen=chosen)) is not None:
                yield _Found(leaf.path, "phrase", folded, name, 0, source)

    def _is_related(self, kind: AtomKind, value: str) -> bool:
        """Returns whether an address holds a name that the user said, as ``dora@example.org`` does for ``Dora``."""
        return kind in _NAMED_KINDS and any(
            f" {word} " in self._said["user"] for word in _NAME.findall(value) if len(word) > 3
        )

    def _phrase(self, name: str, *, chosen: bool) -> ValueSource | None:
        """The source of a phrase; one that was not chosen but composed counts where an order quotes it."""
        if self._is_said(name):
            return None
        wanted = f" {name} "
        for prose in self._prose:
            if wanted not in prose.words:
                continue
            place = re.search(r"[\W_]+".join(name.split()), prose.folded)
            if place is None:
                continue
            ordered = prose.source.ordered or orders.near(prose.orders(), place.start(), place.end())
            if chosen or (ordered and _is_quoted(prose.folded, place.start(), place.end())):
                return prose.source._replace(ordered=ordered, start=place.start(), end=place.end())
        return None

    def _is_said(self, name: str) -> bool:
        wanted = f" {name} "
        return wanted in self._said["user"] or wanted in self._said["system"]


def _atoms_of(path: str, folded: str) -> Iterator[Atom]:
    """The atoms of a leaf; a short number under a key such as ``file_id`` is a record."""
    if len(folded) < 6 and folded.isdecimal() and _RECORD_KEY.search(path):
        yield Atom("record", record(folded), 0, len(folded))
    else:
        yield from atoms(folded)


def _is_quoted(folded: str, start: int, end: int) -> bool:
    return folded[:start].rstrip()[-1:] in _QUOTES and folded[end : end + 2].lstrip(" .!")[:1] in _QUOTES


@lru_cache(maxsize=4096)
def _is_free_text(path: str) -> bool:
    """Returns whether an argument holds composed text, such as a body, that may quote a result."""
    return not _FREE_TEXT.isdisjoint(_NAME.findall(path.lower()))


def _severity(found: _Found, effect: Effect, *, asked: bool, related: bool) -> Severity:
    if found.kind == "record" and found.source.shape == "field":
        return "low"  # the number that a list gives a record is the only way to name it
    if effect == "fetches" and asked and not found.is_composed:
        return "low"  # who lets an agent browse lets it follow what a page mentions; a composed address may carry data
    level = 0 if found.source.shape == "field" else 2 if found.source.ordered else 1
    if effect == "fetches":  # an address is read far more often than money is sent to it
        level -= 1
    if related:
        level -= 1
    if not asked:
        level += 1
    return _SEVERITIES[min(max(level, 0), 2)]


class OpenConversations:
    """The conversations of the open sessions; the one unused for longest goes first."""

    def __init__(self, size: int = 1024) -> None:
        """Keeps at most `size` sessions."""
        self._size = size
        self._open: OrderedDict[str, Conversation] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, session: str) -> Conversation:
        """The conversation of a session, new where it is unknown."""
        with self._lock:
            return entry_of(self._open, session, Conversation, self._size)
