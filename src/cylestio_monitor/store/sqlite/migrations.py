"""The SQL that leads from each version of the layout to the next one.

A new file is laid out as version 2 and then migrated, so that a new and a migrated file have the same layout.
"""

from __future__ import annotations

from typing import Final

from cylestio_monitor.store.sqlite import backfill

_VERSION_2: Final = """
    DROP INDEX span_flagged;
    CREATE INDEX span_flagged ON span (start_ns, end_ns, trace_id, span_id, name, alert, severity_number, agent_id,
    session_id, operation, model, tool, action) WHERE severity_number > 0;
"""
"""The index of flagged spans covers the columns that are asked for, which spares a page of the table per span."""

_TOTALS: Final = """
    spans INTEGER NOT NULL DEFAULT 0,
    model_calls INTEGER NOT NULL DEFAULT 0,
    tool_calls INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    findings INTEGER NOT NULL DEFAULT 0,
    severity_number INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cost REAL NOT NULL DEFAULT 0
"""

_ROLL_UPS: Final = f"""
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    shard INTEGER NOT NULL DEFAULT 0,
    trace_id TEXT NOT NULL,
    name TEXT,
    has_root INTEGER NOT NULL DEFAULT 0,
    service_name TEXT,
    agent_id TEXT,
    session_id TEXT,
    user_id TEXT,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    {_TOTALS}
);

CREATE TABLE entity (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    agent_id TEXT,
    user_id TEXT,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    {_TOTALS},
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE INDEX entity_time ON entity (kind, last_ns);
CREATE INDEX entity_agent ON entity (kind, agent_id, last_ns);

CREATE TABLE usage (
    hour INTEGER NOT NULL,
    agent_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    channel TEXT NOT NULL,
    level TEXT NOT NULL,
    alert TEXT NOT NULL,
    model TEXT NOT NULL,
    tool TEXT NOT NULL,
    events INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    failed INTEGER NOT NULL DEFAULT 0,
    duration_ns INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cost REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, agent_id, event_type, channel, level, alert, model, tool)
) WITHOUT ROWID;
"""

_FINDINGS: Final = """
ALTER TABLE span ADD COLUMN run INTEGER NOT NULL DEFAULT 0;
ALTER TABLE findings ADD COLUMN run INTEGER NOT NULL DEFAULT 0;
ALTER TABLE findings ADD COLUMN user_id TEXT;
ALTER TABLE findings ADD COLUMN attribute TEXT;
ALTER TABLE findings ADD COLUMN pointer TEXT;
ALTER TABLE findings ADD COLUMN part_id TEXT;
ALTER TABLE findings ADD COLUMN source TEXT;
ALTER TABLE findings ADD COLUMN group_id TEXT;
ALTER TABLE findings ADD COLUMN excerpt TEXT;
"""

_INDEXES: Final = """
CREATE INDEX run_trace ON run (shard, trace_id);
CREATE INDEX run_time ON run (start_ns);
CREATE INDEX run_agent ON run (agent_id, start_ns) WHERE agent_id IS NOT NULL;
CREATE INDEX run_session ON run (session_id, start_ns) WHERE session_id IS NOT NULL;
CREATE INDEX run_user ON run (user_id, start_ns) WHERE user_id IS NOT NULL;
CREATE INDEX run_flagged ON run (start_ns, severity_number) WHERE severity_number > 0;
CREATE INDEX span_time ON span (start_ns);
CREATE INDEX span_agent ON span (agent_id, start_ns) WHERE agent_id IS NOT NULL;
CREATE INDEX span_session ON span (session_id, start_ns) WHERE session_id IS NOT NULL;
CREATE INDEX span_tool ON span (tool, start_ns) WHERE tool IS NOT NULL;
CREATE INDEX finding_run ON findings (run, span_id);
CREATE INDEX usage_flagged ON usage (hour, agent_id, alert, events) WHERE alert IN ('suspicious', 'dangerous');
CREATE INDEX finding_ungrouped ON findings (id) WHERE group_id IS NULL;
CREATE INDEX finding_agent ON findings (agent_id, timestamp);
CREATE INDEX finding_session ON findings (session_id, timestamp) WHERE session_id IS NOT NULL;
CREATE INDEX finding_rule ON findings (rule_id, timestamp);
CREATE INDEX finding_category ON findings (category, timestamp);
CREATE INDEX finding_severity ON findings (severity, timestamp);
CREATE INDEX finding_tool ON findings (tool, timestamp) WHERE tool IS NOT NULL;
CREATE INDEX finding_match ON findings (match_hash, timestamp);
CREATE INDEX finding_group_time ON findings (group_id, timestamp) WHERE group_id IS NOT NULL;
CREATE INDEX event_agent ON event (agent_id, timestamp) WHERE agent_id IS NOT NULL;
CREATE INDEX event_type_time ON event (event_type, timestamp);
ANALYZE run;
DELETE FROM sqlite_stat1 WHERE tbl = 'run';
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('run', 'run_trace', '10000000 16384 1');
"""

