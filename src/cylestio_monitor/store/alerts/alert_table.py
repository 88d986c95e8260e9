"""Alerts as rows: which findings became one, when each is due, and what became of it.

Findings are read once, in the order of their ids: the position of the last one and the alerts that came of it change in
one transaction. An alert gathers findings while it waits. After it was sent its group is silent for the window, but for
a finding of a higher severity.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from cylestio_monitor.config.alerts import quiet_minutes
from cylestio_monitor.model import SEVERITY_NUMBER
from cylestio_monitor.sanitize import one_line
from cylestio_monitor.store.alerts.conditions import (
    COLUMNS,
    AlertedFinding,
    fits,
    group_key,
    group_of,
    reaches_count,
)
from cylestio_monitor.store.sqlite.rows import timestamp
from cylestio_monitor.store.sqlite.usage import DAY_NS

if TYPE_CHECKING:
    import sqlite3

    from cylestio_monitor import config

AlertState: TypeAlias = Literal["waiting", "sent", "failed"]

BATCH: Final = 500
"""Findings that are read at a time."""

CLAIM_S: Final = 120
"""Seconds after which a message is due again whose sender has not said what became of it."""

_KEEP_NS: Final = 30 * DAY_NS
_CURSOR: Final = "alerts.cursor"
_SECOND_NS: Final = 1_000_000_000
_MOST_SENT: Final = 20
_LABEL_BYTES: Final = 200
_FACTS: Final = (
    *("rule_id", "category", "severity", "subtype", "target", "action", "agent_id", "session_id", "tool"),
    *("service_name", "trace_id", "span_id"),
)


class AlertMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One alert for one target.

    Attributes:
        id: The same for every attempt.
        condition: Name of the condition.
        target: Name of the target.
        severity_number: The worst severity, 0 to 4.
        findings: Number of findings.
        suppressed: Findings of the group since the message before, which sent nothing.
        first_ns: Time of the first finding, nanoseconds since the epoch.
        last_ns: Time of the last finding.
        attempts: Number of attempts, this one included.
        created_ns: Time at which the alert was made.
        facts: The worst finding and the values that the findings have in common.
    """

    id: str
    condition: str
    target: str
    severity_number: int
    findings: int
    suppressed: int
    first_ns: int
    last_ns: int
    attempts: int
    created_ns: int
    facts: dict[str, Any]


class _Position(msgspec.Struct):
    """The last finding that was read."""

    id: int
    time: str


def has_work(connection: sqlite3.Connection, now_ns: int, *, is_last: bool = False) -> bool:
    """Returns whether there are findings that were not read, or messages that are due.

    Args:
        connection: To the store; only read.
        now_ns: Nanoseconds since the epoch.
        is_last: Whether messages that gather findings count as due.
    """
    position = _position(connection)
    if position is None or _newest(connection) != position.id:
        return True
    due_ns = next_due_ns(connection)
    if due_ns is None:
        return False
    gathers = is_last and connection.execute("SELECT 1 FROM alert WHERE state = 'waiting' AND attempts = 0").fetchone()
    return bool(due_ns <= now_ns or gathers)


def evaluate(connection: sqlite3.Connection, settings: config.AlertSettings, begun_ns: int, now_ns: int) -> bool:
    """Reads new findings and makes alerts of them; returns whether there may be more.

    Args:
        connection: In a transaction that holds the write lock.
        settings: Conditions and targets.
        begun_ns: Findings before this time make no alert where the store has never made any.
        now_ns: Nanoseconds since the epoch.
    """
    position = _position(connection) or _first_position(connection, begun_ns)
    newest = _newest(connection)
    after = position.time if newest < position.id else ""  # the rows were removed, and their ids are given again
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM findings JOIN run ON run.id = findings.run "  # noqa: S608 -- constants
        "WHERE findings.id > ? AND timestamp > ? ORDER BY findings.id LIMIT ?",
        (0 if after else position.id, after, BATCH),
    ).fetchall()
    for row in rows:
        finding = AlertedFinding(*row)
        for condition in settings.conditions:
            if fits(condition, finding) and reaches_count(connection, condition, finding):
                for target in _targets(settings, condition):
                    _add(connection, settings, condition, target, finding, now_ns)
    last = _Position(rows[-1][0], max(row[1] for row in rows)) if rows else _Position(newest, position.time)
    if len(rows) < BATCH:
        last.id = newest
    connection.execute("REPLACE INTO meta (key, value) VALUES (?, ?)", (_CURSOR, msgspec.json.encode(last).decode()))
    if rows:
        connection.execute(
            "DELETE FROM alert WHERE state <> 'waiting' AND created_ns < ? AND coalesce(done_ns, 0) < ?",
            (now_ns - _KEEP_NS, now_ns - _KEEP_NS),
        )
    return len(rows) == BATCH


