CREATE VIEW events AS SELECT id * 2 AS id, agent_id, event_type, channel, level, timestamp, data FROM event UNION ALL SELECT id * 2 + 1 AS id, agent_id, event_type, channel, CASE WHEN alert = 'dangerous' OR status = 2 THEN 'ERROR' WHEN alert = 'suspicious' THEN 'WARNING' ELSE 'INFO' END AS level, strftime('%Y-%m-%d %H:%M:%S', start_ns / 1000000000, 'unixepoch') || printf('.%06d', start_ns / 1000 % 1000000) AS timestamp, json_object(
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
    'span_id', span_id) AS data FROM span WHERE event_type IS NOT NULL;
CREATE VIEW spans AS
SELECT
    span.id, trace_id, span_id, parent_span_id, name,
    CASE kind WHEN 0 THEN 'internal' WHEN 1 THEN 'server' WHEN 2 THEN 'client' WHEN 3 THEN 'producer'
        ELSE 'consumer' END AS kind,
    start_ns, end_ns,
    CASE status WHEN 0 THEN 'unset' WHEN 1 THEN 'ok' ELSE 'error' END AS status,
    json_extract(extra, '$.status_message') AS status_message,
    json_extract(source.body, '$.scope.name') AS scope,
    json_extract(source.body, '$.resource."service.name"') AS service_name,
    agent_id, session_id,
    CASE severity_number WHEN 0 THEN 'none' WHEN 1 THEN 'low' WHEN 2 THEN 'medium' WHEN 3 THEN 'high' ELSE 'critical' END AS severity,
    severity_number, alert, operation, provider, model, tool, action, input_tokens, output_tokens,
    json_patch(json_patch(common.body, json_object(
        'cylestio.session.id', session_id,
        'gen_ai.usage.input_tokens', input_tokens,
        'gen_ai.usage.output_tokens', output_tokens)), attributes) AS attributes,
    coalesce(events, '[]') AS events,
    coalesce(json_extract(extra, '$.links'), '[]') AS links,
    json_extract(source.body, '$.resource') AS resource,
    content
FROM span
LEFT JOIN shared AS source ON source.id = span.source
LEFT JOIN shared AS common ON common.id = span.common;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    ref INTEGER NOT NULL,
    leaf BLOB NOT NULL,
    mac BLOB NOT NULL
);
CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
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
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE metric (id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE outbox (
    signal TEXT NOT NULL,
    ref INTEGER NOT NULL,
    reason TEXT,
    PRIMARY KEY (signal, ref)
) WITHOUT ROWID;
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
CREATE INDEX event_alert ON event (json_extract(data, '$.alert'), timestamp);
CREATE INDEX event_time ON event (timestamp);
CREATE UNIQUE INDEX finding_identity ON findings (trace_id, span_id, rule_id, target, subtype, path, start, "end");
CREATE INDEX finding_time ON findings (timestamp);
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
CREATE UNIQUE INDEX span_identity ON span (trace_id, span_id);