_EVIDENCE: Final = """
CREATE TABLE part (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    path TEXT NOT NULL,
    attribute TEXT NOT NULL,
    pointer TEXT NOT NULL,
    part_id TEXT NOT NULL,
    source TEXT NOT NULL,
    length INTEGER NOT NULL,
    masks TEXT NOT NULL
);
CREATE UNIQUE INDEX part_identity ON part (run, span_id, attribute, pointer, path);
CREATE INDEX part_same ON part (part_id, id);

CREATE TABLE value_origin (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    argument TEXT NOT NULL,
    kind TEXT NOT NULL,
    shape TEXT NOT NULL,
    origin TEXT NOT NULL,
    value_hash TEXT NOT NULL,
    source_trace_id TEXT,
    source_span_id TEXT,
    source_attribute TEXT,
    source_pointer TEXT,
    source_start INTEGER,
    source_end INTEGER
);
CREATE UNIQUE INDEX value_origin_identity ON value_origin (run, span_id, argument, value_hash);
CREATE INDEX value_origin_hash ON value_origin (value_hash, id);

CREATE TABLE call_facts (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    agent_id TEXT,
    session_id TEXT,
    user_id TEXT,
    server TEXT,
    tool TEXT NOT NULL,
    definition TEXT,
    facts TEXT NOT NULL
);
CREATE UNIQUE INDEX call_facts_identity ON call_facts (run, span_id);
CREATE INDEX call_facts_time ON call_facts (time_ns);
CREATE INDEX call_facts_tool ON call_facts (tool, time_ns);
CREATE INDEX call_facts_agent ON call_facts (agent_id, time_ns);

CREATE TABLE tool_definition (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    server TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    definition TEXT NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    state TEXT NOT NULL,
    decided_ns INTEGER,
    decided_by TEXT,
    trace_id TEXT,
    span_id TEXT
);
CREATE UNIQUE INDEX tool_definition_identity ON tool_definition (server, name, digest);
CREATE INDEX tool_definition_name ON tool_definition (name, first_ns);
CREATE INDEX tool_definition_state ON tool_definition (state, last_ns);
"""

