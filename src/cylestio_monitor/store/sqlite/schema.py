"""The tables and views of the store, and the migration of a file of an earlier version.

`spans` and `events` are views. Resource, scope and attributes of low cardinality stand once in `shared`; the views join
them in plain SQL, so that any SQLite client reads whole rows.
"""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

from cylestio_monitor import semconv
from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.sqlite import migrations

VERSION: Final = len(migrations.SCRIPTS) + 1
"""`PRAGMA user_version` of a file of this version."""

APPLICATION_ID: Final = 0x43594C53  # "CYLS"

SIGNALS: Final = ("traces", "logs", "metrics")

_TABLES_2: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE shared (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body TEXT NOT NULL);

CREATE TABLE span (
    id INTEGER PRIMARY KEY,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    parent_span_id TEXT,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    status INTEGER NOT NULL,
    source INTEGER NOT NULL,
    common INTEGER NOT NULL,
    agent_id TEXT,
    session_id TEXT,
    severity_number INTEGER NOT NULL,
    alert TEXT NOT NULL,
    event_type TEXT,
    channel TEXT,
    operation TEXT,
    provider TEXT,
    model TEXT,
    tool TEXT,
    action TEXT,
    input_tokens INTEGER,
    output_tokens INTEGER,
    attributes TEXT NOT NULL,
    events TEXT,
    extra TEXT,
    content BLOB,
    seq INTEGER,
    checksum INTEGER NOT NULL
);
CREATE UNIQUE INDEX span_identity ON span (trace_id, span_id);
CREATE INDEX span_flagged ON span (start_ns, end_ns, trace_id, span_id, name, alert, severity_number, agent_id,
    session_id, operation, model, tool, action) WHERE severity_number > 0;

CREATE TABLE findings (
    id INTEGER PRIMARY KEY,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    rule_id TEXT NOT NULL,
    category TEXT NOT NULL,
    severity TEXT NOT NULL,
    alert TEXT NOT NULL,
    target TEXT NOT NULL,
    subtype TEXT NOT NULL,
    path TEXT NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    owasp TEXT NOT NULL,
    atlas TEXT NOT NULL,
    match_hash TEXT NOT NULL,
    agent_id TEXT,
    session_id TEXT,
    service_name TEXT,
    action TEXT,
    operation TEXT,
    model TEXT,
    tool TEXT,
    seq INTEGER,
    checksum INTEGER NOT NULL
);
CREATE UNIQUE INDEX finding_identity ON findings (trace_id, span_id, rule_id, target, subtype, path, start, "end");
CREATE INDEX finding_time ON findings (timestamp);

CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    agent_id TEXT,
    event_type TEXT NOT NULL,
    channel TEXT NOT NULL,
    level TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    data TEXT NOT NULL,
    trace_id TEXT,
    span_id TEXT,
    source INTEGER,
    seq INTEGER,
    checksum INTEGER NOT NULL
);
CREATE INDEX event_time ON event (timestamp);
CREATE INDEX event_alert ON event (json_extract(data, '$.alert'), timestamp);

CREATE TABLE metric (id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, data BLOB NOT NULL);

CREATE TABLE outbox (
    signal TEXT NOT NULL,
    ref INTEGER NOT NULL,
    reason TEXT,
    PRIMARY KEY (signal, ref)
) WITHOUT ROWID;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    ref INTEGER NOT NULL,
    leaf BLOB NOT NULL,
    mac BLOB NOT NULL
);

CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
"""

_TIMESTAMP = (
    "strftime('%Y-%m-%d %H:%M:%S', start_ns / 1000000000, 'unixepoch') || printf('.%06d', start_ns / 1000 % 1000000)"
)

_SEVERITY = (
    "CASE severity_number WHEN 0 THEN 'none' WHEN 1 THEN 'low' WHEN 2 THEN 'medium' WHEN 3 THEN 'high' "
    "ELSE 'critical' END"
)

_DATA = f"""json_object(
    'alert', alert,
    'severity', {_SEVERITY},
    'categories', json(coalesce(json_extract(attributes, '$."{semconv.CATEGORIES}"'), '[]')),
    'rules', json(coalesce(json_extract(attributes, '$."{semconv.RULES}"'), '[]')),
    'action', action,
    'operation', operation,
    'provider', provider,
    'model', model,
    'tool', tool,
    'status', CASE status WHEN 0 THEN 'unset' WHEN 1 THEN 'ok' ELSE 'error' END,
    'error_type', json_extract(attributes, '$."{semconv.ERROR_TYPE}"'),
    'duration_ms', round((end_ns - start_ns) / 1000000.0, 3),
    'input_tokens', input_tokens,
    'output_tokens', output_tokens,
    'name', name,
    'session_id', session_id,
    'trace_id', trace_id,
    'span_id', span_id)"""

_OPEN_DATA = f"""json_object(
    'alert', alert,
    'severity', {_SEVERITY},
    'categories', json(categories),
    'rules', json(rules),
    'action', action,
    'operation', operation,
    'provider', provider,
    'model', model,
    'tool', tool,
    'status', 'open',
    'error_type', NULL,
    'duration_ms', NULL,
    'input_tokens', NULL,
    'output_tokens', NULL,
    'name', name,
    'session_id', session_id,
    'trace_id', trace_id,
    'span_id', span_id)"""

# SQLite gives the column of a view a collation of its own when it pushes the documented query's condition down to the
# table; the index is found only where its expression says the same.
_INDEXES: Final = f"""
CREATE INDEX span_alert ON span (json_extract({_DATA} COLLATE BINARY, '$.alert'), {_TIMESTAMP})
    WHERE event_type IS NOT NULL;
"""

LEVEL: Final = "CASE WHEN status = 2 THEN 'ERROR' WHEN severity_number > 0 THEN 'WARNING' ELSE 'INFO' END"
"""The level of a monitored span in the events view, as an expression over `span`: ``ERROR`` is a failed call."""

LOGGED_EVENTS: Final = "SELECT id * 2 AS id, agent_id, event_type, channel, level, timestamp, data FROM event"
"""The events that `log_event` wrote, as the events view shows them."""

SPAN_EVENTS: Final = (
    f"SELECT id * 2 + 1 AS id, agent_id, event_type, channel, {LEVEL} AS level, {_TIMESTAMP} AS timestamp, "  # noqa: S608 -- constants
    f"{_DATA} AS data FROM span WHERE event_type IS NOT NULL"
)
"""The monitored spans, as the events view shows them."""

OPEN_LEVEL: Final = "CASE alert WHEN 'none' THEN 'INFO' ELSE 'WARNING' END"
"""The level of a call that has not ended in the events view, as an expression over `open_call`."""

OPEN_EVENTS: Final = (
    f"SELECT -id AS id, agent_id, event_type, channel, {OPEN_LEVEL} AS level, "  # noqa: S608 -- constants
    f"{_TIMESTAMP} AS timestamp, {_OPEN_DATA} AS data FROM open_call"
)
"""The calls whose begin is stored and whose end is not, as the events view shows them."""

_VIEWS: Final = f"""
CREATE VIEW events AS {LOGGED_EVENTS} UNION ALL {SPAN_EVENTS} UNION ALL {OPEN_EVENTS};

CREATE VIEW spans AS
SELECT
    span.id, run.trace_id AS trace_id, span_id, parent_span_id, span.name AS name,
    CASE kind WHEN 0 THEN 'internal' WHEN 1 THEN 'server' WHEN 2 THEN 'client' WHEN 3 THEN 'producer'
        ELSE 'consumer' END AS kind,
    span.start_ns AS start_ns, span.end_ns AS end_ns,
    CASE status WHEN 0 THEN 'unset' WHEN 1 THEN 'ok' ELSE 'error' END AS status,
    json_extract(extra, '$.status_message') AS status_message,
    json_extract(source.body, '$.scope.name') AS scope,
    json_extract(source.body, '$.resource."service.name"') AS service_name,
    span.agent_id AS agent_id, span.session_id AS session_id,
    {_SEVERITY.replace("severity_number", "span.severity_number")} AS severity,
    span.severity_number AS severity_number, alert, operation, provider, model, tool, action,
    span.input_tokens AS input_tokens, span.output_tokens AS output_tokens,
    json_patch(json_patch(common.body, json_object(
        '{semconv.CYLESTIO_SESSION_ID}', span.session_id,
        '{semconv.USAGE_INPUT_TOKENS}', span.input_tokens,
        '{semconv.USAGE_OUTPUT_TOKENS}', span.output_tokens)), attributes) AS attributes,
    coalesce(events, '[]') AS events,
    coalesce(json_extract(extra, '$.links'), '[]') AS links,
    json_extract(source.body, '$.resource') AS resource,
    content