def _position(connection: sqlite3.Connection) -> _Position | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_CURSOR,)).fetchone()
    try:
        return None if row is None else msgspec.json.decode(row[0], type=_Position)
    except (msgspec.MsgspecError, TypeError):
        return None


def _newest(connection: sqlite3.Connection) -> int:
    """Returns the id of the newest finding; 0 where there is none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM findings").fetchone()[0])


def _first_position(connection: sqlite3.Connection, begun_ns: int) -> _Position:
    begin = timestamp(begun_ns)
    first = connection.execute("SELECT min(id) FROM findings WHERE timestamp >= ?", (begin,)).fetchone()[0]
    if first is None:
        first = _newest(connection) + 1
    return _Position(first - 1, begin)


def _targets(settings: config.AlertSettings, condition: config.ConditionSettings) -> list[str]:
    names = list(dict.fromkeys(one.name for one in settings.targets))
    return [name for name in names if name in condition.targets] or names


def _add(
    connection: sqlite3.Connection,
    settings: config.AlertSettings,
    condition: config.ConditionSettings,
    target: str,
    finding: AlertedFinding,
    now_ns: int,
) -> None:
    group = group_of(condition, finding)
    key = group_key(group)
    before = connection.execute(
        "SELECT id, state, severity_number, coalesce(done_ns, created_ns), suppressed, attempts FROM alert "
        "WHERE condition = ? AND target = ? AND group_key = ? ORDER BY created_ns DESC, severity_number DESC LIMIT 1",
        (condition.name, target, key),
    ).fetchone()
    facts = _facts(finding, group)
    number, time_ns = finding.severity_number, finding.time_ns
    # What is sent at this moment cannot become more severe.
    if before is not None and before[1] == "waiting" and (before[5] == 0 or number <= before[2]):
        connection.execute(
            "UPDATE alert SET findings = findings + 1, first_ns = min(first_ns, ?), last_ns = max(last_ns, ?), "
            "facts = CASE WHEN severity_number < ? THEN ? ELSE facts END, severity_number = max(severity_number, ?) "
            "WHERE id = ?",
            (time_ns, time_ns, number, facts, number, before[0]),
        )
        return
    silent_until = 0 if before is None else before[3] + settings.window_minutes * 60 * _SECOND_NS
    if before is not None and before[1] != "waiting" and now_ns < silent_until and number <= before[2]:
        connection.execute("UPDATE alert SET suppressed = suppressed + 1 WHERE id = ?", (before[0],))
        return
    parts = (condition.name, target, key, str(finding.id), finding.timestamp, finding.trace_id, finding.span_id)
    made = hashlib.sha256("\x00".join(parts).encode("utf-8", "replace")).hexdigest()
    connection.execute(
        "INSERT OR IGNORE INTO alert (id, condition, target, group_key, state, severity_number, findings, suppressed, "
        "first_ns, last_ns, created_ns, not_before_ns, facts) VALUES (?, ?, ?, ?, 'waiting', ?, 1, 0, ?, ?, ?, ?, ?)",
        (
            f"msg_{made[:32]}",
            condition.name,
            target,
            key,
            number,
            time_ns,
            time_ns,
            now_ns,
            now_ns + settings.gather_s * _SECOND_NS,
            _with(facts, before[4] if before is not None else 0),
        ),
    )


def _facts(finding: AlertedFinding, group: dict[str, str | None]) -> str:
    """Returns the facts of a finding as JSON, without content and without the user, whom only a group may name."""
    facts: dict[str, Any] = {name: _label(getattr(finding, name)) for name in _FACTS}
    facts["group"] = {word: _label(value) for word, value in group.items()}
    return msgspec.json.encode(facts).decode()


def _with(facts: str, suppressed: int) -> str:
    """Returns facts with the number of findings that sent nothing since the message before."""
    return msgspec.json.encode({**msgspec.json.decode(facts), "suppressed_before": suppressed}).decode()


def _label(value: str | None) -> str | None:
    return None if value is None else one_line(value, _LABEL_BYTES)


def take_due(
    connection: sqlite3.Connection, settings: config.AlertSettings, now_ns: int, *, is_last: bool = False
) -> list[AlertMessage]:
    """Takes the messages that are due; each is due again after `CLAIM_S` if nothing becomes of it.

    Args:
        connection: In a transaction that holds the write lock.
        settings: Quiet hours.
        now_ns: Nanoseconds since the epoch.
        is_last: Whether messages that gather findings are taken too.
    """
    condition = "not_before_ns <= ? OR attempts = 0" if is_last else "not_before_ns <= ?"
    quiet_ns = quiet_until(settings, now_ns)
    if quiet_ns is not None:
        connection.execute(
            f"UPDATE alert SET not_before_ns = ? WHERE state = 'waiting' AND severity_number < ? AND ({condition})",  # noqa: S608 -- constants
            (quiet_ns, SEVERITY_NUMBER[settings.quiet_severity], now_ns),
        )
        condition = f"({condition}) AND severity_number >= {SEVERITY_NUMBER[settings.quiet_severity]}"
    rows = connection.execute(
        "SELECT id, condition, target, severity_number, findings, first_ns, last_ns, attempts + 1, created_ns, facts "  # noqa: S608 -- constants
        f"FROM alert WHERE state = 'waiting' AND ({condition}) ORDER BY severity_number DESC, created_ns LIMIT ?",
        (now_ns, _MOST_SENT),
    ).fetchall()
    connection.executemany(
        "UPDATE alert SET attempts = attempts + 1, not_before_ns = ? WHERE id = ?",
        [(now_ns + CLAIM_S * _SECOND_NS, row[0]) for row in rows],
    )
    taken = []
    for row in rows:
        facts = msgspec.json.decode(row[9])
        taken.append(
            AlertMessage(
                id=row[0],
                condition=row[1],
                target=row[2],
                severity_number=row[3],
                findings=row[4],
                suppressed=facts.pop("suppressed_before", 0),
                first_ns=row[5],
                last_ns=row[6],
                attempts=row[7],
                created_ns=row[8],
                facts=facts,
            )
        )
    return taken


def settle(
    connection: sqlite3.Connection, message: AlertMessage, state: AlertState, now_ns: int, *, error: str, again_ns: int
) -> bool:
    """Records what became of a message; returns false where another process has done so already.

    Args:
        connection: In a transaction that holds the write lock.
        message: From `take_due`.
        state: ``waiting`` for another attempt.
        now_ns: Nanoseconds since the epoch.
        error: What went wrong, without secrets; empty where nothing did.
        again_ns: Time of the next attempt.
    """
    done = None if state == "waiting" else now_ns
    cursor = connection.execute(
        "UPDATE alert SET state = ?, error = ?, not_before_ns = ?, done_ns = ?, "
        "suppressed = CASE WHEN ? IS NULL THEN 0 ELSE findings - ? END WHERE id = ? AND state = 'waiting'",
        (state, error or None, again_ns, done, done, message.findings, message.id),
    )
    return bool(cursor.rowcount)


def next_due_ns(connection: sqlite3.Connection) -> int | None:
    """Returns the time at which the next message is due; `None` where none waits."""
    row = connection.execute("SELECT min(not_before_ns) FROM alert WHERE state = 'waiting'").fetchone()
    return None if row[0] is None else int(row[0])


def quiet_until(settings: config.AlertSettings, now_ns: int) -> int | None:
    """Returns the end of the quiet hours at a time, nanoseconds since the epoch; `None` outside of them."""
    if settings.quiet_hours is None:
        return None
    from zoneinfo import ZoneInfo  # noqa: PLC0415 -- only with quiet hours

    begin, end = quiet_minutes(settings.quiet_hours)
    zone = ZoneInfo(settings.timezone)
    now = datetime.fromtimestamp(now_ns // _SECOND_NS, zone)
    minute = now.hour * 60 + now.minute
    is_quiet = begin <= minute < end if begin < end else minute >= begin or minute < end
    if not is_quiet:
        return None
    day = now if minute < end else now + timedelta(days=1)
    # Of a time that a change of the clock skips or repeats, the later one.
    over = day.replace(hour=end // 60, minute=end % 60, second=0, microsecond=0, fold=1).astimezone(timezone.utc)
    return max(int(over.timestamp()) * _SECOND_NS, now_ns + _SECOND_NS)