_CONTROL: Final = """
CREATE TABLE decision (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    agent_id TEXT,
    session_id TEXT,
    user_id TEXT,
    tool TEXT,
    action TEXT NOT NULL,
    enforced INTEGER NOT NULL,
    rule TEXT NOT NULL,
    policy_version TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX decision_span ON decision (run, span_id);
CREATE INDEX decision_time ON decision (time_ns);
CREATE INDEX decision_rule ON decision (rule, time_ns);
CREATE INDEX decision_action ON decision (action, time_ns);

CREATE TABLE approval (
    id TEXT PRIMARY KEY,
    run INTEGER NOT NULL,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    state TEXT NOT NULL,
    agent_id TEXT,
    session_id TEXT,
    user_id TEXT,
    server TEXT,
    tool TEXT NOT NULL,
    arguments TEXT NOT NULL,
    digest TEXT NOT NULL,
    rule TEXT NOT NULL,
    policy_version TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    decided_ns INTEGER,
    decided_by TEXT,
    used_ns INTEGER
) WITHOUT ROWID;
CREATE INDEX approval_state ON approval (state, created_ns);
CREATE INDEX approval_time ON approval (created_ns);

CREATE TABLE limit_counter (
    key TEXT NOT NULL,
    start_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    amount REAL NOT NULL,
    PRIMARY KEY (key, start_ns)
) WITHOUT ROWID;
CREATE INDEX limit_counter_expiry ON limit_counter (expires_ns);

CREATE TABLE open_call (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    parent_span_id TEXT,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    channel TEXT NOT NULL,
    agent_id TEXT,
    session_id TEXT,
    operation TEXT,
    provider TEXT,
    model TEXT,
    tool TEXT,
    alert TEXT NOT NULL,
    severity_number INTEGER NOT NULL,
    action TEXT,
    categories TEXT NOT NULL,
    rules TEXT NOT NULL,
    source INTEGER,
    is_forwarded INTEGER NOT NULL,
    process TEXT NOT NULL
);
CREATE UNIQUE INDEX open_call_identity ON open_call (run, span_id);
"""

_TRIAGE: Final = """
CREATE TABLE finding_group (
    group_id TEXT PRIMARY KEY,
    rule_id TEXT NOT NULL,
    category TEXT NOT NULL,
    severity_number INTEGER NOT NULL,
    source TEXT,
    target TEXT NOT NULL,
    subtype TEXT NOT NULL,
    agent_id TEXT,
    tool TEXT,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    findings INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    until_ns INTEGER,
    changed_ns INTEGER,
    changed_by TEXT
) WITHOUT ROWID;
CREATE INDEX finding_group_state ON finding_group (state, last_ns);
CREATE INDEX finding_group_last ON finding_group (last_ns);

CREATE TABLE silence (
    id TEXT PRIMARY KEY,
    rule_id TEXT NOT NULL,
    agent_id TEXT,
    group_id TEXT,
    until_ns INTEGER,
    reason TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    created_by TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE incident (
    id TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    state TEXT NOT NULL,
    severity_number INTEGER NOT NULL,
    owner TEXT,
    opened_ns INTEGER NOT NULL,
    opened_by TEXT NOT NULL,
    changed_ns INTEGER NOT NULL,
    closed_ns INTEGER
) WITHOUT ROWID;
CREATE INDEX incident_state ON incident (state, opened_ns);

CREATE TABLE incident_item (
    incident TEXT NOT NULL,
    kind TEXT NOT NULL,
    ref TEXT NOT NULL,
    added_ns INTEGER NOT NULL,
    PRIMARY KEY (incident, kind, ref)
) WITHOUT ROWID;

CREATE TABLE note (
    id INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    ref TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    author TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX note_subject ON note (subject, ref, id);
"""

_ALERTS: Final = """
CREATE TABLE alert (
    id TEXT PRIMARY KEY,
    condition TEXT NOT NULL,
    target TEXT NOT NULL,
    group_key TEXT NOT NULL,
    state TEXT NOT NULL,
    severity_number INTEGER NOT NULL,
    findings INTEGER NOT NULL,
    suppressed INTEGER NOT NULL DEFAULT 0,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    not_before_ns INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    done_ns INTEGER,
    error TEXT,
    facts TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX alert_due ON alert (state, not_before_ns);
CREATE INDEX alert_group ON alert (condition, target, group_key, created_ns);
CREATE INDEX alert_time ON alert (created_ns);
"""

SCRIPTS: Final[tuple[str, ...]] = (
    _VERSION_2,
    _ROLL_UPS + _FINDINGS + backfill.SCRIPT + _INDEXES + _EVIDENCE + _CONTROL + _TRIAGE + _ALERTS,
)
"""Entry n leads from version n + 1 to version n + 2."""

SEARCH: Final = """
CREATE VIRTUAL TABLE search USING fts5(name, content, content='', columnsize=0,
    tokenize = "unicode61 remove_diacritics 2")
"""
"""Full-text index over names and recorded content; without a table of its own, so that no text is stored twice."""
