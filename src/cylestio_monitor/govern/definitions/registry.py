"""The tool definitions that this process has met, with their states, and the findings of a change.

A server that changes the definition of a tool after somebody has approved it makes the tool something else: a "rug
pull". Tools of the application itself, which stand in the requests to a model, change with each release: there a change
is a finding within one conversation, and once a version was approved.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from cylestio_monitor import sanitize
from cylestio_monitor.govern.definitions.content import (
    MAX_BYTES,
    Definition,
    changed_fields,
    content_of,
    names_in,
    referred,
)
from cylestio_monitor.govern.definitions.findings import (
    CHANGED,
    OTHER_TOOL,
    REFUSED,
    SAME_NAME,
    UNAPPROVED,
    finding_about,
    raised,
)
from cylestio_monitor.govern.recent import entry_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cylestio_monitor.model import Finding, Severity, ToolDefinition

Refuses: TypeAlias = Literal["none", "changed", "unapproved"]
State: TypeAlias = Literal["seen", "approved", "refused"]

_REFRESH_S: Final = 2.0
"""Seconds after which the states are read again: somebody may have approved or refused a version elsewhere."""
_MAX_TOOLS: Final = 8192
_MAX_VERSIONS: Final = 64  # of one tool; a definition that differs in each request is not recorded without end
_MAX_SCOPES: Final = 1024
_SENTENCES: Final = {
    REFUSED: "The definition of the tool {} was refused.",
    CHANGED: "The definition of the tool {} has changed since it was approved.",
    UNAPPROVED: "The definition of the tool {} is not approved.",
}


class KnownVersion(NamedTuple):
    """One version of a tool's definition in the store; attributes as of `SeenVersion`."""

    server: str
    name: str
    digest: str
    state: State
    last_ns: int


class SeenVersion(NamedTuple):
    """One version of a tool's definition as this process has met it.

    Attributes:
        server: The server; empty for tools of the application.
        name: The tool's name.
        digest: SHA-256 of the definition, hexadecimal.
        definition: The definition as JSON, secrets and personal data masked.
        time_ns: When it was met, in ns since the epoch.
        place: Trace and span id, as ``trace:span``.
        before: Digest of the version before, where this one changes it.
        fields: Names of the fields that changed.
    """

    server: str
    name: str
    digest: str
    definition: str
    time_ns: int
    place: str
    before: str = ""
    fields: tuple[str, ...] = ()


class Refusal(NamedTuple):
    """The reason why calls of a tool are refused."""

    rule: str
    reason: str


class DefinitionStore(Protocol):
    """Keeps versions and their states; several processes and the command line share it."""

    def load(self) -> Iterable[KnownVersion]:
        """All versions, the latest seen first."""

    def add(self, seen: SeenVersion) -> None:
        """Keeps a version; of one that is known, the time alone."""

    def definition(self, server: str, name: str, digest: str) -> str | None:
        """The definition of a version as JSON."""


class _PinnedDefinition:
    """One tool of one server.

    Attributes:
        states: State by digest.
        current: Digest of the version that was met last.
        marks: Digest by a fast hash of the definition, for versions that this process has met.
        words: Words of the current definition that may name other tools.
        content: The current definition, masked, as far as this process has met it.
    """

    __slots__ = ("content", "current", "marks", "states", "words")

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.current = ""
        self.marks: dict[int, str] = {}
        self.words: frozenset[str] = frozenset()
        self.content = ""

    @property
    def state(self) -> State:
        return self.states.get(self.current, "seen")

    @property
    def is_pinned(self) -> bool:
        return "approved" in self.states.values()


