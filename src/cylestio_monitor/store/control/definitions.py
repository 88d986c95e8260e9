"""Versions of tool definitions in the store: what was met goes in, what was decided about it comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cylestio_monitor.govern.definitions import KnownVersion
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.sqlite.records import ToolVersion
from cylestio_monitor.store.sqlite.rows import Event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.govern.definitions import SeenVersion
    from cylestio_monitor.store.store import Store

_MOST: Final = 20_000
_NO_PLACE: Final = ("0" * 32, "0" * 16)


class StoredDefinitions:
    """The `DefinitionStore` of a store."""

    def __init__(self, store: Store) -> None:
        """Takes the store."""
        self._store = store

    def load(self) -> Iterable[KnownVersion]:
        """All versions, the latest seen first.

        Raises:
            StoreError: The store cannot be read.
        """
        query = "SELECT server, name, digest, state, last_ns FROM tool_definition ORDER BY last_ns DESC LIMIT ?"
        with queries.connect(self._store.path) as connection:
            return [KnownVersion(*row) for row in connection.execute(query, (_MOST,))]

    def add(self, seen: SeenVersion) -> None:
        """Queues a version, and an entry of the audit trail where it changes an earlier one."""
        trace_id, span_id = seen.place.split(":") if seen.place else _NO_PLACE
        self._store.add_record(
            ToolVersion(
                trace_id=trace_id,
                span_id=span_id,
                server=seen.server,
                name=seen.name,
                digest=seen.digest,
                definition=seen.definition,
                first_ns=seen.time_ns,
                last_ns=seen.time_ns,
            )
        )
        if seen.before:
            data = {"server": seen.server, "name": seen.name, "digest": seen.digest, "before": seen.before}
            data["fields"] = ", ".join(seen.fields)
            kind = "tool_definition_changed"
            self._store.add_event(Event(None, kind, "POLICY", "WARNING", seen.time_ns, data, trace_id, span_id))

    def definition(self, server: str, name: str, digest: str) -> str | None:
        """The definition of a version as JSON."""
        query = "SELECT definition FROM tool_definition WHERE server = ? AND name = ? AND digest = ?"
        with queries.connect(self._store.path) as connection:
            row = connection.execute(query, (server, name, digest)).fetchone()
        return None if row is None else str(row[0])