FROM span
LEFT JOIN run ON run.id = span.run
LEFT JOIN shared AS source ON source.id = span.source
LEFT JOIN shared AS common ON common.id = span.common;
"""  # noqa: S608 -- built from constants


def install(connection: sqlite3.Connection) -> None:
    """Lays out a new file, or migrates one of an earlier version, in one transaction.

    Args:
        connection: In autocommit mode.

    Raises:
        StoreError: The file is the database of another program, or of a newer version of the package.
        sqlite3.Error: SQLite cannot read or write the file.
    """
    version = _version(connection)
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)  # another process may have been first
        if version == 0:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise StoreError("the file is the database of another program")  # noqa: TRY301 -- rolls back below
            _run(connection, _TABLES_2 + _INDEXES)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            version = 2
        else:
            _run(connection, "DROP VIEW events; DROP VIEW spans;")
        for script in migrations.SCRIPTS[version - 1 :]:
            _run(connection, script)
        _create_search(connection)
        _run(connection, _VIEWS)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _create_search(connection: sqlite3.Connection) -> None:
    """Creates the full-text index; a SQLite built without FTS5 has none, and searches read the rows."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'search'").fetchone() is None:
        try:
            connection.execute(migrations.SEARCH)
        except sqlite3.OperationalError as error:
            if "no such module" not in str(error):
                raise


def changes(connection: sqlite3.Connection) -> list[tuple[Literal["edited", "deleted", "inserted"], str]]:
    """Compares tables, indexes, triggers and views of a file with those that this version creates.

    Returns:
        What was done to an object, and a sentence that names it.
    """
    expected_file = sqlite3.connect(":memory:", isolation_level=None)
    try:
        install(expected_file)
        expected = _objects(expected_file)
    finally:
        expected_file.close()
    found = _objects(connection)
    result: list[tuple[Literal["edited", "deleted", "inserted"], str]] = []
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        result.append(("edited", f"the version of the layout is {version}, the tables are those of {VERSION}"))
    has_search = ("table", "search") in found
    for kind, name in sorted(expected.keys() | found.keys()):
        is_search = name == "search" or name.startswith("search_")
        if (kind, name) not in expected:
            if not is_search or not has_search:
                result.append(("inserted", f"{kind} {name} is none of the store"))
        elif (kind, name) not in found:
            if not is_search or has_search:
                result.append(("deleted", f"{kind} {name} is missing"))
        elif found[kind, name] != expected[kind, name] and not name.startswith("search_"):
            result.append(("edited", f"{kind} {name} is not as the store created it"))
    return result


def _objects(connection: sqlite3.Connection) -> dict[tuple[str, str], tuple[str, str]]:
    """Returns table and SQL of each object by type and name, without the planner's statistics."""
    query = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master WHERE name NOT GLOB 'sqlite_stat*'"
    return {(str(row[0]), str(row[1])): (str(row[2]), str(row[3])) for row in connection.execute(query)}


def check(connection: sqlite3.Connection) -> None:
    """Raises `StoreError` where a newer version of the package has migrated the file since it was opened."""
    _version(connection)


def _version(connection: sqlite3.Connection) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise StoreError(
            f"a newer version of cylestio-monitor wrote the file (schema {version}, this one knows {VERSION})"
        )
    return version


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Runs a script statement by statement; `executescript` would commit the open transaction."""
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement)