class ToolDefinitions:
    """The definitions of all tools, with what control may ask about them. Safe for threads."""

    def __init__(
        self,
        *,
        refuses: Refuses = "changed",
        storage: DefinitionStore | None = None,
        pins: Iterable[KnownVersion] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes what is refused and where versions are kept.

        Args:
            refuses: Tools whose calls are refused: ``none``; ``changed``: those that were refused, or were approved
                and have changed; ``unapproved``: those without an approved definition as well.
            storage: Keeps versions; without it they last as long as the process.
            pins: Versions of a committed file: approved, unless a person has refused them here.
            clock: Gives seconds.
        """
        self._refuses = refuses
        self._storage = storage
        self._clock = clock
        self._read_at: float | None = None
        self._tools: OrderedDict[tuple[str, str], _PinnedDefinition] = OrderedDict()
        self._servers: dict[str, set[str]] = {}
        self._scopes: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._pins = frozenset((one.server, one.name, one.digest) for one in pins)
        for server, name, digest in self._pins:
            self._tool(server, name).states[digest] = "approved"

    def observe(
        self,
        tools: Sequence[ToolDefinition],
        server: str,
        scope: str = "",
        *,
        place: str = "",
        found: Sequence[Finding] = (),
        mask: Callable[[Any], Any] = lambda value: value,
    ) -> tuple[list[Finding], list[str]]:
        """Takes definitions; their findings, and the names of the tools that changed, sorted.

        Args:
            tools: The definitions.
            server: The server that lists them; empty for tools of the application.
            scope: For tools of the application: the conversation that they are offered in.
            place: Trace and span id, as ``trace:span``.
            found: What the scanner found in the call; an injection in a new text raises the severity.
            mask: Masks secrets and personal data in a value.
        """
        seen = {_mark(tool): tool for tool in tools if tool.type != "unreadable"}
        with self._lock:
            before = entry_of(self._scopes, scope, dict, _MAX_SCOPES) if scope and not server else {}
            if before and before == {tool.name: mark for mark, tool in seen.items()}:
                return [], []
            self._refresh()
            findings: list[Finding] = []
            changed = set()
            for mark, tool in seen.items():
                changes_here = before.get(tool.name, mark) != mark
                more, has_changed = self._take(tool, mark, server, place, mask, changes_here=changes_here)
                before[tool.name] = mark
                findings += [raised(one, found) for one in more]
                if has_changed:
                    changed.add(tool.name)
            return findings, sorted(changed)

    def refusal(self, server: str, tool: str) -> Refusal | None:
        """The reason why calls of a tool are refused; ``None`` where they are not.

        Args:
            server: The server; empty for a tool of the application.
            tool: The tool's name.
        """
        if self._refuses == "none":
            return None
        with self._lock:
            self._refresh()
            for place in dict.fromkeys((server, "")):
                known = self._tools.get((place, tool))
                rule = _broken(known) if known is not None else None
                if rule is None and self._refuses == "unapproved" and place == server:
                    # A tool of the application of which no definition was met has none that could be approved.
                    is_open = known.state != "approved" if known is not None else bool(server)
                    rule = UNAPPROVED if is_open else None
                if rule is not None:
                    name = f"{server}/{tool}" if server else tool
                    return Refusal(rule, _SENTENCES[rule].format(name))
        return None

    def standing(self, server: str, tool: str) -> tuple[str, str]:
        """State and digest of the definition in use: ``unknown`` and empty where none was met.

        Args:
            server: The server; empty for a tool of the application.
            tool: The tool's name.
        """
        with self._lock:
            self._refresh()
            known = self._tools.get((server, tool))
            if known is None:
                return "unknown", ""
            return "changed" if _broken(known) == CHANGED else known.state, known.current

    def _take(
        self,
        tool: ToolDefinition,
        mark: int,
        server: str,
        place: str,
        mask: Callable[[Any], Any],
        *,
        changes_here: bool,
    ) -> tuple[list[Finding], bool]:
        """Takes one definition; its findings, and whether it changes a version before it."""
        known = self._tool(server, tool.name)
        digest = known.marks.get(mark)
        if digest is not None:
            known.current = digest
            return ([finding_about(CHANGED, "low", tool, "in one conversation")] if changes_here else []), False
        if len(known.marks) >= _MAX_VERSIONS:
            known.current = ""  # none that could be approved
            return [], False
        definition = Definition.of(tool)
        digest, previous = definition.digest, known.current
        is_met = digest in known.marks.values()  # written otherwise, with the keys in another order
        follows = not is_met and (bool(known.marks) or (bool(known.states) and digest not in known.states))
        has_changed = changes_here or (follows and (bool(server) or known.is_pinned))
        known.marks[mark] = digest
        known.states.setdefault(digest, "seen")
        fields: tuple[str, ...] = ()
        masked = sanitize.to_json(mask(definition.content), MAX_BYTES)
        if previous and previous != digest:
            fields = _fields_between(known.content or self._stored(server, tool.name, previous), masked)
        known.current, known.content, known.words = digest, masked, names_in(definition.content)
        if self._storage is not None:
            now_ns = time.time_ns()
            replaced = previous if has_changed else ""
            self._storage.add(SeenVersion(server, tool.name, digest, masked, now_ns, place, replaced, fields))
        rule = self._standing(known, has_changed=has_changed)
        findings = []
        if rule is not None:
            severity: Severity = "low" if rule == UNAPPROVED or not (server or known.is_pinned) else "medium"
            findings.append(finding_about(rule, severity, tool, ", ".join(fields) if rule == CHANGED else ""))
        if server:
            findings += self._relations(known, tool, server)
        return findings, has_changed

    def _standing(self, known: _PinnedDefinition, *, has_changed: bool) -> str | None:
        """The rule of the finding about the state of the current version; each state is reported once."""
        broken = _broken(known)
        if broken is not None or has_changed:
            return broken or CHANGED
        return UNAPPROVED if self._refuses == "unapproved" and known.state != "approved" else None

    def _relations(self, known: _PinnedDefinition, tool: ToolDefinition, server: str) -> list[Finding]:
        """The findings about tools of other servers: the same name, and texts that refer to them."""
        findings = []
        servers = self._servers.setdefault(tool.name, set())
        if servers - {server}:
            findings.append(finding_about(SAME_NAME, "low", tool, "listed by another server too"))
        servers.add(server)
        others = [name for name, of in self._servers.items() if name != tool.name and server not in of]
        if referred(known.words, others):
            findings.append(finding_about(OTHER_TOOL, "medium", tool, "names a tool of another server"))
        for (of, name), other in self._tools.items():
            if of not in {"", server} and name != tool.name and tool.name in other.words:
                findings.append(finding_about(OTHER_TOOL, "medium", tool, "is named by a tool of another server"))
                break
        return findings

    def _tool(self, server: str, name: str) -> _PinnedDefinition:
        key = (server, name)
        known = self._tools.get(key)
        if known is None:
            known = self._tools[key] = _PinnedDefinition()
            if len(self._tools) > _MAX_TOOLS:
                (_, gone), _ = self._tools.popitem(last=False)
                self._servers.pop(gone, None)
        self._tools.move_to_end(key)
        return known

    def _stored(self, server: str, name: str, digest: str) -> str:
        """The definition of a version that this process has not met itself."""
        if self._storage is None or not digest:
            return ""
        return self._storage.definition(server, name, digest) or ""

    def _refresh(self) -> None:
        """Reads the states anew, at most every other second."""
        now = self._clock()
        if self._storage is None or (self._read_at is not None and now - self._read_at < _REFRESH_S):
            return
        try:
            versions = list(self._storage.load())
        except Exception:  # whatever SQLite raises: what was known before stays
            if self._read_at is None:
                raise  # nothing is known of what was approved: no call may pass as approved
            return
        self._read_at = now
        for one in versions:
            known = self._tool(one.server, one.name)
            is_pinned = one.state == "seen" and (one.server, one.name, one.digest) in self._pins
            known.states[one.digest] = "approved" if is_pinned else one.state
            known.current = known.current or one.digest


def _broken(known: _PinnedDefinition) -> str | None:
    """The rule of a definition that was refused, or that has changed since it was approved."""
    if known.state == "refused":
        return REFUSED
    return CHANGED if known.is_pinned and known.state != "approved" else None


def _mark(tool: ToolDefinition) -> int:
    """A fast hash of all that a model may read of a tool, equal within this process."""
    try:
        given = [None if value is None else msgspec.json.encode(value) for value in (tool.parameters, tool.extra)]
        return hash((tool.name, tool.description, tool.type, *given))
    except Exception:  # noqa: BLE001 -- whatever an SDK holds: a definition that cannot be encoded is cleaned first
        return hash(sanitize.to_json(content_of(tool), MAX_BYTES))


def _fields_between(before: str, after: str) -> tuple[str, ...]:
    try:
        one, other = (msgspec.json.decode(text, type=dict[str, Any]) for text in (before, after))
    except msgspec.MsgspecError:  # no earlier text, or one that was cut
        return ()
    return changed_fields(one, other)
