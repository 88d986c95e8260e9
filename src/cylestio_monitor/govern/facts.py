"""The facts of a call that a decision may use: plain data, storable, without content.

The same facts decide a call when it happens and again in a replay. The one difference is `ArgumentFact.text`: it is
there while the call happens and is not stored, so that conditions that need it are undecidable in a replay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from cylestio_monitor import sanitize
from cylestio_monitor.govern.provenance.leaves import TOO_DEEP, walk
from cylestio_monitor.govern.readings.hosts import hosts_of
from cylestio_monitor.govern.readings.numbers import number_in, spelling
from cylestio_monitor.govern.readings.paths import folders_of
from cylestio_monitor.scan.results.redaction import TOKEN_BEGINNINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cylestio_monitor.govern.provenance import Origin
    from cylestio_monitor.model import Finding

ValueKind: TypeAlias = Literal["text", "number", "bool", "null", "unread"]
"""``unread`` stands for values of an argument that are beyond a bound."""

MAX_ARGUMENTS: Final = 500
"""Values of one call that facts are kept for; `CallFacts.complete` is false where there were more."""

MAX_NAME: Final = 120
"""Bytes of an argument's name that are kept."""

_LONGEST_INTEGER: Final = 10**40
_SECRET, _PERSONAL = TOKEN_BEGINNINGS


