CREATE VIEW events AS SELECT id * 2 AS id, agent_id, event_type, channel, level, timestamp, data FROM event UNION ALL SELECT id * 2 + 1 AS id, agent_id, event_type, channel, CASE WHEN status = 2 THEN 'ERROR' WHEN severity_number > 0 THEN 'WARNING' ELSE 'INFO' END AS level, strftime('%Y-%m-%d %H:%M:%S', start_ns / 1000000000, 'unixepoch') || printf('.%06d', start_ns / 1000 % 1000000) AS timestamp, json_object(
    'alert', alert,
    'severity', CASE severity_number WHEN 0 THEN 'none' WHEN 1 THEN 'low' WHEN 2 THEN 'medium' WHEN 3 THEN 'high' ELSE 'critical' END,
    'categories', json(coalesce(json_extract(attributes, '$."cylestio.security.categories"'), '[]')),
    'rules', json(coalesce(json_extract(attributes, '$."cylestio.security.rules"'), '[]')),
    'action', action,
    'operation', operation,
    'provider', provider,
    'model', model,
    'tool', tool,
    'status', CASE status WHEN 0 THEN 'unset' WHEN 1 THEN 'ok' ELSE 'error' END,
    'error_type', json_extract(attributes, '$."error.type"'),
    'duration_ms', round((end_ns - start_ns) / 1000000.0, 3),
    'input_tokens', input_tokens,
    'output_tokens', output_tokens,
    'name', name,
    'session_id', session_id,
    'trace_id', trace_id,
    'span_id', span_id) AS data FROM span WHERE event_type IS NOT NULL UNION ALL SELECT -id AS id, agent_id, event_type, channel, CASE alert WHEN 'none' THEN 'INFO' ELSE 'WARNING' END AS level, strftime('%Y-%m-%d %H:%M:%S', start_ns / 1000000000, 'unixepoch') || printf('.%06d', start_ns / 1000 % 1000000) AS timestamp, json_object(
    'alert', alert,
    'severity', CASE severity_number WHEN 0 THEN 'none' WHEN 1 THEN 'low' WHEN 2 THEN 'medium' WHEN 3 THEN 'high' ELSE 'critical' END,
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
    'span_id', span_id) AS data FROM open_call;
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
    CASE span.severity_number WHEN 0 THEN 'none' WHEN 1 THEN 'low' WHEN 2 THEN 'medium' WHEN 3 THEN 'high' ELSE 'critical' END AS severity,
    span.severity_number AS severity_number, alert, operation, provider, model, tool, action,
    span.input_tokens AS input_tokens, span.output_tokens AS output_tokens,
    json_patch(json_patch(common.body, json_object(
        'cylestio.session.id', span.session_id,
        'gen_ai.usage.input_tokens', span.input_tokens,
        'gen_ai.usage.output_tokens', span.output_tokens)), attributes) AS attributes,
    coalesce(events, '[]') AS events,
    coalesce(json_extract(extra, '$.links'), '[]') AS links,
    json_extract(source.body, '$.resource') AS resource,
    content
FROM span
LEFT JOIN run ON run.id = span.run
LEFT JOIN shared AS source ON source.id = span.source
LEFT JOIN shared AS common ON common.id = span.common;
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
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    ref INTEGER NOT NULL,
    leaf BLOB NOT NULL,
    mac BLOB NOT NULL
);
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
CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
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
CREATE TABLE entity (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    agent_id TEXT,
    user_id TEXT,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    
    spans INTEGER NOT NULL DEFAULT 0,
    model_calls INTEGER NOT NULL DEFAULT 0,
    tool_calls INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    findings INTEGER NOT NULL DEFAULT 0,
    severity_number INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cost REAL NOT NULL DEFAULT 0
,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
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
, run INTEGER NOT NULL DEFAULT 0, user_id TEXT, attribute TEXT, pointer TEXT, part_id TEXT, source TEXT, group_id TEXT, excerpt TEXT);
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
CREATE TABLE incident_item (
    incident TEXT NOT NULL,
    kind TEXT NOT NULL,
    ref TEXT NOT NULL,
    added_ns INTEGER NOT NULL,
    PRIMARY KEY (incident, kind, ref)
) WITHOUT ROWID;
CREATE TABLE limit_counter (
    key TEXT NOT NULL,
    start_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    amount REAL NOT NULL,
    PRIMARY KEY (key, start_ns)
) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE metric (id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE note (
    id INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    ref TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    author TEXT NOT NULL,
    text TEXT NOT NULL
);
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
CREATE TABLE outbox (
    signal TEXT NOT NULL,
    ref INTEGER NOT NULL,
    reason TEXT,
    PRIMARY KEY (signal, ref)
) WITHOUT ROWID;
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
    
    spans INTEGER NOT NULL DEFAULT 0,
    model_calls INTEGER NOT NULL DEFAULT 0,
    tool_calls INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    findings INTEGER NOT NULL DEFAULT 0,
    severity_number INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cost REAL NOT NULL DEFAULT 0

);
CREATE VIRTUAL TABLE search USING fts5(name, content, content='', columnsize=0,
    tokenize = "unicode61 remove_diacritics 2");
