"""Approvals in the store: several processes, a terminal and the web UI share them; each step enters the audit trail."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cylestio_monitor.store.audit.chain import Chain
from cylestio_monitor.store.ingest.row_writer import RecordWriter
from cylestio_monitor.store.sqlite import database, keys
from cylestio_monitor.store.sqlite.records import Approval
from cylestio_monitor.store.sqlite.rows import Event, event_record

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from cylestio_monitor import config
    from cylestio_monitor.govern.approvals import ApprovalRequest, ApprovalState

_CHANNEL: Final = "POLICY"
_NO_SPAN: Final = "0" * 16
_NO_TRACE: Final = "0" * 32


class StoredApprovals:
    """The `ApprovalLedger` of a store. Each step is synced to the disk before it counts."""

    def __init__(self, path: Path, settings: config.StoreSettings) -> None:
        """Opens nothing yet.

        Args:
            path: The database.
            settings: Its budget.
        """
        self._path = path
        self._settings = settings
        self._chain = Chain(keys.load(path)[0])

    def open(self, request: ApprovalRequest) -> None:
        """Adds a request in state ``waiting``.

        Raises:
            StoreError: The store cannot be written.
        """
        server, _, tool = request.tool.rpartition("/")
        record = Approval(
            trace_id=request.trace or _NO_TRACE,
            span_id=request.span or _NO_SPAN,
            id=request.id,
            tool=tool,
            server=server or None,
            arguments=request.arguments,
            digest=request.digest,
            rule=request.rule,
            policy_version=request.policy_version,
            reason=request.reason,
            created_ns=request.created_ns,
            expires_ns=request.expires_ns,
            agent_id=request.agent or None,
            session_id=request.session or None,
            user_id=request.user or None,
        )
        with self._transaction() as connection:
            rows = RecordWriter(connection, self._chain)
            rows.prepare_records((record,))
            rows.store_record(record)
            rows.finish()

    def state(self, request_id: str) -> ApprovalState | None:
        """The state of a request; ``None`` for an unknown id.

        Raises:
            StoreError: The store cannot be read.
        """
        connection = database.connect_read_only(self._path)
        try:
            row = connection.execute("SELECT state FROM approval WHERE id = ?", (request_id,)).fetchone()
        finally:
            connection.close()
        return None if row is None else row[0]

    def decide(self, request_id: str, *, allow: bool, by: str, now_ns: int, reason: str = "") -> bool:
        """Moves a waiting request that has not expired to ``allowed`` or ``denied``; whether it did.

        Args:
            request_id: The request.
            allow: Whether the call may run once.
            by: Who decides.
            now_ns: In ns since the epoch.
            reason: A sentence for the audit trail.
        """
        state = "allowed" if allow else "denied"
        return self._move(
            "UPDATE approval SET state = ?, decided_ns = ?, decided_by = ? "
            "WHERE id = ? AND state = 'waiting' AND expires_ns > ?",
            (state, now_ns, by, request_id, now_ns),
            f"approval_{state}",
            request_id,
            reason,
        )

    def expire(self, request_id: str) -> bool:
        """Moves a waiting request to ``expired``; whether it did."""
        return self._move(
            "UPDATE approval SET state = 'expired' WHERE id = ? AND state = 'waiting'",
            (request_id,),
            "approval_expired",
            request_id,
        )

    def spend(self, request_id: str, digest: str, *, now_ns: int) -> bool:
        """Moves an allowed request with this digest that has not expired to ``used``; whether it did."""
        moved = self._move(
            "UPDATE approval SET state = 'used', used_ns = ? "
            "WHERE id = ? AND state = 'allowed' AND digest = ? AND expires_ns > ?",
            (now_ns, request_id, digest, now_ns),
            "approval_used",
            request_id,
        )
        if not moved:
            self._refuse(request_id)
        return moved

    def _move(
        self, statement: str, values: tuple[object, ...], event_type: str, request_id: str, reason: str = ""
    ) -> bool:
        with self._transaction() as connection:
            if connection.execute(statement, values).rowcount != 1:
                return False
            self._record(connection, event_type, request_id, reason=reason)
        return True

    def _refuse(self, request_id: str) -> None:
        """Records the use of an approval that is expired, used, changed or for another call."""
        with self._transaction() as connection:
            self._record(connection, "approval_refused", request_id, level="ERROR")

    def _record(
        self,
        connection: sqlite3.Connection,
        event_type: str,
        request_id: str,
        level: str = "WARNING",
        reason: str = "",
    ) -> None:
        row = connection.execute(
            "SELECT a.agent_id, a.session_id, a.user_id, a.tool, a.server, a.digest, a.decided_by, run.trace_id, "
            "a.span_id FROM approval AS a LEFT JOIN run ON run.id = a.run WHERE a.id = ?",
            (request_id,),
        ).fetchone()
        if row is None:
            return
        agent, session, user, tool, server, digest, by, trace, span = row
        data = {
            "id": request_id,
            "session_id": session,
            "user_id": user,
            "tool": tool,
            "server": server,
            "digest": digest,
            "decided_by": by,
            **({"reason": reason} if reason else {}),
        }
        event = Event(agent, event_type, _CHANNEL, level, time.time_ns(), data, trace, span)
        rows = RecordWriter(connection, self._chain)
        rows.store_event(event_record(event))
        rows.finish()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with database.writable(self._path, self._settings) as connection:
            connection.execute("PRAGMA synchronous = FULL")  # a step that a power cut undoes could be taken twice
            with database.transaction(connection):
                yield connection