class ArgumentFact(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    """One value among the arguments of a call.

    Attributes:
        name: Its place, such as ``to`` or ``recipients[0]``.
        kind: Its kind.
        size: Code points of a text; 0 for other kinds.
        digest: Keyed hash of the value, so that equal values can be told without keeping them.
        hosts: Hosts of the URLs and e-mail addresses in a text, in lower case, sorted.
        folder: For a text that is a file path: the folder it lies in, normalised; else empty.
        number: For a number, or a text that spells one: the number.
        text: The text itself, or a scalar as JSON spells it; never stored.
        other_folder: The folder that some readers see in place of `folder`; empty where all agree.
    """

    name: str
    kind: ValueKind
    size: int = 0
    digest: str = ""
    hosts: tuple[str, ...] = ()
    folder: str = ""
    number: float | None = None
    text: str | None = None
    other_folder: str = ""


class FindingFact(msgspec.Struct, frozen=True, array_like=True):
    """One finding of a call: what a condition may ask of it."""

    category: str
    rule: str
    severity: str
    surface: str


class OriginFact(msgspec.Struct, frozen=True, array_like=True):
    """One untrusted value among the arguments: what a condition may ask of it."""

    argument: str
    tool: str
    shape: str
    severity: str


class CallFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything about one call that a decision may use.

    Attributes:
        time_ns: When it happened, in ns since the epoch.
        tool: The tool's name; empty for a model call.
        server: The server that offers the tool; empty where there is none.
        model: The model of a model call, and of one that asks for the tool; empty where that is not known.
        agent: Agent id.
        user: User id.
        roles: Roles of the user.
        session: Session id.
        trace: Trace id, 32 hexadecimal digits.
        arguments: Facts of the argument values.
        complete: Whether `arguments` holds all values.
        findings: Findings of the call.
        origins: Untrusted values among the arguments.
        definition: State of the tool's definition: ``seen``, ``approved``, ``changed`` since it was approved,
            ``refused``, or ``unknown``.
        definition_digest: SHA-256 of the definition, hexadecimal; empty where it is unknown.
        tokens: Tokens that the call used, known after it.
        cost: Cost of the call, known after it.
    """

    time_ns: int
    tool: str = ""
    server: str = ""
    model: str = ""
    agent: str = ""
    user: str = ""
    roles: tuple[str, ...] = ()
    session: str = ""
    trace: str = ""
    arguments: tuple[ArgumentFact, ...] = ()
    complete: bool = True
    findings: tuple[FindingFact, ...] = ()
    origins: tuple[OriginFact, ...] = ()
    definition: str = "unknown"
    definition_digest: str = ""
    tokens: int = 0
    cost: float = 0.0

    @property
    def full_tool(self) -> str:
        """``server/tool``, or the tool's name where there is no server."""
        return f"{self.server}/{self.tool}" if self.server else self.tool

    def storable(self) -> bytes:
        """The facts as JSON without any content."""
        bare = tuple(msgspec.structs.replace(argument, text=None) for argument in self.arguments)
        return msgspec.json.encode(msgspec.structs.replace(self, arguments=bare))


def load(stored: bytes) -> CallFacts:
    """Facts from what `CallFacts.storable` returned.

    Raises:
        msgspec.MsgspecError: The bytes hold no facts.
    """
    return msgspec.json.decode(stored, type=CallFacts)


def argument_facts(arguments: object, key: bytes) -> tuple[tuple[ArgumentFact, ...], bool]:
    """The facts of the values of a call's arguments, and whether they are all of them.

    Of many values, each argument has its share, so that a long list does not hide the arguments behind it. An argument
    that was not read to its end has a fact of the kind ``unread`` too; one without a name stands for any argument.

    Args:
        arguments: Any JSON-like value.
        key: Key of the digests.
    """
    groups: list[tuple[str, Iterator[tuple[str, object]]]]
    if isinstance(arguments, Mapping):
        groups = [(str(name), walk(value, str(name), depth=1)) for name, value in arguments.items()]
    else:
        groups = [("", walk(arguments))]
    found: list[list[ArgumentFact]] = [[] for _ in groups]
    # A text that begins as an object and is none: a tool may still find arguments in it.
    is_broken = isinstance(arguments, str) and arguments.lstrip().startswith("{")
    unread = {""} if is_broken or len(groups) > MAX_ARGUMENTS else set()
    active, left = list(range(len(groups))), MAX_ARGUMENTS
    while active:
        still: list[int] = []
        for number in active:
            name, values = groups[number]
            place, value = next(values, (None, None))
            if place is None:
                continue
            if value is TOO_DEEP or not left:
                unread.add(clean_name(name))
                continue
            left -= 1
            found[number].append(_fact(clean_name(place), value, key))
            still.append(number)
        active = still
    facts = [one for group in found for one in group]
    return (*facts, *(ArgumentFact(name, "unread") for name in sorted(unread))), not unread


def clean_name(name: str) -> str:
    """The name of an argument as it is kept."""
    return sanitize.clean_text(name, MAX_NAME)


def finding_facts(findings: Iterable[Finding]) -> tuple[FindingFact, ...]:
    """The facts of findings."""
    return tuple(FindingFact(one.category, one.rule_id, one.severity, one.subtype) for one in findings)


def origin_facts(origins: Iterable[Origin]) -> tuple[OriginFact, ...]:
    """The facts of untrusted values."""
    return tuple(OriginFact(one.argument, one.source.tool, one.source.shape, one.severity) for one in origins)


def digest(value: object, key: bytes) -> str:
    """Keyed hash of one value, 32 hexadecimal digits: equal for equal values of one kind, 5 and 5.0 among them."""
    kind = _kind(value)
    spelled = f"text:{_text(value)}" if kind == "text" else f"{kind}:{_spelled(kind, value)}"
    return hashlib.blake2b(spelled.encode("utf-8", "surrogatepass"), digest_size=16, key=key[:64]).hexdigest()


def is_masked(name: str) -> bool:
    """Returns whether a name is a stored one that held a secret or personal data."""
    return _SECRET in name or _PERSONAL in name


def _fact(name: str, value: Any, key: bytes) -> ArgumentFact:
    kind = _kind(value)
    if kind != "text":
        number = float(value) if kind == "number" and abs(value) < 1e300 else None
        return ArgumentFact(name, kind, digest=digest(value, key), number=number, text=_spelled(kind, value))
    text = _text(value)
    folders = folders_of(text)
    return ArgumentFact(
        name,
        "text",
        len(text),
        digest(text, key),
        hosts_of(text),
        folders[0] if folders else "",
        number_in(text),
        text,
        folders[1] if len(folders) > 1 else "",
    )


def _spelled(kind: ValueKind, value: Any) -> str:
    """A number, bool or null as JSON spells it, for the patterns of a policy."""
    if kind != "number":
        return "null" if value is None else str(value).lower()
    return str(value) if isinstance(value, int) and abs(value) < _LONGEST_INTEGER else spelling(float(value))


def _text(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "replace")
    return str(value)


def _kind(value: object) -> ValueKind:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "text"
