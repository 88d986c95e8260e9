"""The multi-pattern engine: every rule in one compiled database, one pass over the text's bytes."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from cylestio_monitor.scan.engine import Candidates, PythonEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.scan.plan import Plan

_log = logging.getLogger(__name__)
_CONTINUATION = bytes(range(0x80, 0xC0))
_CASELESS = 2  # re.IGNORECASE in `Plan.flags`


def engine_version() -> str | None:
    """Version of the engine's wheel, and ``None`` where there is none."""
    try:
        from hyperscan import _version  # noqa: PLC0415 -- imported where it is used
    except ImportError:
        return None
    return str(_version.__version__)


def compile_database(plans: Sequence[Plan]) -> bytes:
    """Compiles the plans; takes seconds for the shipped packs, which is why the result is cached.

    Returns:
        The serialised database. Expression ids are the places of the plans in the sequence. A plan the engine
        refuses is left to its literals.
    """
    import hyperscan  # noqa: PLC0415

    ids: list[int] = []
    expressions: list[bytes] = []
    flags: list[int] = []
    for number, plan in enumerate(plans):
        for expression in plan.prefilter if plan.of_texts else ():
            ids.append(number)
            expressions.append(expression.encode())
            flags.append(_flags(plan))
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(expressions=expressions, ids=ids, elements=len(ids), flags=flags)
    except hyperscan.error:
        for place, number in enumerate(ids):
            if not _compiles(expressions[place], flags[place]):
                _log.debug("engine refuses %s; its literals stand in", plans[number].rule_id)
                expressions[place] = _stand_in(plans[number])
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        database.compile(expressions=expressions, ids=ids, elements=len(ids), flags=flags)
    return bytes(hyperscan.dumpb(database))


def _flags(plan: Plan) -> int:
    import hyperscan  # noqa: PLC0415

    return int(hyperscan.HS_FLAG_DOTALL | (hyperscan.HS_FLAG_CASELESS if plan.flags & _CASELESS else 0))


def _compiles(expression: bytes, flags: int) -> bool:
    import hyperscan  # noqa: PLC0415

    try:
        hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK).compile(
            expressions=[expression], ids=[0], elements=1, flags=[flags]
        )
    except hyperscan.error:
        return False
    return True


def _stand_in(plan: Plan) -> bytes:
    """The plan's literals as an expression; without any, every character is a candidate."""
    if not plan.literals:
        return b"."
    choices = ["".join(r"\d" if c == "0" else _escape(c) for c in literal) for literal in plan.literals]
    return f"(?i:{'|'.join(choices)})".encode()


def _escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


class HyperscanEngine:
    """A compiled database with one scratch space a thread.

    A child process after a fork has its own copy of both, so nothing is shared.
    """

    name = "hyperscan"

    def __init__(self, serialized: bytes, plans: Sequence[Plan]) -> None:
        """Loads a database.

        Args:
            serialized: What `compile_database` gave for these plans and this version.
            plans: The plans.

        Raises:
            hyperscan.error: The bytes are no database of this version.
        """
        import hyperscan  # noqa: PLC0415

        self._hyperscan = hyperscan
        self._database = hyperscan.loadb(serialized, mode=hyperscan.HS_MODE_BLOCK)
        self._local = threading.local()
        self._plans = plans
        self._fallback: PythonEngine | None = None

    def candidates(self, text: str) -> Candidates:
        """Where each plan may match, in code points of `text`."""
        events: list[tuple[int, int]] = []
        data = text.encode("utf-8", "surrogatepass")
        try:
            scratch = self._local.scratch
        except AttributeError:
            scratch = self._local.scratch = self._hyperscan.Scratch(self._database)
        try:
            self._database.scan(data, _collect, context=events, scratch=scratch)
        except self._hyperscan.error:
            # A signal handler that scans while this thread scans finds the scratch space in use.
            if self._fallback is None:
                self._fallback = PythonEngine(self._plans)
            return self._fallback.candidates(text)
        if not events:
            return {}
        if len(data) != len(text):
            events = _in_code_points(events, data)
        found: Candidates = {}
        for number, end in events:
            found.setdefault(number, []).append(end)
        return found


def _collect(number: int, _start: int, end: int, _flags: int, events: Any) -> None:
    events.append((number, end))


def _in_code_points(events: list[tuple[int, int]], data: bytes) -> list[tuple[int, int]]:
    """Byte offsets as code points; events come in ascending order."""
    out: list[tuple[int, int]] = []
    at = points = 0
    for number, end in events:
        if end > at:
            points += len(data[at:end].translate(None, _CONTINUATION))
            at = end
        out.append((number, points))
    return out
