"""Decisions of operators: tool definitions, states of finding groups, silences, notes and incidents.

Each function changes rows in one transaction together with an event in the audit trail that says who did it.
"""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor import sanitize
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.audit.chain import Chain
from cylestio_monitor.store.ingest.row_writer import RecordWriter
from cylestio_monitor.store.sqlite import database, keys
from cylestio_monitor.store.sqlite.rows import Event, event_record

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from cylestio_monitor import config
    from cylestio_monitor.store.sqlite.records import DefinitionState, GroupState, IncidentState

_TITLE_BYTES: Final = 500
_NOTE_BYTES: Final = 20_000
_SUBJECTS: Final = {
    "group": "SELECT 1 FROM finding_group WHERE group_id = ?",
    "incident": "SELECT 1 FROM incident WHERE id = ?",
}

DISMISSED: Final = frozenset({"false_alarm", "accepted_risk", "test_data"})
"""States of a group that need a reason."""


class _Change:
    """One transaction of a person's decision."""

    def __init__(self, connection: sqlite3.Connection, rows: RecordWriter) -> None:
        self.connection = connection
        self.now_ns = time.time_ns()
        self._rows = rows

    def audit(self, event_type: str, data: dict[str, Any], *, agent_id: str | None = None) -> None:
        """Adds the event of this change."""
        event = Event(agent_id, event_type, "STORE", "INFO", self.now_ns, data)
        self._rows.store_event(event_record(event))

    def update(self, query: str, values: tuple[Any, ...], missing: str) -> None:
        """Changes one row.

        Raises:
            StoreError: There is no such row; `missing` is the message.
        """
        if not self.connection.execute(query, values).rowcount:
            raise StoreError(missing)


@contextmanager
def _change(path: Path, settings: config.StoreSettings) -> Iterator[_Change]:
    chain = Chain(keys.load(path)[0])
    with database.writable(path, settings) as connection, database.transaction(connection):
        rows = RecordWriter(connection, chain)
        yield _Change(connection, rows)
        rows.finish()


def decide_tool(
    path: Path,
    settings: config.StoreSettings,
    *,
    server: str,
    name: str,
    digest: str,
    state: DefinitionState,
    by: str,
) -> None:
    """Approves or refuses one version of a tool's definition.

    Raises:
        StoreError: There is no such version.
    """
    with _change(path, settings) as change:
        change.update(
            "UPDATE tool_definition SET state = ?, decided_ns = ?, decided_by = ? "
            "WHERE server = ? AND name = ? AND digest = ?",
            (state, change.now_ns, by, server, name, digest),
            f"there is no version {digest[:12]} of tool {name}",
        )
        data = {"server": server, "name": name, "digest": digest, "state": state, "by": by}
        change.audit("tool_definition_decided", data)


def set_group_state(
    path: Path,
    settings: config.StoreSettings,
    group_id: str,
    state: GroupState,
    *,
    by: str,
    reason: str = "",
    until_ns: int | None = None,
) -> None:
    """Changes the state of a group of findings. A dismissal hides the group; scanning goes on.

    Args:
        path: The database.
        settings: Its budget.
        group_id: The group.
        state: The new state.
        by: Who decides.
        reason: Required for a dismissal.
        until_ns: End of the dismissal, nanoseconds since the epoch.

    Raises:
        StoreError: There is no such group, or the reason is missing.
    """
    if state in DISMISSED and not reason.strip():
        raise StoreError("a dismissal needs a reason")
    with _change(path, settings) as change:
        change.update(
            "UPDATE finding_group SET state = ?, reason = ?, until_ns = ?, changed_ns = ?, changed_by = ? "
            "WHERE group_id = ?",
            (state, reason or None, until_ns, change.now_ns, by, group_id),
            f"there is no group {group_id}",
        )
        data = {"group_id": group_id, "state": state, "reason": reason, "until_ns": until_ns, "by": by}
        change.audit("finding_group_changed", data)


def add_silence(
    path: Path,
    settings: config.StoreSettings,
    rule_id: str,
    *,
    by: str,
    reason: str,
    agent_id: str | None = None,
    group_id: str | None = None,
    until_ns: int | None = None,
) -> str:
    """Records a silence of a rule and returns its id; it takes effect through the settings, as any silence."""
    silence = secrets.token_hex(8)
    with _change(path, settings) as change:
        change.connection.execute(
            "INSERT INTO silence (id, rule_id, agent_id, group_id, until_ns, reason, created_ns, created_by) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (silence, rule_id, agent_id, group_id, until_ns, reason, change.now_ns, by),
        )
        data = {"id": silence, "rule_id": rule_id, "agent_id": agent_id, "until_ns": until_ns, "reason": reason}
        change.audit("silence_added", {**data, "by": by})
    return silence


