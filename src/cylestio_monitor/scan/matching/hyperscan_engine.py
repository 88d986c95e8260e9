"""The multi-pattern engine: all literals in one compiled database, and all expressions in another."""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING, Any

from cylestio_monitor.rules.literals import EDGE, MARK
from cylestio_monitor.scan.matching.engine import DOUBLE, PythonEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger(__name__)


def engine_version() -> str | None:
    """Version of the engine's wheel, and ``None`` where there is none."""
    try:
        from hyperscan import _version  # noqa: PLC0415 -- imported where it is used
    except ImportError:
        return None
    return str(_version.__version__)


def compile_databases(literals: Sequence[str]) -> list[bytes]:
    """Compiles the literals, in a few tenths of a second for the shipped rules.

    Returns:
        Serialised databases: one of plain literals, one of expressions, as the two together are slower than one after
        the other. Expression ids are the places in the sequence.

    Raises:
        hyperscan.error: The engine refuses an expression.
    """
    import hyperscan  # noqa: PLC0415

    # Whether a literal stands in the text is all that is asked: each reports once.
    flags = int(hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_DOTALL)
    serialized = []
    for marked in (False, True):
        ids = [number for number, literal in enumerate(literals) if literal.startswith(MARK) == marked]
        if ids:
            database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
            expressions = [_expression(literals[number]) for number in ids]
            database.compile(expressions=expressions, ids=ids, elements=len(ids), flags=[flags] * len(ids))
            serialized.append(bytes(hyperscan.dumpb(database)))
    return serialized


def _expression(literal: str) -> bytes:
    if literal.startswith(MARK):
        return literal[1:].encode()
    lead, tail = (rb"\b" if edge == EDGE else b"" for edge in (literal[0], literal[-1]))
    body = literal.strip(EDGE).encode("utf-8", "surrogatepass")
    return lead + re.sub(rb"[^a-zA-Z0-9]", lambda sign: b"\\x%02x" % sign[0][0], body) + tail


class HyperscanEngine:
    """Compiled databases with one scratch space a thread.

    A child process after a fork has its own copy of both, so nothing is shared.
    """

    name = "hyperscan"

    def __init__(self, serialized: Sequence[bytes], literals: Sequence[str]) -> None:
        """Loads the databases.

        Args:
            serialized: What `compile_databases` gave for these literals and this version.
            literals: The literals.

        Raises:
            hyperscan.error: The bytes are no database of this version.
        """
        import hyperscan  # noqa: PLC0415

        self._hyperscan = hyperscan
        self._databases = [hyperscan.loadb(one, mode=hyperscan.HS_MODE_BLOCK) for one in serialized]
        self._local = threading.local()
        self._literals = literals
        self._fallback: PythonEngine | None = None

    def present(self, data: bytes) -> set[int]:
        """Numbers of the literals that stand in a text made `searchable`; see `Engine`."""
        found: set[int] = set()
        try:
            scans = self._local.scans
        except AttributeError:
            scans = self._local.scans = [(one.scan, self._hyperscan.Scratch(one)) for one in self._databases]
        try:
            for scan, scratch in scans:
                scan(data, _collect, 0, found, scratch)
        except self._hyperscan.ScanTerminated:
            return found
        except self._hyperscan.error:
            # A signal handler that scans while this thread scans finds the scratch space in use.
            if self._fallback is None:
                self._fallback = PythonEngine(self._literals)
            return self._fallback.present(data)
        return found


def _collect(number: int, _start: int, _end: int, _flags: int, found: Any) -> bool:
    """Takes the number of a literal that stands in the text; whether that ends the search."""
    found.add(number)
    return number == DOUBLE