CREATE TABLE shared (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body TEXT NOT NULL);
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
, run INTEGER NOT NULL DEFAULT 0);
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
CREATE INDEX alert_due ON alert (state, not_before_ns);
CREATE INDEX alert_group ON alert (condition, target, group_key, created_ns);
CREATE INDEX alert_time ON alert (created_ns);
CREATE INDEX approval_state ON approval (state, created_ns);
CREATE INDEX approval_time ON approval (created_ns);
CREATE INDEX call_facts_agent ON call_facts (agent_id, time_ns);
CREATE UNIQUE INDEX call_facts_identity ON call_facts (run, span_id);
CREATE INDEX call_facts_time ON call_facts (time_ns);
CREATE INDEX call_facts_tool ON call_facts (tool, time_ns);
CREATE INDEX decision_action ON decision (action, time_ns);
CREATE INDEX decision_rule ON decision (rule, time_ns);
CREATE INDEX decision_span ON decision (run, span_id);
CREATE INDEX decision_time ON decision (time_ns);
CREATE INDEX entity_agent ON entity (kind, agent_id, last_ns);
CREATE INDEX entity_time ON entity (kind, last_ns);
CREATE INDEX event_agent ON event (agent_id, timestamp) WHERE agent_id IS NOT NULL;
CREATE INDEX event_alert ON event (json_extract(data, '$.alert'), timestamp);
CREATE INDEX event_time ON event (timestamp);
CREATE INDEX event_type_time ON event (event_type, timestamp);
CREATE INDEX finding_agent ON findings (agent_id, timestamp);
CREATE INDEX finding_category ON findings (category, timestamp);
CREATE INDEX finding_group_last ON finding_group (last_ns);
CREATE INDEX finding_group_state ON finding_group (state, last_ns);
CREATE INDEX finding_group_time ON findings (group_id, timestamp) WHERE group_id IS NOT NULL;
CREATE UNIQUE INDEX finding_identity ON findings (run, span_id, rule_id, target, subtype, path, start, "end")
    WHERE span_id <> '0000000000000000';
CREATE INDEX finding_match ON findings (match_hash, timestamp);
CREATE INDEX finding_rule ON findings (rule_id, timestamp);
CREATE INDEX finding_run ON findings (run, span_id);
CREATE INDEX finding_session ON findings (session_id, timestamp) WHERE session_id IS NOT NULL;
CREATE INDEX finding_severity ON findings (severity, timestamp);
CREATE INDEX finding_time ON findings (timestamp);
CREATE INDEX finding_tool ON findings (tool, timestamp) WHERE tool IS NOT NULL;
CREATE INDEX finding_ungrouped ON findings (id) WHERE group_id IS NULL;
CREATE INDEX incident_state ON incident (state, opened_ns);
CREATE INDEX limit_counter_expiry ON limit_counter (expires_ns);
CREATE INDEX note_subject ON note (subject, ref, id);
CREATE UNIQUE INDEX open_call_identity ON open_call (run, span_id);
CREATE UNIQUE INDEX part_identity ON part (run, span_id, attribute, pointer, path);
CREATE INDEX part_same ON part (part_id, id);
CREATE INDEX run_agent ON run (agent_id, start_ns) WHERE agent_id IS NOT NULL;
CREATE INDEX run_flagged ON run (start_ns, severity_number) WHERE severity_number > 0;
CREATE INDEX run_session ON run (session_id, start_ns) WHERE session_id IS NOT NULL;
CREATE INDEX run_time ON run (start_ns);
CREATE INDEX run_trace ON run (shard, trace_id);
CREATE INDEX run_user ON run (user_id, start_ns) WHERE user_id IS NOT NULL;
CREATE INDEX span_agent ON span (agent_id, start_ns) WHERE agent_id IS NOT NULL;
CREATE INDEX span_alert ON span (json_extract(json_object(
    'alert', alert,
    'severity', CASE severity_number WHEN 0 THEN 'none' WHEN 1 THEN 'low' WHEN 2 THEN 'medium' WHEN 3 THEN 'high' ELSE 'critical' END,
    'categories', json(coalesce(json_extract(attributes, '$."cylestio.security.categories"'), '[]')),
    'rules', json(coalesce(json_extract(attributes, '$."cylestio.security.rules"'), '[]')),
    'action', action,
    'operation', operation,
    'provider', provider,
    'model', model,
    'tool', tool,
    'status', CASE status WHEN 0 THEN 'unset' WHEN 1 THEN 'ok' ELSE 'error' END,
    'error_type', json_extract(attributes, '$."error.type"'),
    'duration_ms', round((end_ns - start_ns) / 1000000.0, 3),
    'input_tokens', input_tokens,
    'output_tokens', output_tokens,
    'name', name,
    'session_id', session_id,
    'trace_id', trace_id,
    'span_id', span_id) COLLATE BINARY, '$.alert'), strftime('%Y-%m-%d %H:%M:%S', start_ns / 1000000000, 'unixepoch') || printf('.%06d', start_ns / 1000 % 1000000))
    WHERE event_type IS NOT NULL;
CREATE INDEX span_flagged ON span (start_ns, end_ns, trace_id, span_id, name, alert, severity_number, agent_id,
    session_id, operation, model, tool, action) WHERE severity_number > 0;
CREATE UNIQUE INDEX span_identity ON span (run, span_id);
CREATE INDEX span_session ON span (session_id, start_ns) WHERE session_id IS NOT NULL;
CREATE INDEX span_time ON span (start_ns);
CREATE INDEX span_tool ON span (tool, start_ns) WHERE tool IS NOT NULL;
CREATE UNIQUE INDEX tool_definition_identity ON tool_definition (server, name, digest);
CREATE INDEX tool_definition_name ON tool_definition (name, first_ns);
CREATE INDEX tool_definition_state ON tool_definition (state, last_ns);
CREATE INDEX usage_flagged ON usage (hour, agent_id, alert, events) WHERE alert IN ('suspicious', 'dangerous');
CREATE INDEX value_origin_hash ON value_origin (value_hash, id);
CREATE UNIQUE INDEX value_origin_identity ON value_origin (run, span_id, argument, value_hash);