def add_note(path: Path, settings: config.StoreSettings, subject: str, ref: str, *, by: str, text: str) -> None:
    """Adds a note.

    Args:
        path: The database.
        settings: Its budget.
        subject: ``group`` or ``incident``.
        ref: The id of the group or incident.
        by: The author.
        text: The note.

    Raises:
        StoreError: There is no such group or incident, or the note is empty.
    """
    if not text.strip():
        raise StoreError("a note needs a text")
    with _change(path, settings) as change:
        if change.connection.execute(_SUBJECTS[subject], (ref,)).fetchone() is None:
            raise StoreError(f"there is no {subject} {ref}")
        change.connection.execute(
            "INSERT INTO note (subject, ref, time_ns, author, text) VALUES (?, ?, ?, ?, ?)",
            (subject, ref, change.now_ns, by, sanitize.clean_text(text, _NOTE_BYTES)),
        )
        change.audit("note_added", {"subject": subject, "ref": ref, "by": by})


def open_incident(
    path: Path,
    settings: config.StoreSettings,
    title: str,
    *,
    by: str,
    severity_number: int,
    items: tuple[tuple[str, str], ...] = (),
    owner: str | None = None,
) -> str:
    """Opens an incident and returns its id.

    Args:
        path: The database.
        settings: Its budget.
        title: One line.
        by: Who opens it.
        severity_number: 0 to 4.
        items: What it is about: pairs of kind (``finding``, ``trace``, ``session``, ``group``) and id.
        owner: Who handles it.

    Raises:
        StoreError: The title is empty.
    """
    title = sanitize.one_line(title, _TITLE_BYTES).strip()
    if not title:
        raise StoreError("an incident needs a title")
    owner = owner and sanitize.one_line(owner, _TITLE_BYTES)
    incident = secrets.token_hex(6)
    with _change(path, settings) as change:
        change.connection.execute(
            "INSERT INTO incident (id, title, state, severity_number, owner, opened_ns, opened_by, changed_ns) "
            "VALUES (?, ?, 'open', ?, ?, ?, ?, ?)",
            (incident, title, severity_number, owner, change.now_ns, by, change.now_ns),
        )
        change.connection.executemany(
            "INSERT OR IGNORE INTO incident_item (incident, kind, ref, added_ns) VALUES (?, ?, ?, ?)",
            [(incident, kind, ref, change.now_ns) for kind, ref in items],
        )
        change.audit("incident_opened", {"id": incident, "title": title, "by": by, "items": items})
    return incident


def change_incident(
    path: Path,
    settings: config.StoreSettings,
    incident: str,
    *,
    by: str,
    state: IncidentState | None = None,
    owner: str | None = None,
    items: tuple[tuple[str, str], ...] = (),
) -> None:
    """Changes state or owner of an incident, or adds to it; what is `None` stays.

    Raises:
        StoreError: There is no such incident.
    """
    owner = owner and sanitize.one_line(owner, _TITLE_BYTES)
    with _change(path, settings) as change:
        change.update(
            "UPDATE incident SET state = coalesce(?, state), owner = coalesce(?, owner), changed_ns = ?, "
            "closed_ns = CASE coalesce(?, state) WHEN 'closed' THEN coalesce(closed_ns, ?) END WHERE id = ?",
            (state, owner, change.now_ns, state, change.now_ns, incident),
            f"there is no incident {incident}",
        )
        change.connection.executemany(
            "INSERT OR IGNORE INTO incident_item (incident, kind, ref, added_ns) VALUES (?, ?, ?, ?)",
            [(incident, kind, ref, change.now_ns) for kind, ref in items],
        )
        change.audit("incident_changed", {"id": incident, "state": state, "owner": owner, "items": items, "by": by})


def record_export(path: Path, settings: config.StoreSettings, incident: str, *, by: str, manifest: str) -> None:
    """Records that an evidence bundle was written.

    Args:
        path: The database.
        settings: Its budget.
        incident: The incident.
        by: Who wrote it.
        manifest: SHA-256 of its manifest, hexadecimal.
    """
    with _change(path, settings) as change:
        change.audit("incident_exported", {"id": incident, "by": by, "manifest": manifest})
