"""Alerts as typed rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.store.read.values import decoded

if TYPE_CHECKING:
    import sqlite3


class AlertRow(msgspec.Struct, frozen=True):
    """One alert; the fields are columns in the reference of the store, `facts` and `group` decoded."""

    id: str
    condition: str
    target: str
    state: str
    severity_number: int
    findings: int
    suppressed: int
    first_ns: int
    last_ns: int
    created_ns: int
    not_before_ns: int
    attempts: int
    done_ns: int | None
    error: str | None
    facts: dict[str, Any]
    group: dict[str, Any]


_COLUMNS: Final = ", ".join(AlertRow.__struct_fields__[:-1])


def alerts(connection: sqlite3.Connection, *, limit: int = 50) -> list[AlertRow]:
    """Reads alerts, the newest first.

    Args:
        connection: From `queries.connect`.
        limit: Largest number of rows.
    """
    rows = connection.execute(f"SELECT {_COLUMNS} FROM alert ORDER BY created_ns DESC, id LIMIT ?", (limit,))  # noqa: S608 -- constants
    return [_row(*row) for row in rows]


def _row(*values: Any) -> AlertRow:
    columns = dict(zip(AlertRow.__struct_fields__, values, strict=False))
    facts = decoded(columns.pop("facts"), {})
    group = facts.pop("group", {}) if isinstance(facts, dict) else {}
    return AlertRow(**columns, facts=facts, group=group)
