"""The facts of a call that a decision may use: plain data, storable, without content.

The same facts decide a call when it happens and again in a replay. The one difference is `ArgumentFact.text`: it is
there while the call happens and is not stored, so that conditions that need it are undecidable in a replay.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import unquote

import msgspec

from cylestio_monitor import sanitize
from cylestio_monitor.govern.provenance.atoms import fold
from cylestio_monitor.govern.provenance.leaves import walk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.govern.provenance import Origin
    from cylestio_monitor.model import Finding

ValueKind: TypeAlias = Literal["text", "number", "bool", "null"]

MAX_ARGUMENTS: Final = 500
"""Values of one call that facts are kept for; `CallFacts.complete` is false where there were more."""

MAX_NAME: Final = 120
"""Bytes of an argument's name that are kept."""

_HOST: Final = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.){1,20}[a-z][a-z0-9-]{1,61}\.?"
    r"|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]{2,45}\]"
)
_FILE_ENDINGS: Final = frozenset(
    {"txt", "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "csv", "tsv", "json", "jsonl", "yaml", "yml", "xml"}
    | {"html", "htm", "js", "ts", "css", "png", "jpg", "jpeg", "gif", "svg", "log", "sql", "ini", "cfg", "conf", "toml"}
    | {"env", "bak", "tmp", "dat", "db", "lock", "tar", "gz", "xz"}
)
"""Endings of file names that are no top-level domains."""
_AUTHORITY: Final = re.compile(r"(?:[a-z][a-z0-9+.-]{0,20}:)?[/\\]{2,}([^/\\?#\s]*)")
_PORT: Final = re.compile(r":\d{0,5}$")
_PATH: Final = re.compile(r"(?:[a-z]:)?[~.\w@+ -]*(?:[/\\][\w.@+~% -]*)+|[\w.@+~-]{1,255}", re.IGNORECASE)


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
        text: The text itself; never stored.
    """

    name: str
    kind: ValueKind
    size: int = 0
    digest: str = ""
    hosts: tuple[str, ...] = ()
    folder: str = ""
    number: float | None = None
    text: str | None = None


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

    Args:
        arguments: Any JSON-like value.
        key: Key of the digests.
    """
    found: list[ArgumentFact] = []
    for name, value in walk(arguments):
        if len(found) == MAX_ARGUMENTS:
            return tuple(found), False
        found.append(_fact(sanitize.clean_text(name, MAX_NAME), value, key))
    return tuple(found), True


def finding_facts(findings: Iterable[Finding]) -> tuple[FindingFact, ...]:
    """The facts of findings."""
    return tuple(FindingFact(one.category, one.rule_id, one.severity, one.subtype) for one in findings)


def origin_facts(origins: Iterable[Origin]) -> tuple[OriginFact, ...]:
    """The facts of untrusted values."""
    return tuple(OriginFact(one.argument, one.source.tool, one.source.shape, one.severity) for one in origins)


def digest(value: object, key: bytes) -> str:
    """Keyed hash of one value, 32 hexadecimal digits: equal for equal values of one kind."""
    spelled = f"{_kind(value)}:{value!r}" if not isinstance(value, str) else f"text:{value}"
    return hashlib.blake2b(spelled.encode("utf-8", "surrogatepass"), digest_size=16, key=key[:64]).hexdigest()


def hosts_of(text: str) -> tuple[str, ...]:
    r"""All hosts that a reader of the text may connect to, sorted.

    A URL whose readers disagree about the host (``http://good.example\@evil.example``) gives each candidate.
    """
    folded = fold(text)
    if "." not in folded and "//" not in folded and "\\\\" not in folded:
        return ()
    found = {
        match[0].rstrip(".").strip("[]")
        for match in _HOST.finditer(folded)
        if folded[match.end() : match.end() + 1] != "@"  # the name before a host, which is content
        and (match[0].rpartition(".")[2] not in _FILE_ENDINGS or folded[: match.start()].endswith(("@", "//", "\\\\")))
    }
    for match in _AUTHORITY.finditer(folded):
        host = _PORT.sub("", match[1].rpartition("@")[2]).strip("[]").rstrip(".")
        if host:
            found.add(host)  # also a name without a dot, such as localhost, and a number that stands for an address
    return tuple(sorted(found))


def folder_of(text: str) -> str:
    """The normalised folder of a text that is one file path, ``..`` resolved; empty for another text."""
    if len(text) > 4096 or not _PATH.fullmatch(text):
        return ""
    path = normal_path(text)
    return posixpath.dirname(path) or "."


def normal_path(text: str) -> str:
    """A file path with one kind of separator, percent encoding and ``..`` resolved; symbolic links are not."""
    path = unquote(text).replace("\\", "/")
    return posixpath.normpath(re.sub(r"/{2,}", "/", path))


def _fact(name: str, value: Any, key: bytes) -> ArgumentFact:
    kind = _kind(value)
    if kind != "text":
        number = float(value) if kind == "number" and abs(value) < 1e300 else None
        return ArgumentFact(name, kind, digest=digest(value, key), number=number)
    text = str(value)
    return ArgumentFact(
        name, "text", len(text), digest(text, key), hosts_of(text), folder_of(text), _number_in(text), text
    )


def _number_in(text: str) -> float | None:
    if len(text) > 40:
        return None
    try:
        number = float(text.strip().replace(",", "").replace("_", "").lstrip("$€£ "))
    except ValueError:
        return None
    return number if abs(number) < 1e300 else None


def _kind(value: object) -> ValueKind:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "text"
